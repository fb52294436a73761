"""Story that is written, painted and spoken line by line, while its first scenes render.

    pip install 'cloudburst-sdk[local]'
    python examples/story_pipeline.py

It renders on this machine or, where `cloudburst init` has written a ``.env``, on Fargate. Pauses
stand for a language model; voices are those of espeak-ng, or tones where it is not installed. Kill
it and run it again: it makes what is missing, and the film.
"""

import asyncio
import math
import shutil
import struct
import subprocess
import wave
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cloudburst import Client, Scene

LINES = (
    "A small cloud woke above the harbour.",
    "It had never been further than the lighthouse.",
    "So it asked the wind for the way to the mountains.",
    "The wind only laughed, and took it along.",
    "They passed a field of sunflowers.",
    "They passed a train that whistled at them.",
    "At noon they came to a town without water.",
    "The well was dry, and the goats were thirsty.",
    "I have some to spare, said the cloud.",
    "It rained until the evening.",
    "Then it was so light that the wind carried it home.",
    "The lighthouse had left its lamp on.",
)
PAUSE, SIZE = 2.0, (1920, 1080)


async def story() -> AsyncIterator[Scene]:
    async for name, line in write():
        image, audio = await asyncio.gather(paint(name, line), speak(name, line))
        yield Scene(name=name, image=image, audio=audio)


async def write() -> AsyncIterator[tuple[str, str]]:
    for number, line in enumerate(LINES, 1):
        await asyncio.sleep(PAUSE)
        yield f"{number:02}", line


async def main() -> None:
    async with Client() as client:
        # resume: what an earlier process has finished is kept
        async with client.stream(story(), to="story-videos", film="story.mp4", resume=True) as run:
            async for event in run:
                if event.type in {"scene.queued", "scene.completed", "scene.failed"}:
                    print(f"{event.at:5.1f} s  {event.scene} {event.type}", flush=True)
        report = await (await run.report()).settled()
    print(report.status, report.film or report.film_error, report.cost)


async def paint(name: str, line: str) -> Path:
    """Make a picture once: where a model paints it, a second one costs money and differs."""

    def draw(path: Path) -> None:
        width, height = SIZE
        dark, light = (f"hsl({30 * int(name)}, 45%, {percent}%)" for percent in (25, 55))
        picture = Image.linear_gradient("L").resize(SIZE)
        picture = Image.composite(
            Image.new("RGB", SIZE, light), Image.new("RGB", SIZE, dark), picture
        )
        font = ImageFont.load_default(width / 32)
        ImageDraw.Draw(picture).text((width / 2, height / 3), line, "white", font, anchor="mm")
        picture.save(path)

    return await asyncio.to_thread(made_once, Path("story", f"{name}.png"), draw)


async def speak(name: str, line: str) -> Path:
    """Make a voice once."""
    say = partial(voice if shutil.which("espeak-ng") else tone, line)
    return await asyncio.to_thread(made_once, Path("story", f"{name}.wav"), say)


def voice(line: str, path: Path) -> None:
    subprocess.run(["espeak-ng", "-s", "130", "-w", path, line], check=True)


def tone(line: str, path: Path) -> None:
    seconds, rate = len(line) / 15, 16_000
    samples = (
        8000 * math.sin(400 * n / rate * math.tau) * math.sin(math.pi * n / rate) ** 2
        for n in range(int(seconds * rate))
    )
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, rate, 0, "NONE", ""))
        sound.writeframes(b"".join(struct.pack("<h", int(sample)) for sample in samples))


def made_once(path: Path, make: Callable[[Path], object]) -> Path:
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        part = path.with_stem(f"{path.stem}-part")
        make(part)
        part.replace(path)  # a process that is killed leaves no half of a file
    return path


if __name__ == "__main__":
    asyncio.run(main())
