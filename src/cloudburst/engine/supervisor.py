"""Supervisors of workers: each launches, watches and stops one worker, and settles its bill."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import anyio
from anyio.abc import TaskGroup

from cloudburst.engine.defects import log_defect, worker_defect
from cloudburst.engine.journal_writer import JournalWriters, PostMortems
from cloudburst.engine.launch import adopted, launched
from cloudburst.engine.pool_state import PoolWorker, WorkerState
from cloudburst.engine.records import WorkerRecord
from cloudburst.engine.scheduler.scheduler import Scheduler
from cloudburst.engine.worker import WorkerConnection, connected, wait_until_stopped
from cloudburst.errors import CloudburstError, WorkerError, WorkerStoppedError
from cloudburst.events import WorkerFailed, WorkerLaunched, WorkerReady, WorkerStopped
from cloudburst.models.limits import Backoff, Limits, Timeouts
from cloudburst.models.task import TaskId, TaskStatus

logger = logging.getLogger(__name__)

# Seconds between two checks of the status of a ready worker's task.
WATCH_SECONDS = 2.0

# Function that is called with a worker's record, the class of an event and the event's fields.
WorkerObserver: TypeAlias = Callable[[WorkerRecord, type[Any], Mapping[str, Any]], None]


class Supervisors:
    """Supervisors of a pool's workers, with their shared observers, journals and post-mortems."""

    def __init__(
        self,
        tasks: TaskGroup,
        scheduler: Scheduler,
        *,
        timeouts: Timeouts,
        limits: Limits,
        backoff: Backoff,
    ) -> None:
        self.scheduler = scheduler
        self.timeouts = timeouts
        self.limits = limits
        self.backoff = backoff
        self.post_mortems = PostMortems(tasks)
        self.writers = JournalWriters(tasks, self._none_left, within=timeouts.call)
        self.unsettled: dict[WorkerRecord, anyio.CancelScope] = {}
        """Records of workers that have ended but whose task was not seen to have stopped yet, each
        with the scope of the wait for that."""
        self._tasks = tasks
        self._observers: list[WorkerObserver] = []

    def start(self, worker: PoolWorker) -> None:
        """Start the task that supervises a new worker."""
        supervisor = Supervisor(self, worker)
        self._tasks.start_soon(supervisor.run, name=f"cloudburst {worker.backend.name} worker")

    @contextmanager
    def observed(self, observer: WorkerObserver) -> Generator[None]:
        """Call the observer for every event of a worker until the ``with`` block ends."""
        for worker in self.scheduler.workers:
            if worker.connection is not None and not worker.stopping:
                observer(worker.record, WorkerReady, worker.description)
        self._observers.append(observer)
        try:
            yield
        finally:
            self._observers.remove(observer)

    def emit(self, event: type[Any], record: WorkerRecord, **fields: Any) -> None:
        """Report an event of a worker to all observers."""
        for observer in self._observers:
            observer(record, event, fields)

    async def _none_left(self, run: str) -> None:
        while self.still_billed(run) or self.scheduler.workers.has_unanswered_launch(run):
            await self.scheduler.decision_made.wait()
        await self.post_mortems.done(run)

    def records(self, run: str) -> tuple[WorkerRecord, ...]:
        """Return the records of a run's workers whose task may not have stopped yet."""
        known = (*(worker.record for worker in self.scheduler.workers), *self.unsettled)
        return tuple(record for record in known if record.run == run)

    def still_billed(self, run: str) -> bool:
        """Return whether any task of a run is being stopped, so that its bill is not final yet."""
        # Workers that are kept warm do not count: they may run for hours, and until this is false,
        # the journal of the run stays open and its folder cannot be removed.
        return any(r.run == run and r.usage is not None for r in self.being_stopped())

    def being_stopped(self) -> Iterator[WorkerRecord]:
        """Yield the records of workers whose task was not seen to have stopped yet."""
        yield from (worker.record for worker in self.scheduler.workers if worker.stopping)
        yield from self.unsettled


