"""Run of all scenes of one call, with one stream of events and one report."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel

from cloudburst.engine.film import FilmStep
from cloudburst.engine.journal_writer import JournalWriter
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.records import SceneRecord, WorkerRecord
from cloudburst.engine.report import SceneOutcome, make_report, status
from cloudburst.events import Event, SceneEvent, SceneProgress
from cloudburst.models.report import Prediction, Report, Status


@dataclass(eq=False, slots=True)
class _Unread:
    event: Event


class EventStream:
    """Stream that keeps every event until it is read, but only the newest progress of each scene.

    Writing never waits, so that a slow reader does not delay a worker that is billed.
    """

    def __init__(self) -> None:
        self._events: deque[_Unread] = deque()
        self._progress: dict[str, _Unread] = {}  # by scene, while a newer one may replace it
        self._written = anyio.Event()
        self._closed = False

    def write(self, event: Event) -> None:
        """Add an event to the stream.

        A progress event replaces the previous event of its scene if that is an unread progress
        event.
        """
        unread = _Unread(event)
        if isinstance(event, SceneProgress):
            if event.scene in self._progress:
                self._progress[event.scene].event = event
                return
            self._progress[event.scene] = unread
        elif isinstance(event, SceneEvent):
            self._progress.pop(event.scene, None)
        self._events.append(unread)
        self._written.set()

    def close(self) -> None:
        """End the reader's iteration after the last event."""
        self._closed = True
        self._written.set()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        await anyio.lowlevel.checkpoint()
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._written = anyio.Event()
            await self._written.wait()
        event = self._events.popleft().event
        if isinstance(event, SceneProgress):
            self._progress.pop(event.scene, None)
        return event


class Run:
    """Run that was started. Iterating over it yields its events; `report` can always be called."""

    def __init__(
        self, name: str, records: Sequence[SceneRecord], pool: WorkerPool, *, bytes_checked: int = 0
    ) -> None:
        self.name = name
        """Name of the run, in tags, reports and file names."""
        self.writer: JournalWriter | None = None
        """Writer of the run's journal; ``None`` if the run has no journal."""
        self.predicted: Prediction | None = None
        """Time and cost that were predicted when the run started."""
        self.records = records
        """Records of the scenes, in the caller's order."""
        self.film: FilmStep | None = None
        """Step that makes the film of the run; ``None`` if no film was requested."""
        self._pool = pool
        self._bytes_checked = bytes_checked  # of remote files, before the run started
        self._workers: dict[WorkerRecord, None] = {}
        self._launching: tuple[WorkerRecord, ...] = ()  # when the run ended
        self._events = EventStream()
        self._started_at = anyio.current_time()
        self._seconds: float | None = None  # wall time, once the run has ended

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events

    async def until_done(self) -> Report:
        """Wait for the end of the run, discard its events, and return its report.

        Failed scenes raise no error here; the report lists them.
        """
        async for _ in self:
            pass
        return await self.report()

    async def report(self) -> Report:
        """Return the current report, also during the run and after a cancellation.

        The call lets other tasks run while it makes a large report, and a cancellation does not
        interrupt it.
        """
        launched = (worker for worker in self._launching if worker.task)
        report = await make_report(
            self.name,
            self.records,
            (*self._workers, *launched),
            started_at=self._started_at,
            seconds=self._now() if self._seconds is None else self._seconds,
            predicted=self.predicted,
            bytes_checked=self._bytes_checked,
            film=None if self.film is None else self.film.path,
            film_error=None if self.film is None else self.film.error,
        )
        return report.with_settlement(self.settled)

    @property
    def scenes(self) -> Sequence[str]:
        """Names of the scenes, in the caller's order."""
        return [scene.name for scene in self.records]

    async def settled(self) -> Report:
        """Return the report once every task of the run has stopped: see `Report.settled`."""
        await self._pool.wait_settled(self.name)
        return await self.report()

    def _now(self) -> float:
        return anyio.current_time() - self._started_at

    @property
    def status(self) -> Status:
        """Current status of the run."""
        return status([SceneOutcome(scene.video, scene.error) for scene in self.records])

    def task_ids(self) -> set[str]:
        """Return the ids of all tasks that this process has started for the run or used in it."""
        records = self._pool.supervisors.records(self.name)
        return {worker.task for worker in (*records, *self._workers)}

    def emit(self, event: type[Any], **fields: Any) -> None:
        """Add an event of this class to the stream, with the seconds since the run started."""
        self._events.write(event(at=self._now(), **fields))

    def on_worker_event(
        self, worker: WorkerRecord, event: type[Any], fields: Mapping[str, Any]
    ) -> None:
        """Emit an event of a worker, and include the worker in the report from then on."""
        self._workers[worker] = None
        self.emit(event, task=worker.task, backend=worker.backend, **fields)

    def add_workers(self, workers: Iterable[WorkerRecord]) -> None:
        """Add workers of earlier processes to the report."""
        self._workers |= dict.fromkeys(workers)

    def end(self, launching: Iterable[WorkerRecord] = ()) -> None:
        """End the stream of events, and fix the wall time of the run.

        Workers that are being launched are in the report once their launch is answered.
        """
        self._launching = tuple(worker for worker in launching if worker not in self._workers)
        self._seconds = self._now()
        self._events.close()
