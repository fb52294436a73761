"""Whether a client that works without end keeps what it should give back.

    python benchmarks/soak.py [--minutes 30]

One client on the local backend renders small runs one after the other, for real: one to three
scenes of a second of sound, some runs beside each other, some cut off in the middle, some after a
pause in which the warm workers leave. Twice a minute it is told what this process holds: resident
memory, after a garbage collection and after the C library was asked to give back what is free; open
files, threads, child processes with all that they started, and what lies in the folder for
temporary files. At the end the last fifth is held against the
second fifth (the first one warms up): memory may be 3 % or 3 MB more, the rest not more at all.
Exits with 1 when something has grown.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import anyio.to_thread
from PIL import Image

from cloudburst import Client, Limits
from cloudburst.backends import local

EVERY = 30.0
"""Seconds between two looks."""
IDLE = 2.0
"""Seconds for which a worker stays."""
MEMORY_SHARE, MEMORY_MB = 0.03, 3.0


@dataclass(frozen=True, slots=True)
class Look:
    """What this process holds, while it has nothing to do."""

    minute: float
    runs: int
    memory: float
    """MB."""
    files: int
    threads: int
    children: int
    temporary: int
    """Entries in the folder for temporary files."""

    def __str__(self) -> str:
        return (
            f"{self.minute:5.1f} min  {self.runs:5} runs  {self.memory:7.1f} MB  "
            f"{self.files:3} files  {self.threads:3} threads  {self.children:2} children  "
            f"{self.temporary:3} temporary"
        )


def look(began: float, runs: int, folder: Path) -> Look:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return Look(
        minute=(time.monotonic() - began) / 60,
        runs=runs,
        memory=resident(),
        files=len([*Path("/proc/self/fd").iterdir()]),
        threads=threading.active_count(),
        children=len(list(children_of("self"))),
        temporary=sum(1 for _ in folder.iterdir()),
    )


def resident() -> float:
    """MB in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def children_of(process: str) -> Iterator[str]:
    """All that it started and that has not ended, and what those started."""
    with suppress(FileNotFoundError):  # it has ended just now
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            for child in children.read_text().split():
                yield child
                yield from children_of(child)


def make_scenes(folder: Path) -> list[dict[str, Any]]:
    scenes: list[dict[str, Any]] = []
    for number, size in enumerate(((320, 240), (640, 360), (240, 320))):
        image, audio, subtitle = (folder / f"{number}.{end}" for end in ("png", "wav", "srt"))
        Image.linear_gradient("L").resize(size).convert("RGB").save(image)
        with wave.open(str(audio), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(bytes(2 * 8000))
        subtitle.write_text("1\n00:00:00,000 --> 00:00:00,900\nHello 你好\n", encoding="utf-8")
        scenes.append(
            {"scene_name": f"scene {number}", "image_path": image, "audio_path": audio}
            | ({"subtitle_path": subtitle} if number else {})
        )
    return scenes


async def one_run(client: Client, scenes: list[dict[str, Any]], folder: Path, cut: float) -> None:
    """To the end, or for so many seconds; its folder goes again."""
    to = Path(tempfile.mkdtemp(dir=folder))
    with anyio.move_on_after(cut):
        report = await client.render_all(scenes, to=to)
        report.raise_for_failures()
        assert all(video.path.is_file() for video in report.videos)
        assert len(report.videos) == len(scenes)
    await anyio.to_thread.run_sync(tidy, to)


def tidy(folder: Path) -> None:
    assert not list(folder.glob("*.part")), "half a video was left"
    shutil.rmtree(folder)


async def soak(folder: Path, temporary: Path, minutes: float) -> list[Look]:
    rng, began, runs, looks = random.Random(1), time.monotonic(), 0, list[Look]()
    scenes, out = make_scenes(folder), folder / "out"
    out.mkdir()
    async with Client(local(), limits=Limits(idle=IDLE)) as client:
        while (now := time.monotonic() - began) < minutes * 60:
            if now >= EVERY * (len(looks) + 1):
                await anyio.sleep(IDLE + 3)  # now nothing should be left
                looks.append(look(began, runs, temporary))
                print(looks[-1], flush=True)
            async with anyio.create_task_group() as tasks:
                for _ in range(rng.choice((1, 1, 2))):
                    some = rng.sample(scenes, rng.randint(1, len(scenes)))
                    cut = rng.uniform(0, 2) if rng.random() < 0.2 else float("inf")
                    tasks.start_soon(one_run, client, some, out, cut)
                    runs += 1
    return looks


def verdict(looks: list[Look]) -> bool:
    fifth = max(1, len(looks) // 5)
    early, late = looks[fifth : 2 * fifth] or looks[:1], looks[-fifth:]
    flat = True
    for what in ("memory", "files", "threads", "children", "temporary"):
        middle = median if what == "memory" else max
        before, after = (middle([getattr(at, what) for at in part]) for part in (early, late))
        most = before + max(MEMORY_MB, MEMORY_SHARE * before) if what == "memory" else before
        flat &= after <= most
        print(f"{what}: {before:g}, later {after:g}: {'flat' if after <= most else 'GROWN'}")
    return flat


def main() -> int:
    parser = argparse.ArgumentParser(description="Whether a client gives back what it takes.")
    parser.add_argument("--minutes", type=float, default=30.0)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudburst-soak-") as name:
        folder = Path(name)
        temporary = folder / "tmp"
        temporary.mkdir()
        os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        return 0 if verdict(anyio.run(soak, folder, temporary, said.minutes)) else 1


if __name__ == "__main__":
    sys.exit(main())