class Supervisor:
    """Supervisor of one worker, from its launch until its bill is final."""

    def __init__(self, shared: Supervisors, worker: PoolWorker) -> None:
        self._shared = shared
        self._worker = worker
        self._record = worker.record
        self._scheduler = shared.scheduler
        self._writers = shared.writers
        self._timeouts = shared.timeouts
        self._settling = anyio.CancelScope()

    async def run(self) -> None:
        """Supervise the worker until its task is seen to have stopped, and handle all errors."""
        try:
            try:
                with self._worker.scope:
                    await self._open_and_serve()
            except CloudburstError as exc:
                self._note_failure(exc)
            except Exception as exc:  # noqa: BLE001 - the other workers go on
                self._note_failure(worker_defect(exc, self._record.task))
            finally:
                await self._note_end()
            await self._wait_settled()
        finally:
            if self._record in self._shared.unsettled:
                self._writers.note(self._record)
                del self._shared.unsettled[self._record]
                self._scheduler.decide()

    async def _open_and_serve(self) -> None:
        worker, found = self._worker, self._worker.found
        if found is None:
            task = launched(worker.backend, worker.spec, self._timeouts, self)
        else:
            task = adopted(worker.backend, found, self._timeouts, self)
            worker.stop_guaranteed = True
            self._writers.note(self._record)
            self._shared.emit(WorkerLaunched, self._record, **worker.description)
        async with task as (task_id, secrets):
            if found is not None and worker.stopping:  # it was adopted only to be stopped
                return
            async with connected(
                worker.backend,
                task_id,
                secrets,
                found=None if found is None else found.status.state,
                timeouts=self._timeouts,
                backoff=self._shared.backoff,
                on_status=self.on_status,
            ) as connection:
                await self._serve(connection)

    async def _serve(self, connection: WorkerConnection) -> None:
        worker, record = self._worker, self._record
        worker.connection, worker.last_used = connection, anyio.current_time()
        worker.move_to(WorkerState.READY)
        if record.ready is None:
            record.ready, worker.ready_unknown = worker.last_used, worker.found is not None
        self._writers.note(record)
        self._shared.emit(WorkerReady, record, **worker.description)
        self._scheduler.on_ready(worker)
        try:
            await self._watch(connection)
        except WorkerError as exc:
            worker.give_up(exc)
            raise
        finally:
            worker.move_to(WorkerState.STOPPING)
            worker.last_used = anyio.current_time()
            self._scheduler.workers.refresh(worker)
            if worker.assignments:
                error = WorkerStoppedError("the worker is being stopped", task=connection.task)
                worker.give_up(error, deliberate=True)

    async def _watch(self, connection: WorkerConnection) -> None:
        worker = self._worker
        while not worker.stopping:
            closing = worker.state in {WorkerState.CLOSING, WorkerState.DRAINING}
            idle = 0.0 if closing else self._shared.limits.idle or 0.0
            left = (
                math.inf if worker.assignments else worker.last_used + idle - anyio.current_time()
            )
            if left <= 0 and not closing and self._scheduler.kept_workers.keeps(worker):
                left = WATCH_SECONDS
            if left <= 0:
                return
            worker.changed = anyio.Event()
            with anyio.move_on_after(min(left, WATCH_SECONDS)) as pause:
                await worker.changed.wait()
            self._scheduler.tick(worker)
            leaving = pause.cancelled_caught and await _is_leaving(connection)
            if leaving and not worker.stop_announced:
                self._scheduler.drain(worker)

    # The observer of the launch.

    async def before_request(self, token: str) -> None:
        """Write the token of a launch request into the journal."""
        self._record.token = token
        await self._writers.launching(self._record)

    def on_launch(self, task: TaskId) -> None:
        """Record the id of the launched task and the time of the launch."""
        self._record.task, self._record.launched = task, anyio.current_time()
        self._worker.move_to(WorkerState.STARTING)
        self._writers.note(self._record)
        self._shared.emit(WorkerLaunched, self._record, **self._worker.description)
        self._scheduler.on_launch_answered(self._worker)

    def on_status(self, status: TaskStatus) -> None:
        """Record a status of the task that the backend has reported."""
        self._record.update(status)
        self._writers.note(self._record, lazily=True)
        if self._worker.starting:
            self._scheduler.tick(self._worker)

    def on_stop(self, accepted: bool) -> None:
        """Record whether the backend has accepted the stop of the task."""
        self._record.possibly_running = not accepted

    def has_other_tasks(self) -> bool:
        """Return whether the backend has started tasks besides this one."""
        worker = self._worker
        worker.tasks_beside = self._scheduler.health.accepted_tasks(worker.backend)
        return worker.tasks_beside > 0

    # The end of the worker.

    def _note_failure(self, error: CloudburstError) -> None:
        self._worker.give_up(error)
        if self._record.ready is None and self._worker.found is None:
            self._scheduler.on_start_failed(self._worker, error)

    async def _note_end(self) -> None:
        worker, record = self._worker, self._record
        record.error = record.error or worker.closing_error
        self._scheduler.on_ended(worker)
        record.stopped = anyio.current_time()
        if (error := record.failure) is not None:
            kind, message = type(error).__name__, str(error)
            self._shared.emit(WorkerFailed, record, kind=kind, message=message)
        if record.task:
            self._shared.unsettled[record] = self._settling
            self._shared.emit(WorkerStopped, record, reason=str(record.error or "done"))
        writer = self._writers.note(record)
        journal = None if writer is None else writer.journal
        self._shared.post_mortems.start(worker.backend, record, journal)
        self._scheduler.decide()
        if writer is not None:
            await writer.flush(within=self._timeouts.call)

    async def _wait_settled(self) -> None:
        record = self._record
        # A task whose stop was not accepted may run until its own lifetime limit.
        if not record.task or record.possibly_running:
            return
        self._settling.deadline = anyio.current_time() + self._timeouts.settle
        with self._settling:
            await wait_until_stopped(
                self._worker.backend, TaskId(record.task), self._shared.backoff, record.update
            )
        self._scheduler.performances.learn_stop(self._worker)


async def _is_leaving(connection: WorkerConnection) -> bool:
    try:
        return await connection.is_leaving()
    except WorkerError:
        raise
    except CloudburstError as exc:
        logger.debug("%s: its state is not known: %s", connection.task, exc)
    except Exception as exc:  # noqa: BLE001 - it says nothing about the worker
        log_defect(exc, f"state of {connection.task}")
    return False
