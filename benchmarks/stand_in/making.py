"""Scenes as large as wanted, and a local backend whose renders take as long as wanted."""

from __future__ import annotations

import sys
import wave
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from PIL import Image

from cloudburst import Scene
from cloudburst.adapters.local.backend import open_local_backend
from cloudburst.models.limits import Timeouts
from cloudburst.models.tier import Tier
from cloudburst.ports import Backend, OpenBackend

SERVE = (sys.executable, str(Path(__file__).with_name("serve.py")))


def make_scenes(folder: Path, number: int, size: int) -> list[Scene]:
    """Pictures of about ``size`` bytes, all different, and one short sound."""
    sound = folder / "sound.wav"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(48_000))
    side = int((size / 3) ** 0.5)
    scenes = []
    for place in range(number):
        picture = folder / f"s{place:02d}.bmp"
        Image.effect_noise((side, side), 80).convert("RGB").save(picture)
        with picture.open("r+b") as file:
            file.seek(1000)
            file.write(f"number {place}".encode())
        scenes.append(Scene(name=f"s{place:02d}", image=picture, audio=sound))
    return scenes


def one_worker(
    folder: Path,
    *,
    seconds: float,
    size: int,
    through: Callable[[Backend], AbstractAsyncContextManager[Backend]] | None = None,
) -> OpenBackend:
    """One process with one encoder slot, whose renders take ``seconds`` and make ``size`` bytes.

    ``through`` may put something between it and the client.
    """
    command = (*SERVE, str(seconds), str(size), str(folder / "times"))

    @asynccontextmanager
    async def opened(timeouts: Timeouts, _tier: Tier) -> AsyncGenerator[Backend]:
        async with open_local_backend(
            workers=1,
            encoders=1,
            folder=folder,
            timeouts=timeouts,
            command=command,
            required_modules=(),
        ) as backend:
            if through is None:
                yield backend
            else:
                async with through(backend) as other:
                    yield other

    return opened


def spans(folder: Path) -> list[tuple[float, float]]:
    """When each render began and ended, on this machine's monotonic clock."""
    lines = (folder / "times").read_text().splitlines()
    pairs = (line.split() for line in lines)
    return sorted((float(began), float(ended)) for began, ended in pairs)
