"""Scenes of a given size, and local workers whose renders take a given time."""

from __future__ import annotations

import sys
import wave
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from PIL import Image

from cloudburst import Scene
from cloudburst.models.limits import Timeouts
from cloudburst.models.tier import Tier
from cloudburst.ports.backend import Backend, OpenBackend
from cloudburst.workers.local.backend import open_local_backend

SERVICE = (sys.executable, str(Path(__file__).with_name("service.py")))


def make_scenes(folder: Path, number: int, size: int) -> list[Scene]:
    """Make scenes with different pictures of about ``size`` bytes, and the same short audio."""
    audio = folder / "audio.wav"
    with wave.open(str(audio), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(48_000))
    side = int((size / 3) ** 0.5)
    scenes = []
    for index in range(number):
        picture = folder / f"s{index:02d}.bmp"
        Image.effect_noise((side, side), 80).convert("RGB").save(picture)
        with picture.open("r+b") as file:
            file.seek(1000)
            file.write(f"number {index}".encode())
        scenes.append(Scene(name=f"s{index:02d}", image=picture, audio=audio))
    return scenes


def fake_workers(
    folder: Path,
    *,
    seconds: float,
    size: int,
    workers: int = 1,
    encoders: int = 1,
    wrap: Callable[[Backend], AbstractAsyncContextManager[Backend]] | None = None,
) -> OpenBackend:
    """Return the backend of workers with fake renders.

    Args:
        folder: Folder of the workers' files and of the render times: see `render_times`.
        seconds: Time of each render, in seconds.
        size: Size of each video, in bytes.
        workers: Maximum number of workers.
        encoders: Number of encoder slots of each worker.
        wrap: Function that returns the backend that the client gets instead.
    """
    command = (*SERVICE, str(seconds), str(size), str(folder / "times"))

    @asynccontextmanager
    async def open_backend(timeouts: Timeouts, _tier: Tier) -> AsyncGenerator[Backend]:
        async with open_local_backend(
            workers=workers,
            encoders=encoders,
            folder=folder,
            timeouts=timeouts,
            command=command,
            required_modules=(),
        ) as backend:
            if wrap is None:
                yield backend
            else:
                async with wrap(backend) as wrapped:
                    yield wrapped

    return open_backend


def render_times(folder: Path) -> list[tuple[float, float]]:
    """Return start and end of each render, in seconds of the monotonic clock."""
    lines = (folder / "times").read_text().splitlines()
    pairs = (line.split() for line in lines)
    return sorted((float(began), float(ended)) for began, ended in pairs)
