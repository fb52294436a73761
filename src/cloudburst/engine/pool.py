"""Pool of workers that all scenes of one client share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext

import anyio
from anyio.abc import TaskGroup

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.journal_writer import JournalWriter
from cloudburst.engine.pool_state import Assignment, PoolWorker, Ticket, WorkerState
from cloudburst.engine.scheduler.scheduler import Scheduler
from cloudburst.engine.supervisor import Supervisors, WorkerObserver
from cloudburst.engine.uplink import Uplink
from cloudburst.engine.worker_record import Attempt, WorkerRecord
from cloudburst.errors import (
    BusyError,
    ClosedError,
    CloudburstError,
    Remedy,
    WorkerDiskFullError,
    WorkerError,
    WorkerStoppedError,
)
from cloudburst.models.limits import Backoff, Limits, Timeouts
from cloudburst.models.options import Language
from cloudburst.models.performance import Sample
from cloudburst.models.report import Prediction
from cloudburst.models.task import FoundTask, TaskSpec
from cloudburst.ports.backend import Backend
from cloudburst.ports.journal import Journal


class WorkerPool:
    """Workers of a client, from one or more backends, and the queue of scenes that wait for them.

    `lease` assigns a worker to a scene. The `Scheduler` decides which scene goes to which worker,
    and a `Supervisor` owns each worker from its launch to its stop. ``Limits.workers`` limits the
    number of running tasks.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        backends: Sequence[Backend],
        *,
        spec: TaskSpec,
        timeouts: Timeouts,
        limits: Limits,
        backoff: Backoff,
        measurements: Measurements | None = None,
    ) -> None:
        self._backends = backends
        self._timeouts = timeouts
        self._limits = limits
        # Each of the two needs the other one: the scheduler has workers started, the supervisors
        # report what becomes of them. The scheduler starts none before scenes are queued.
        self._scheduler = Scheduler(
            self._backends,
            spec=spec,
            limits=limits,
            measurements=measurements or Measurements(),
            start=self._start,
        )
        self._supervisors = Supervisors(
            tasks, self._scheduler, timeouts=timeouts, limits=limits, backoff=backoff
        )

        self.uplink = Uplink()
        """Line from this machine to the workers, which uploads share."""
        tasks.start_soon(self.uplink.watch, name="cloudburst uplink")

    def _start(self, worker: PoolWorker) -> None:
        self._supervisors.start(worker)

    @property
    def backends(self) -> Sequence[Backend]:
        """Backends of the pool, in the order of preference."""
        return self._backends

    def task_spec(self, run: str, scene: str, language: Language) -> TaskSpec:
        """Return the specification of a task that is started for a scene of a run."""
        return self._scheduler.task_spec(run, scene, language)

    # Runs.

    @contextmanager
    def admit(
        self, run: str, tickets: Sequence[Ticket]
    ) -> Generator[Callable[[], AbstractContextManager[None]]]:
        """Admit the scenes of a run, and yield a function that queues them.

        The function returns a context manager. On entry it queues all scenes at once, so that the
        longest one comes first; on exit it removes the scenes that still wait. When the block of
        `admit` has ended, no scene of the run is queued or has a worker.

        A film is always admitted: it is the last step of a run that was admitted.

        Raises:
            BusyError: The queue would have more scenes than ``Limits.queued_scenes`` allows. The
                error is not retryable if the run alone has more.
        """
        waiting, limit = self._scheduler.queue_length, self._limits.queued_scenes
        scenes = sum(not ticket.is_film for ticket in tickets)
        if limit is not None and scenes > limit:
            error = BusyError(f"{scenes} scenes; expected at most Limits.queued_scenes={limit}")
            error.remedy = Remedy.FIX_SETUP
            raise error
        if limit is not None and scenes and waiting + scenes > limit:
            msg = f"{waiting} scenes wait; {scenes} more would pass Limits.queued_scenes={limit}"
            raise BusyError(msg)

        @contextmanager
        def queued() -> Generator[None]:
            self._scheduler.enqueue(*tickets)
            try:
                yield
            finally:
                self._scheduler.withdraw(tickets)

        try:
            with self._scheduler.active_run(run):
                yield queued
        finally:
            self._scheduler.withdraw(tickets)
            for ticket in tickets:
                if ticket.assignment is not None:  # assigned, and never used
                    self._scheduler.release(ticket.assignment)

    def expecting_film(self) -> AbstractContextManager[None]:
        """Keep the last worker until the ``with`` block ends, because a worker will make a film."""
        return self._scheduler.expecting_film()

    def keeping_warm(self) -> AbstractContextManager[None]:
        """Keep one worker warm until the ``with`` block ends, as ``Limits(idle=None)`` does."""
        return self._scheduler.keeping_warm()

    def pause(self, run: str) -> None:
        """Start no scene of a run until it is resumed; running encodes and downloads continue."""
        self._scheduler.pause(run)

    def resume(self, run: str) -> None:
        """Start scenes of a paused run again."""
        self._scheduler.resume(run)

    def hold(self, run: str) -> None:
        """Start workers for the scenes of a run, but give them none until the run is released."""
        self._scheduler.hold_run(run)

    def release(self, run: str) -> None:
        """Let workers take the scenes of a held run."""
        self._scheduler.release_run(run)

    def abort(self, run: str, error: CloudburstError) -> None:
        """Start no further scene of an active run, and cancel the encodes of the run.

        All unfinished scenes fail with this error, except for running downloads.
        """
        self._scheduler.abort(run, error)

    def check_lifetimes(self, tickets: Sequence[Ticket]) -> None:
        """Raise `ConfigurationError` if a scene is too long for the lifetime of every task."""
        self._scheduler.check_lifetimes(tickets)

    def predict(self, works: Iterable[float], *, bytes_to_send: float = 0.0) -> Prediction:
        """Return the predicted time and cost of a run.

        Args:
            works: Work of each scene: see `cloudburst.engine.forecast.scene_work.scene_work`.
            bytes_to_send: Size of the files on this machine, each counted once, in bytes.
        """
        return self._scheduler.plan_for(works, bytes_to_send).prediction

    def take_samples(self) -> tuple[Sample, ...]:
        """Return the times of workers that were measured since the last call."""
        return self._scheduler.take_samples()

    def journaled(
        self, run: str, journal: Journal | None
    ) -> AbstractContextManager[JournalWriter | None]:
        """Record the workers of a run in its journal, and yield the journal's writer.

        After the ``with`` block has ended, workers are recorded until they are settled. Without a
        journal, nothing is recorded, and ``None`` is yielded.
        """
        return nullcontext() if journal is None else self._supervisors.writers.writing(run, journal)

    def observed(self, observer: WorkerObserver) -> AbstractContextManager[None]:
        """Call the observer for every event of a worker until the ``with`` block ends.

        Workers that are ready already are reported to the observer at once.
        """
        return self._supervisors.observed(observer)

    # Tasks of a run.

    def room(self, backend: Backend) -> int:
        """Return the number of further tasks that may be started on a backend."""
        return self._scheduler.room(backend)

    def has_unanswered_launch(self, run: str) -> bool:
        """Return whether a launch for a run is unanswered, so that an unknown task may exist."""
        return self._scheduler.has_unanswered_launch(run)

    def records(self, run: str) -> tuple[WorkerRecord, ...]:
        """Return the records of a run's workers that may not have stopped yet."""
        return tuple(record for record in self._supervisors.records() if record.run == run)

    def tasks(self, run: str) -> set[str]:
        """Return the ids of a run's tasks that may not have stopped yet."""
        return {record.task for record in self.records(run)}

    def spot_tasks(self) -> set[str]:
        """Return the ids of the current tasks that run on Fargate Spot."""
        return {worker.record.task for worker in self._scheduler.workers if worker.record.spot}

    def adopt(
        self,
        backend: Backend,
        found: FoundTask,
        record: WorkerRecord,
        *,
        wanted: bool,
        spec: TaskSpec,
    ) -> PoolWorker:
        """Supervise a task that another process started, and return its worker.

        Args:
            backend: Backend of the task.
            found: Task that was found, with its status and secrets.
            record: Existing record of the task's worker. It is updated from now on.
            wanted: True if scenes may use the worker, False if its task is only to be stopped.
            spec: Specification of a task of the run.
        """
        worker = PoolWorker(
            backend=backend,
            number=0,
            spec=spec,
            record=record,
            expected_audio_seconds=0.0,
            state=WorkerState.STARTING if wanted else WorkerState.STOPPING,
            found=found,
        )
        self._scheduler.adopt(worker)
        return worker

    def record_stopped_task(self, record: WorkerRecord) -> None:
        """Count the cost of a stopped task of an earlier process, and write it to the journal."""
        self.add_to_bill(record)
        self._supervisors.writers.note(record)

    def add_to_bill(self, record: WorkerRecord) -> None:
        """Count the cost of a task against the budget, also if the backend has forgotten the task.

        Repeated calls change nothing.
        """
        self._scheduler.add_to_bill(record)

    def still_billed(self, run: str) -> bool:
        """Return whether any task of a run is being stopped, so that its bill is not final yet."""
        return self._supervisors.still_billed(run)

    async def wait_drained(self, run: str) -> None:
        """Wait until the run's unneeded workers are stopped and its post-mortems are written.

        Workers that are kept warm or that other runs use are not waited for. Workers that were
        started for other runs are waited for only if their stop has begun before this call: if
        runs overlap, a worker may be stopping at any time, and the wait might never end.
        """
        stopping = {worker for worker in self._scheduler.workers if worker.stopping}

        def ending(worker: PoolWorker) -> bool:
            if worker.record.run != run:
                return worker in stopping
            if worker.starting:  # other runs need it, or it would have been given up
                return False
            if worker.stopping:
                return True
            return not (worker.assignments or self._limits.idle or self._scheduler.keeps(worker))

        while any(map(ending, self._scheduler.workers)):
            await self._scheduler.decision_made.wait()
        await self._supervisors.post_mortems.done(run)

    async def wait_settled(self, run: str) -> None:
        """Wait until the tasks of a run that are being stopped are settled.

        The wait is limited by `Timeouts.settle`, and ends at once when the client is left.
        """
        with anyio.move_on_after(self._timeouts.settle):
            while self._supervisors.is_unsettled(run):
                await self._scheduler.decision_made.wait()

    # Scenes.

    @asynccontextmanager
    async def lease(
        self, ticket: Ticket, assignment: Assignment | None = None
    ) -> AsyncGenerator[Assignment]:
        """Wait for a ready worker, and yield the assignment of the scene to the worker.

        If the scheduler takes the scene off the worker, the ``with`` block is cancelled and left
        without an error. The scene was then assigned to another worker, returned to the queue, or
        encoded elsewhere first.

        Args:
            ticket: Ticket of the scene.
            assignment: Existing assignment, for a speculative copy; ``None``: wait for an
                assignment.

        Raises:
            CloudburstError: The scene cannot get a worker, or its worker has failed.
        """
        try:
            assignment = assignment or await self._assignment_for(ticket)
            with assignment.scope:
                yield assignment
            error = assignment.worker.record.error
            if assignment.scope.cancelled_caught and error is not None:
                raise error
        except WorkerError as exc:
            if assignment is None or assignment.worker.record.error is exc:
                raise
            if isinstance(exc, WorkerDiskFullError):
                self._scheduler.on_disk_full(assignment, exc)
                raise
            if isinstance(exc, WorkerStoppedError) and exc.draining:
                self._scheduler.drain(assignment.worker)
                raise
            raise await self._explained(assignment, exc) from exc
        finally:
            if assignment is not None:
                if assignment.connection.renderer.has_abandoned_encode:
                    task = assignment.connection.task
                    msg = "it still encodes a scene that was cancelled"
                    error = WorkerStoppedError(msg, task=task)
                    assignment.worker.give_up(error, deliberate=True)
                self._scheduler.release(assignment)

    async def _explained(self, assignment: Assignment, error: WorkerError) -> WorkerError:
        """Give up a failed worker, and return its error with the backend's reason, if any."""
        worker = assignment.worker
        worker.move_to(WorkerState.FAILING)
        self._scheduler.refresh(worker)
        try:
            error = await assignment.connection.explain(error, within=self._timeouts.call)
        finally:  # also when the scene is cancelled meanwhile: others may be on that worker
            worker.give_up(error)
        return error

    async def _assignment_for(self, ticket: Ticket) -> Assignment:
        if self._scheduler.closed:
            raise ClosedError("the client was left")
        if not (ticket.queued or ticket.assignment or ticket.error):  # a further attempt
            self._scheduler.enqueue(ticket)
        while ticket.queued:  # again, if the assignment was taken away before this task ran
            ticket.notified = anyio.Event()
            await ticket.notified.wait()
        if ticket.error is not None:
            raise ticket.error
        assert ticket.assignment is not None, "notified with an error or an assignment"
        return ticket.assignment

    def finished(self, attempt: Attempt, assignment: Assignment) -> None:
        """Record that an attempt has made the video of its scene."""
        self._scheduler.on_scene_finished(
            attempt, assignment.ticket, assignment.worker, self.uplink
        )

    # The end of the pool.

    def close(self) -> None:
        """Fail all waiting scenes with `ClosedError`, and have all workers stopped.

        This does not wait for the stops.
        """
        self._scheduler.close(ClosedError("the client was left"))
        for worker in self._scheduler.workers:
            if worker.assignments:
                worker.give_up(ClosedError("the client was left"))
            elif worker.connection is None:
                worker.move_to(WorkerState.STOPPING)
                worker.scope.cancel()
            else:
                worker.move_to(WorkerState.STOPPING)
                worker.changed.set()

    async def stop_all(self) -> None:
        """Close the pool, and wait until the stop of every task is accepted.

        The wait for tasks to be seen to have stopped ends, so that their bills stay estimates. The
        journals have what the next process needs to complete the bills.
        """
        self.close()
        while self._scheduler.workers:
            await self._scheduler.decision_made.wait()
        self._supervisors.stop_waiting()
        await self._supervisors.writers.done()
