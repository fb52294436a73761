"""A story that is written, painted and spoken while its first scenes are rendered."""

import asyncio
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

from cloudburst import Client, Limits, Scene

LINES = ("A cloud woke above the harbour.", "It asked the wind for the way.", "It came home.")
PAUSE, SIZE = 1.0, (1280, 720)


async def write() -> AsyncIterator[str]:  # instead: a language model
    for line in LINES:
        await asyncio.sleep(PAUSE)
        yield line


async def paint(line: str) -> bytes:  # instead: a PNG, JPEG or WebP of a model
    picture, file = Image.new("RGB", SIZE, "teal"), BytesIO()
    ImageDraw.Draw(picture).text((100, 300), line, font_size=60)
    picture.save(file, "PNG")
    return file.getvalue()


async def speak(line: str) -> bytes:  # instead: a voice, such as WAV or MP3
    with wave.open(file := BytesIO(), "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(bytes(2_000 * len(line)))
    return file.getvalue()


async def once(path: Path, make: Callable[[str], Awaitable[bytes]], line: str) -> Path:
    if not await asyncio.to_thread(path.exists):  # models cost money
        await asyncio.to_thread(save, path, await make(line))
    return path


def save(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(data)
    part.replace(path)  # a killed program leaves no half of a file


async def story() -> AsyncIterator[Scene]:
    number = 0
    async for line in write():
        number += 1
        image, audio = await asyncio.gather(
            once(Path(f"story/{number:02}.png"), paint, line),
            once(Path(f"story/{number:02}.wav"), speak, line),
        )
        yield Scene(name=f"{number:02}", image=image, audio=audio)


async def main() -> None:
    async with Client(limits=Limits(max_usd=Decimal("0.50"))) as client:
        report = await client.render_all(
            story(), to="story-videos", film="story.mp4", resume=True, progress=True
        )
    print(report)
    report.raise_for_failures()


if __name__ == "__main__":
    asyncio.run(main())
