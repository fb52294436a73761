"""Search for leaks in a client that renders many runs.

    python benchmarks/soak.py [--minutes 30]

One client on the local backend renders small runs: one to three scenes with one second of audio.
Some runs are at the same time, some are interrupted, and some follow a pause in which the warm
workers stop. Twice a minute the resources of this process are printed: resident memory, after a
garbage collection and the release of free memory by the C library; open files, threads, child
processes and their descendants, and entries of the folder for temporary files. At the end, the last
fifth of these samples is compared with the second fifth; the first one is a warm-up. Memory may
grow by 3 % or 3 MB, other resources must not grow. Exits with 1 if a resource has grown too much.
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
from cloudburst.client.backends import local

SAMPLE_INTERVAL = 30.0
"""Seconds between two samples."""
IDLE = 2.0
"""Seconds after which a worker without a scene stops."""
MAX_GROWTH, MAX_GROWTH_MB = 0.03, 3.0
"""Growth of memory that is accepted: share, or megabytes if that is more."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Resources of this process between two runs."""

    minute: float
    """Minutes since the start."""
    runs: int
    memory: float
    """Resident memory, in megabytes."""
    files: int
    threads: int
    children: int
    temporary: int
    """Number of entries in the folder for temporary files."""

    def __str__(self) -> str:
        return (
            f"{self.minute:5.1f} min  {self.runs:5} runs  {self.memory:7.1f} MB  "
            f"{self.files:3} files  {self.threads:3} threads  {self.children:2} children  "
            f"{self.temporary:3} temporary"
        )


def take_sample(began: float, runs: int, temporary: Path) -> Sample:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return Sample(
        minute=(time.monotonic() - began) / 60,
        runs=runs,
        memory=resident_megabytes(),
        files=len([*Path("/proc/self/fd").iterdir()]),
        threads=threading.active_count(),
        children=len(list(descendants("self"))),
        temporary=sum(1 for _ in temporary.iterdir()),
    )


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def descendants(process: str) -> Iterator[str]:
    """Yield the child processes of a process, and their descendants."""
    with suppress(FileNotFoundError):  # the process has ended meanwhile
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            for child in children.read_text().split():
                yield child
                yield from descendants(child)


def make_scenes(folder: Path) -> list[dict[str, Any]]:
    scenes: list[dict[str, Any]] = []
    for number, size in enumerate(((320, 240), (640, 360), (240, 320))):
        image, audio, subtitle = (folder / f"{number}.{end}" for end in ("png", "wav", "srt"))
        Image.linear_gradient("L").resize(size).convert("RGB").save(image)
        with wave.open(str(audio), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(bytes(2 * 8000))
        subtitle.write_text("1\n00:00:00,000 --> 00:00:00,900\nHello 你好\n", encoding="utf-8")
        scenes.append(
            {"scene_name": f"scene {number}", "image_path": image, "audio_path": audio}
            | ({"subtitle_path": subtitle} if number else {})
        )
    return scenes


async def render(client: Client, scenes: list[dict[str, Any]], folder: Path, limit: float) -> None:
    """Render scenes until they are finished or the limit, in seconds, has passed.

    The videos are deleted afterwards.
    """
    to = Path(tempfile.mkdtemp(dir=folder))
    with anyio.move_on_after(limit):
        report = await client.render_all(scenes, to=to)
        report.raise_for_failures()
        assert all(isinstance(one.path, Path) and one.path.is_file() for one in report.videos)
        assert len(report.videos) == len(scenes)
    await anyio.to_thread.run_sync(delete_videos, to)


def delete_videos(folder: Path) -> None:
    assert not list(folder.glob("*.part")), "an incomplete video was left"
    shutil.rmtree(folder)


async def soak(folder: Path, temporary: Path, minutes: float) -> list[Sample]:
    rng, began, runs, samples = random.Random(1), time.monotonic(), 0, list[Sample]()
    scenes, out = make_scenes(folder), folder / "out"
    out.mkdir()
    async with Client(local(), limits=Limits(idle=IDLE)) as client:
        while (now := time.monotonic() - began) < minutes * 60:
            if now >= SAMPLE_INTERVAL * (len(samples) + 1):
                await anyio.sleep(IDLE + 3)  # until all workers have stopped
                samples.append(take_sample(began, runs, temporary))
                print(samples[-1], flush=True)
            async with anyio.create_task_group() as tasks:
                for _ in range(rng.choice((1, 1, 2))):
                    chosen = rng.sample(scenes, rng.randint(1, len(scenes)))
                    limit = rng.uniform(0, 2) if rng.random() < 0.2 else float("inf")
                    tasks.start_soon(render, client, chosen, out, limit)
                    runs += 1
    return samples


def judge(samples: list[Sample]) -> bool:
    """Print the growth of each resource, and return whether all are small enough."""
    fifth = max(1, len(samples) // 5)
    early, late = samples[fifth : 2 * fifth] or samples[:1], samples[-fifth:]
    flat = True
    for name in ("memory", "files", "threads", "children", "temporary"):
        typical = median if name == "memory" else max
        before, after = (
            typical([getattr(sample, name) for sample in part]) for part in (early, late)
        )
        limit = before + max(MAX_GROWTH_MB, MAX_GROWTH * before) if name == "memory" else before
        flat &= after <= limit
        print(f"{name}: {before:g}, later {after:g}: {'flat' if after <= limit else 'GROWN'}")
    return flat


def main() -> int:
    parser = argparse.ArgumentParser(description="Search for leaks in a client.")
    parser.add_argument("--minutes", type=float, default=30.0, help="at least 1")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudburst-soak-") as name:
        folder = Path(name)
        temporary = folder / "tmp"
        temporary.mkdir()
        os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        return 0 if judge(anyio.run(soak, folder, temporary, arguments.minutes)) else 1


if __name__ == "__main__":
    sys.exit(main())
