"""The client's side, with the studio as its worker."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import httpx

from cloudburst.models.limits import Timeouts
from cloudburst.models.options import RenderOptions
from cloudburst.models.task import Secrets
from cloudburst.workers.http.native import connect
from support.checked_scenes import as_checked
from support.fake_native_service import KEY

OPTIONS = RenderOptions()
CUT = httpx.RemoteProtocolError("cut")
PATIENT = Timeouts()


def to_studio(studio, timeouts=PATIENT, key=KEY, **more):
    return connect(
        "http://w",
        secrets=Secrets(key=key),
        timeouts=timeouts,
        transport=studio.transport,
        **more,
    )


def ignore(share):
    pass


async def rendered(studio, scene, to, timeouts=PATIENT, *, options=OPTIONS, on_verified=None):
    async with to_studio(studio, timeouts) as renderer:
        upload = await renderer.upload(as_checked(scene, options))
        output = await renderer.encode(upload, progress=ignore)
        return await renderer.download(output, to, on_verified=on_verified)


class Turns:
    """Notes the turns of files, their waits, and the sizes of those that arrived."""

    def __init__(self):
        self.sizes, self.waits, self.arrived = [], [], []
        self.open = anyio.Event()  # until it is set, a file is paused once some of it was sent
        self.open.set()
        self.paused = anyio.Event()

    @asynccontextmanager
    async def __call__(self, size):
        self.sizes.append(size)
        yield TurnOfFile(self, size)


class TurnOfFile:
    """The turn of one file."""

    def __init__(self, turns, size):
        self._turns, self._size = turns, size

    async def wait(self, sent):
        self._turns.waits.append(sent)
        if sent and not self._turns.open.is_set():
            self._turns.paused.set()
            await self._turns.open.wait()

    def arrived(self):
        self._turns.arrived.append(self._size)


def left_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix in {".mp4", ".part"})
