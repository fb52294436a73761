"""A fake cloud whose workers queue jobs, as our render service does."""

from __future__ import annotations

from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio

from cloudburst.testing import FakeCloud
from cloudburst.testing.fake import FakeRenderer


@dataclass(eq=False, kw_only=True)
class QueueingCloud(FakeCloud):
    request: float = 0.0
    """Seconds until the request for an encode is in the worker's queue."""
    queues: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Scenes in the queue of each task; those that encode are not in it."""
    slots: dict[str, anyio.Semaphore] = field(default_factory=dict)
    """Encoder slots of each task."""

    @asynccontextmanager
    async def backend(self, timeouts, tier):
        async with super().backend(timeouts, tier) as backend:
            yield replace(backend, queues_jobs=True)

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets) as renderer:
            yield QueueingRenderer(self, renderer.task)


class QueueingRenderer(FakeRenderer):
    async def encode(self, upload, *, progress):
        cloud = self.cloud
        await self._busy(cloud.request)
        queue = cloud.queues[self.task]
        queue.append(upload.scene)
        try:
            slot = await self.free_slot(upload.scene)
        finally:
            queue.remove(upload.scene)
        async with slot:
            await self._busy(0)  # a worker that has ended begins nothing
            progress(0.0)
            return await self.encode_now(upload, progress=progress)

    async def encode_now(self, upload, *, progress):
        """Encode a scene that has a slot."""
        return await super().encode(upload, progress=progress)

    async def free_slot(self, scene):
        """Wait in the queue, and return a context manager that frees the slot."""
        semaphore = self.cloud.slots.setdefault(self.task, anyio.Semaphore(self.cloud.encoders))
        await semaphore.acquire()
        return released(semaphore)


@asynccontextmanager
async def released(semaphore):
    try:
        yield
    finally:
        semaphore.release()
