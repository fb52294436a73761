"""Film of an hour, whose scenes come from a generator and render on this machine.

    python benchmarks/long_film.py [--scenes 120] [--seconds 30] [--to FOLDER]

Each scene has a picture of its own with slow motion, and a voice; one piece of music is under the
whole film. Prints the wall time, the CPU time and the peak of the resident memory of the client and
of the process that makes the film. With ``--to``, the film stays there.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import tempfile
import time
import wave
from array import array
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.to_thread
from memory import resident
from PIL import Image, ImageDraw

from cloudburst import Client, Limits, RenderOptions, Scene, Status, local

SIZE = (1280, 720)
RATE = 24_000
"""Samples of a sound in a second."""
WATCH_SECONDS = 0.2
"""Seconds between two looks for the film process."""


def make_sound(path: Path, seconds: float, pitch: float, pauses: float = 2.0) -> None:
    """Write a tone that swells and fades every ``pauses`` seconds."""
    one = [
        int(6000 * math.sin(math.tau * pitch * n / RATE) * math.sin(math.pi * n / RATE / pauses))
        for n in range(int(pauses * RATE))
    ]
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        for _ in range(round(seconds / pauses)):
            file.writeframes(array("h", one).tobytes())


def make_picture(path: Path, number: int) -> None:
    light = Image.new("RGB", SIZE, f"hsl({number * 37 % 360}, 50%, 60%)")
    picture = Image.composite(
        light, Image.new("RGB", SIZE, "#102030"), Image.linear_gradient("L").resize(SIZE)
    )
    ImageDraw.Draw(picture).text((640, 300), f"{number}", "white", font_size=240, anchor="mm")
    picture.save(path)


async def story(folder: Path, number: int, seconds: float) -> AsyncIterator[Scene]:
    for n in range(number):
        name = f"{n:03}"
        image, audio = folder / f"{name}.png", folder / f"{name}.wav"
        await anyio.to_thread.run_sync(make_picture, image, n)
        await anyio.to_thread.run_sync(make_sound, audio, seconds, 180 + 3 * n)
        yield Scene(name=name, image=image, audio=audio)


class FilmProcess:
    """Peak of the resident memory and CPU time of the film process, read while it runs."""

    def __init__(self) -> None:
        self.megabytes = self.cpu_seconds = 0.0

    async def watch(self) -> None:
        while True:
            await anyio.to_thread.run_sync(self._look)
            await anyio.sleep(WATCH_SECONDS)

    def _look(self) -> None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if b"cloudburst.film.film_process" in (folder / "cmdline").read_bytes():
                    self._read(folder)
            except (OSError, AssertionError):
                continue  # it has ended

    def _read(self, folder: Path) -> None:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        self.cpu_seconds = max(self.cpu_seconds, ticks / os.sysconf("SC_CLK_TCK"))
        self.megabytes = max(self.megabytes, resident(folder.name, "VmHWM"))


async def measure(to: Path, scenes: int, seconds: float) -> None:
    inputs, film = to / "inputs", FilmProcess()
    inputs.mkdir(parents=True)
    make_sound(inputs / "music.wav", 95, 110, 5.0)
    options = RenderOptions(size=f"{SIZE[0]}x{SIZE[1]}")
    began, rendered = time.monotonic(), 0.0
    async with (
        Client(local(), options=options, limits=Limits()) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(film.watch)
        async with client.stream(
            story(inputs, scenes, seconds),
            to=to / "videos",
            film=to / "film.mp4",
            film_music=inputs / "music.wav",
        ) as run:
            async for event in run:
                if event.type == "scene.completed":
                    rendered = event.at
        report = await run.report()
        tasks.cancel_scope.cancel()
    assert report.status is Status.COMPLETE, report.errors
    assert report.film is not None, report.film_error
    wall = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    client_usage = resource.getrusage(resource.RUSAGE_SELF)
    own = client_usage.ru_utime + client_usage.ru_stime
    print(f"{scenes} scenes, {scenes * seconds:.0f} s of film")
    print(f"wall: {wall:.0f} s, of which {wall - rendered:.0f} s after the last video")
    print(
        f"CPU: {used.ru_utime + used.ru_stime:.0f} s in workers and film process, "
        f"of which {film.cpu_seconds:.0f} s for the film; "
        f"{own:.0f} s in the client, which also makes pictures and voices"
    )
    print(
        f"peak memory: client {resident('self', 'VmHWM'):.0f} MB, "
        f"film process {film.megabytes:.0f} MB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="A film of an hour from a generator of scenes.")
    parser.add_argument("--scenes", type=int, default=120)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a scene")
    parser.add_argument("--to", type=Path, help="folder for videos and film, which is kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        to = arguments.to or Path(name)
        anyio.run(measure, to.absolute(), arguments.scenes, arguments.seconds)


if __name__ == "__main__":
    main()
