"""Writes down what becomes of the workers of a run, so that another process can go on with it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager

import anyio
from anyio.abc import TaskGroup

from cloudburst.engine.polling import insist
from cloudburst.engine.slot import Span, WorkerRecord
from cloudburst.errors import ClosedError
from cloudburst.models.entries import (
    EndEntry,
    Entry,
    LaunchEntry,
    ResultEntry,
    SpanEntry,
    TaskEntry,
)
from cloudburst.models.report import Status
from cloudburst.models.scene import Video
from cloudburst.ports import Journal

logger = logging.getLogger(__name__)

LAZY = 30.0
"""Seconds after which news is written that nothing depends on: what a task that runs has cost so
far is asked every other second, and is counted to its end by whoever sees that."""


class Scribe:
    """One run's entries about launches and tasks.

    What is noted is written by `run`, soon or lazily, or by whoever calls `flush`.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.left = anyio.Event()
        """The run's block was left."""
        self.done = anyio.Event()
        """All is written."""
        self._turn = anyio.Lock()
        self._noted: dict[WorkerRecord, None] = {}
        self._added: list[Entry] = []
        self._urgent = anyio.Event()

    async def launching(self, token: str, backend: str) -> None:
        """A task is about to be asked for."""
        entry = LaunchEntry(token=token, backend=backend, asked=self.journal.now())
        await self.write(entry)

    def note(self, record: WorkerRecord, *, lazily: bool = False) -> None:
        """Something about a worker is new."""
        if record.task:
            self._noted[record] = None
            if not lazily:
                self._urgent.set()

    def add(self, entry: Entry) -> None:
        """Have it written soon. Nobody need wait for it."""
        self._added.append(entry)
        self._urgent.set()

    async def run(self) -> None:
        """Write what is noted, until cancelled."""
        while True:
            with anyio.move_on_after(LAZY):
                await self._urgent.wait()
            await self._flush()

    async def flush(self, *, within: float) -> None:
        """Write what is noted although we are being cancelled, as far as the time allows."""
        try:
            await insist(self._flush, seconds=within)
        except TimeoutError:
            late = len(self._noted) + len(self._added)
            logger.warning("%d entries are not written down yet", late)

    async def result(
        self, video: Video, fingerprint: str, attempts: int, spans: Sequence[Span]
    ) -> None:
        """A video has arrived."""
        ahead = self.journal.now() - anyio.current_time()
        told = [SpanEntry(work, began + ahead, ended + ahead) for work, began, ended in spans]
        entry = ResultEntry(
            video=video, fingerprint=fingerprint, attempts=attempts, spans=tuple(told)
        )
        await self.write(entry)

    async def end(self, status: Status, *, within: float) -> None:
        """This life of the run has ended in order, although we are being cancelled."""
        self.add(EndEntry(ended=self.journal.now(), status=status))
        await self.flush(within=within)

    async def write(self, *entries: Entry) -> None:
        """Return when they are safe. A journal that was closed is left behind."""
        try:
            await self.journal.write(*entries)
        except ClosedError:  # the client was left, in a hurry
            logger.warning("%d entries came too late for the journal", len(entries))

    async def _flush(self) -> None:
        async with self._turn:  # returns no sooner than who is writing them now
            self._urgent = anyio.Event()
            noted, self._noted = self._noted, {}
            added, self._added = self._added, []
            if not noted and not added:
                return
            ahead = self.journal.now() - anyio.current_time()
            try:
                await self.write(*[entry(record, ahead) for record in noted], *added)
            except BaseException:
                self._noted = noted | self._noted
                self._added = added + self._added
                raise


class Scribes:
    """Those of all runs that are written down.

    ``none_left`` waits until nothing more will happen to the workers of a run; ``within`` bounds
    the seconds of a last write.
    """

    def __init__(
        self, tasks: TaskGroup, none_left: Callable[[str], Awaitable[None]], *, within: float
    ) -> None:
        self._tasks = tasks
        self._none_left = none_left
        self._within = within
        self._of: dict[str, Scribe] = {}

    @contextmanager
    def writing(self, run: str, journal: Journal) -> Generator[Scribe]:
        """Write for a run, also after the block: until none of its tasks is billed any more."""
        scribe = self._of[run] = Scribe(journal)
        self._tasks.start_soon(self._keep, run, scribe, name=f"cloudburst scribe of {run}")
        try:
            yield scribe
        finally:
            scribe.left.set()

    async def _keep(self, run: str, scribe: Scribe) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(scribe.run)
            await scribe.left.wait()
            await self._none_left(run)
            tasks.cancel_scope.cancel()
        await scribe.flush(within=self._within)
        if self._of.get(run) is scribe:  # else another life of the run goes on here
            del self._of[run]
        scribe.done.set()

    async def done(self) -> None:
        """Wait for those whose runs were left."""
        for scribe in tuple(self._of.values()):
            if scribe.left.is_set():
                await scribe.done.wait()

    async def launching(self, record: WorkerRecord) -> None:
        """A task is about to be asked for, with the record's token."""
        scribe = self._of.get(record.run)
        if scribe is not None and record.token is not None:
            await scribe.launching(record.token, record.backend)

    def note(self, record: WorkerRecord, *, lazily: bool = False) -> Scribe | None:
        """Something about a worker is new; returns who writes it down."""
        scribe = self._of.get(record.run)
        if scribe is not None:
            scribe.note(record, lazily=lazily)
        return scribe

    def __len__(self) -> int:
        return len(self._of)


def entry(record: WorkerRecord, ahead: float) -> TaskEntry:
    """What is known of a task; ``ahead`` is the journal's clock less anyio's."""

    def told(time: float | None) -> float | None:
        return None if time is None else time + ahead

    error = record.error
    return TaskEntry(
        task=record.task,
        backend=record.backend,
        token=record.token,
        launched=ahead + (anyio.current_time() if record.launched is None else record.launched),
        ready=told(record.ready),
        stopped=told(record.stopped),
        usage=record.usage,
        settled=record.settled,
        error=None if error is None else f"{type(error).__name__}: {error}",
    )
