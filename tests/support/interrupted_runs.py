"""Two lives of one run on the same account: the first is unplugged, and tidies nothing up."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import anyio.lowlevel

from cloudburst.engine.records import RecoveredState
from cloudburst.models.journal_entries import (
    Entry,
    LaunchEntry,
    ProcessEndEntry,
    ResultEntry,
    SceneFailureEntry,
    TaskEntry,
)
from cloudburst.testing.fake import FakeRenderer
from support.harness import engine

EPOCH = 1_000_000.0
"""The journal's clock is so far ahead of anyio's."""
ROUND_TRIP = 0.001


@dataclass
class MemoryJournal:
    """What was written outlives the process; nothing else does."""

    entries: list[Entry] = field(default_factory=list)
    writes: int = 0
    ahead: float = EPOCH

    def now(self) -> float:
        return anyio.current_time() + self.ahead

    async def write(self, *entries: Entry) -> None:
        await anyio.lowlevel.checkpoint()
        self.writes += 1
        self.entries += entries
        await anyio.lowlevel.checkpoint()

    async def save_file(self, name: str, text: str) -> Path:
        return Path(name)

    def of(self, kind):
        return [entry for entry in self.entries if isinstance(entry, kind)]

    def earlier(self) -> RecoveredState:
        """As a client makes it of a journal, of a run whose inputs and videos are as they were."""
        tasks = {entry.task: entry for entry in self.of(TaskEntry)}
        results = {entry.video.scene: entry for entry in self.of(ResultEntry)}
        known = {entry.token for entry in tasks.values()}
        launches = {entry.token: entry for entry in self.of(LaunchEntry)}
        return RecoveredState(
            finished=results,
            results=tuple(results.values()),
            failures={entry.scene: entry for entry in self.of(SceneFailureEntry)},
            tasks=tuple(tasks.values()),
            unanswered_launches=tuple(e for token, e in launches.items() if token not in known),
        )

    @property
    def end(self) -> ProcessEndEntry | None:
        ends = self.of(ProcessEndEntry)
        return ends[-1] if ends else None


class Plug:
    """A process's connection to the world. Pulled, nothing that it does reaches anything.

    So the ``finally`` parts of what was cut may run, for Python insists, and change nothing: for
    the account and the journal the process was killed at that very moment.
    """

    def __init__(self, cloud, journal):
        self.cloud = cloud
        self.inner = journal
        self.pulled = False
        self.left = {}

    def pull(self):
        self.pulled = True
        # A worker goes on with what it was told to do.
        self.left = dict(self.cloud.encoding)

    def restore(self):
        """What the cut would have tidied up at workers."""
        self.cloud.encoding.update(self.left)

    async def through(self, call, *args, **kwargs):
        if self.pulled:
            await anyio.sleep_forever()
        return await call(*args, **kwargs)

    # A launcher…

    async def launch(self, request):
        return await self.through(self.cloud.launch, request)

    async def describe(self, task, *, refresh=False):
        return await self.through(self.cloud.describe, task, refresh=refresh)

    async def stop(self, task, *, reason):
        return await self.through(self.cloud.stop, task, reason=reason)

    async def find(self, run):
        return await self.through(self.cloud.find, run)

    async def post_mortem(self, task):
        return await self.through(self.cloud.post_mortem, task)

    # …a journal…

    def now(self):
        return self.inner.now()

    async def write(self, *entries):
        await self.through(self.inner.write, *entries)

    async def save_file(self, name, text):
        return await self.through(self.inner.save_file, name, text)

    # …and a backend.

    @asynccontextmanager
    async def backend(self, timeouts, tier):
        async with self.cloud.backend(timeouts, tier) as real:
            yield replace(real, launcher=self, kind="fake")


@asynccontextmanager
async def life(plug, scenes, *, earlier=None, **settings):
    """One life of the run ``run``: yields the client's engine and the open run."""
    async with engine(plug, **settings) as e, goes_on(e, plug, scenes, earlier) as run:
        yield e, run


def goes_on(e, journal, scenes, earlier=None):
    """The run ``run`` in an engine."""
    return e.open(scenes, journal=journal, earlier=earlier)


async def killed(cloud, journal, scenes, *, ticks=None, seconds=None, linger=0.0, **settings):
    """A first life that is killed after so many checkpoints or seconds, unless it is through.

    ``linger`` is how long it leaves its run open in the end.
    """
    plug = Plug(cloud, journal)

    async def live():
        async with life(plug, scenes, **settings) as (_, run):
            await run.until_done()
            await anyio.sleep(linger)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(live)
        if seconds is not None:
            await anyio.sleep(seconds)
        for _ in range(ticks or 0):
            await anyio.lowlevel.checkpoint()
        plug.pull()
        tasks.cancel_scope.cancel()
    plug.restore()


__all__ = ["FakeRenderer", "MemoryJournal", "Plug", "goes_on", "killed", "life"]
