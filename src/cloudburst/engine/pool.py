"""Pool of workers that all scenes of one client share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager

import anyio
from anyio.abc import TaskGroup

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.pool_state import Assignment, PoolWorker, Ticket, WorkerState
from cloudburst.engine.scheduler.budget import SharedBudget
from cloudburst.engine.scheduler.scheduler import Scheduler
from cloudburst.engine.supervisor import Supervisors
from cloudburst.engine.uplink import Uplink
from cloudburst.errors import (
    BusyError,
    ClosedError,
    Remedy,
    WorkerDiskFullError,
    WorkerError,
    WorkerStoppedError,
)
from cloudburst.models.limits import Backoff, Limits, Timeouts
from cloudburst.models.task import TaskSpec
from cloudburst.ports.backend import Backend

# Scenes of an open run that wait for a worker, for each encoder slot that the client may have, when
# its source is asked for the next one: enough to keep every slot busy while the source works.
SCENES_PER_SLOT = 2


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
        shared_budget: SharedBudget | None = None,
    ) -> None:
        self.backends = backends
        """Backends of the pool, in the order of preference."""
        self.spec = spec
        """Specification of a task, in which run, scene and language are replaced."""
        self.timeouts = timeouts
        self.limits = limits
        self.scheduler = Scheduler(
            backends,
            spec=spec,
            limits=limits,
            measurements=measurements or Measurements(),
            shared_budget=shared_budget,
        )
        self.supervisors = Supervisors(
            tasks, self.scheduler, timeouts=timeouts, limits=limits, backoff=backoff
        )
        self.scheduler.autoscaler.start = self.supervisors.start

        self.uplink = Uplink()
        """Line from this machine to the workers, which uploads share."""
        if any(backend.shares_uplink for backend in backends):
            tasks.start_soon(self.uplink.watch, name="cloudburst uplink")

    # Runs.

    @property
    def max_waiting(self) -> int:
        """Number of scenes that may wait for a worker when an open run is asked for the next."""
        limits = self.limits
        if limits.queued_scenes is not None:
            return limits.queued_scenes
        return SCENES_PER_SLOT * sum(
            min(limits.workers, backend.capacity or limits.workers) * backend.encoder_slots
            for backend in self.backends
        )

    @contextmanager
    def admit(
        self, run: str, tickets: Sequence[Ticket]
    ) -> Generator[Callable[[], AbstractContextManager[None]]]:
        """Admit the scenes of a run, or raise `BusyError`; yield a function that queues them.

        Scenes that are added to ``tickets`` later are removed from the queue at the end, too.
        """
        # A film is always admitted: it is the last step of a run that was admitted. When the
        # block has ended, no scene of the run is queued or has a worker.
        # On entry it queues all scenes at once, so that the longest one comes first; on exit it
        # removes the scenes that still wait.
        waiting, limit = len(self.scheduler.queue), self.limits.queued_scenes
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
            self.scheduler.enqueue(*tickets)
            try:
                yield
            finally:
                self.scheduler.withdraw(tickets)

        try:
            with self.scheduler.paused_runs.active(run):
                yield queued
        finally:
            self.scheduler.withdraw(tickets)
            for ticket in tickets:
                if ticket.assignment is not None:  # assigned, and never used
                    self.scheduler.release(ticket.assignment)

    async def wait_drained(self, run: str) -> None:
        """Wait until the run's unneeded workers are stopped and its post-mortems are written."""
        # Workers that are kept warm or that other runs use are not waited for. Those of other
        # runs count only if their stop has begun: the wait might never end.
        stopping = {worker for worker in self.scheduler.workers if worker.stopping}

        def ending(worker: PoolWorker) -> bool:
            if worker.record.run != run:
                return worker in stopping
            if worker.starting:  # other runs need it, or it would have been given up
                return False
            if worker.stopping:
                return True
            if worker.assignments or self.limits.idle:
                return False
            return not self.scheduler.kept_workers.keeps(worker)

        while any(map(ending, self.scheduler.workers)):
            await self.scheduler.decision_made.wait()
        await self.supervisors.post_mortems.done(run)

    async def wait_settled(self, run: str) -> None:
        """Wait until the tasks of a run that are being stopped are settled."""
        with anyio.move_on_after(self.timeouts.settle):
            while any(record.run == run for record in self.supervisors.being_stopped()):
                await self.scheduler.decision_made.wait()

    # Scenes.

    @asynccontextmanager
    async def lease(
        self, ticket: Ticket, assignment: Assignment | None = None
    ) -> AsyncGenerator[Assignment]:
        """Wait for a ready worker, and yield the assignment of the scene to the worker.

        Raises:
            CloudburstError: The scene cannot get a worker, or its worker has failed.
        """
        # If the scheduler takes the scene off the worker, the block is cancelled and left without
        # an error: the scene has another worker, waits again, or was encoded elsewhere.
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
                self.scheduler.on_disk_full(assignment, exc)
                raise
            if isinstance(exc, WorkerStoppedError) and exc.draining:
                self.scheduler.drain(assignment.worker)
                raise
            raise await self._explained(assignment, exc) from exc
        finally:
            if assignment is not None:
                if assignment.connection.renderer.has_abandoned_encode:
                    task = assignment.connection.task
                    msg = "it still encodes a scene that was cancelled"
                    error = WorkerStoppedError(msg, task=task)
                    assignment.worker.give_up(error, deliberate=True)
                self.scheduler.release(assignment)

    async def _explained(self, assignment: Assignment, error: WorkerError) -> WorkerError:
        worker = assignment.worker
        worker.move_to(WorkerState.FAILING)
        self.scheduler.workers.refresh(worker)
        try:
            error = await assignment.connection.explain(error, within=self.timeouts.call)
        finally:  # also when the scene is cancelled meanwhile: others may be on that worker
            worker.give_up(error)
        return error

    async def _assignment_for(self, ticket: Ticket) -> Assignment:
        if self.scheduler.closed:
            raise ClosedError("the client was left")
        if not (ticket.queued or ticket.assignment or ticket.error):  # a further attempt
            self.scheduler.enqueue(ticket)
        while ticket.queued:  # again, if the assignment was taken away before this task ran
            ticket.notified = anyio.Event()
            await ticket.notified.wait()
        if ticket.error is not None:
            raise ticket.error
        assert ticket.assignment is not None, "notified with an error or an assignment"
        return ticket.assignment

    # The end of the pool.

    def close(self) -> None:
        """Fail all waiting scenes with `ClosedError`, and have all workers stopped."""
        self.scheduler.close(ClosedError("the client was left"))
        for worker in self.scheduler.workers:
            if worker.assignments:
                worker.give_up(ClosedError("the client was left"))
            elif worker.connection is None:
                worker.move_to(WorkerState.STOPPING)
                worker.scope.cancel()
            else:
                worker.move_to(WorkerState.STOPPING)
                worker.changed.set()

    async def stop_all(self) -> None:
        """Close the pool, and wait until the stop of every task is accepted."""
        # The wait for tasks to be seen to have stopped ends, so that their bills stay estimates.
        self.close()
        while self.scheduler.workers:
            await self.scheduler.decision_made.wait()
        for wait in self.supervisors.unsettled.values():
            wait.cancel()
        await self.supervisors.writers.done()
