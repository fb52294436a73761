"""Recovery of the tasks that earlier processes of a resumed run left running."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence
from functools import partial

import anyio

from cloudburst.concurrency import finish_despite_cancel, poll
from cloudburst.engine.launch import TaskStop
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.pool_state import PoolWorker, WorkerState
from cloudburst.engine.records import RecoveredState, WorkerRecord, recover_workers
from cloudburst.errors import CloudburstError, NoAnswerError, ThrottledError
from cloudburst.models.limits import RETRY_BACKOFF
from cloudburst.models.task import FoundTask, TaskId, TaskSpec, TaskState, TaskStatus
from cloudburst.ports.backend import Backend

logger = logging.getLogger(__name__)

# Seconds after a launch during which AWS may not list the running task yet, because reads lag
# behind writes ("eventual consistency" in the page of RunTask, ECS API reference, 2026-11).
# ``cloudburst cleanup`` searches for tasks for the same time.
LISTING_DELAY = 16.0
# Seconds between two searches for tasks that may not be listed yet.
LOOK_INTERVAL = 2.0


class TaskRecovery:
    """Recovery of the tasks that earlier processes of a run started."""

    def __init__(
        self,
        spec: TaskSpec,
        state: RecoveredState,
        pool: WorkerPool,
        *,
        own_tasks: Callable[[], Collection[str]],
        ahead: float,
    ) -> None:
        self._run = spec.run
        self._spec = spec
        self._state = state
        self._pool = pool
        self._timeouts = pool.timeouts
        self._ahead = ahead
        self._own_tasks = own_tasks
        # An earlier use of the run in this client may not be done with its workers.
        known = {record.task for record in pool.supervisors.records(spec.run)}
        self._records = {
            task: record
            for task, record in recover_workers(spec.run, state, ahead=ahead).items()
            if task not in known
        }
        self._found: dict[TaskId, tuple[Backend, FoundTask]] = {}
        self._workers: dict[TaskId, PoolWorker] = {}
        self._looked_at = -math.inf  # on anyio's clock; not yet
        self._began = anyio.current_time()

    @property
    def records(self) -> tuple[WorkerRecord, ...]:
        """Records of all tasks known so far that earlier processes started."""
        return tuple(self._records.values())

    async def look(self) -> None:
        """Search all backends for tasks of the run, and record what is found."""
        # If a backend cannot list its tasks, the unsettled tasks in the journal are assumed to
        # run.
        began = anyio.current_time()
        for backend in self._pool.backends:
            found = await self._find(backend)
            found = [*found, *await self._find_young(backend, {one.task for one in found})]
            if self._pool.scheduler.workers.has_unanswered_launch(self._run):
                return  # an unknown task may be one that this process is asking for
            self._note(backend, found)
        self._looked_at = began
        for task, record in self._records.items():
            if task not in self._found:
                self._pool.scheduler.budget.add_stopped(record)
        self._warn_of_others()

    def _warn_of_others(self) -> None:
        names = {backend.name for backend in self._pool.backends}
        for record in self._records.values():
            if record.backend not in names and record.usage is not None and not record.settled:
                record.possibly_running = True
                msg = "%s was started on %s, which this client does not have: it may still run"
                logger.warning(msg, record.task, record.backend)

    async def _find(self, backend: Backend) -> Sequence[FoundTask]:
        async def found() -> Sequence[FoundTask] | None:
            try:
                return await backend.launcher.find(self._run)
            except (NoAnswerError, ThrottledError) as exc:
                logger.info("tasks of run %s are not listed yet: %s", self._run, exc)
                return None

        try:
            with anyio.move_on_after(self._timeouts.launch):
                return await poll(found, delays=RETRY_BACKOFF.delays())
            logger.warning("the tasks of run %s cannot be listed: no answer", self._run)
        except CloudburstError as exc:
            logger.warning("the tasks of run %s cannot be listed: %s", self._run, exc)
        status = TaskStatus(state=TaskState.STARTING)
        return [
            FoundTask(task=TaskId(record.task), status=status)
            for record in self._records.values()
            if record.backend == backend.name and not record.settled
        ]

    async def _find_young(self, backend: Backend, listed: Collection[TaskId]) -> list[FoundTask]:
        """Return tasks of the journal launched so recently that backends may not list them yet."""
        # Tasks whose stop was accepted are included, because their bill is not final.
        found = list[FoundTask]()
        for entry in self._state.tasks:
            task = TaskId(entry.task)
            if entry.backend != backend.name or entry.settled:
                continue
            if task in listed or task in self._found:
                continue
            if entry.launched_at - self._ahead + LISTING_DELAY < anyio.current_time():
                continue
            try:
                status = await backend.launcher.describe(task)
            except CloudburstError as exc:
                logger.warning("%s: its state is not known: %s", task, exc)
                status = TaskStatus(state=TaskState.STARTING)
            found.append(FoundTask(task=task, status=status))
        return found

    def _note(self, backend: Backend, found: Sequence[FoundTask]) -> None:
        for one in found:
            if one.task in self._found:
                continue
            if one.task not in self._records and one.task in self._own_tasks():
                continue
            self._found[one.task] = backend, one
            record = self._records.get(one.task)
            if record is None:  # its launch was not answered, or its answer not written
                record = self._records[one.task] = self._new_record(backend, one)
            record.update(one.status)
            if one.status.state is TaskState.STOPPED:
                self._pool.scheduler.budget.add_stopped(record)
                self._pool.supervisors.writers.note(record)
            else:
                record.stopped = None

    def _new_record(self, backend: Backend, found: FoundTask) -> WorkerRecord:
        record = WorkerRecord(backend=backend.name, run=self._run, task=found.task)
        usage = found.status.usage
        record.launched = anyio.current_time() if usage is None else usage.created_at - self._ahead
        if usage is not None and usage.stopped_at is not None:
            record.stopped = usage.stopped_at - self._ahead
        return record

    def adopt(self, scenes: float) -> None:
        """Let the pool use as many of the found tasks as the scenes need, and stop the others."""
        running = [
            (backend, found)
            for task, (backend, found) in self._found.items()
            if task not in self._workers and found.status.state is not TaskState.STOPPED
        ]
        running.sort(key=lambda pair: pair[1].status.state is not TaskState.RUNNING)
        for backend, found in running:
            usable = found.secrets is not None and not found.status.stop_announced
            wanted = usable and scenes > 0 and self._pool.scheduler.health.room(backend) > 0
            scenes -= backend.encoder_slots if wanted else 0
            record = self._records[found.task]
            record.error = None
            worker = self._workers[found.task] = PoolWorker(
                backend=backend,
                number=0,
                spec=self._spec,
                record=record,
                expected_audio_seconds=0.0,
                state=WorkerState.STARTING if wanted else WorkerState.STOPPING,
                found=found,
            )
            self._pool.scheduler.autoscaler.adopt(worker)

    async def look_again(self) -> bool:
        """Wait `LOOK_INTERVAL` and search for tasks again, unless no further task can appear."""
        launches = self._state.unanswered_launches
        last_launch = max((entry.requested_at for entry in launches), default=-math.inf)
        known = {entry.task for entry in self._state.tasks}
        # The earlier processes launched nothing after this one began, even if the clocks differ.
        until = min(last_launch - self._ahead, self._began) + LISTING_DELAY
        all_found = len(self._found.keys() - known) >= len(launches)
        if (self._looked_at >= until or all_found) and not self._unlisted():
            return False
        await anyio.sleep(LOOK_INTERVAL)
        await self.look()
        return True

    def _unlisted(self) -> list[tuple[Backend, WorkerRecord]]:
        backends = {backend.name: backend for backend in self._pool.backends}
        return [
            (backends[record.backend], record)
            for task, record in self._records.items()
            if task not in self._found
            and record.backend in backends
            and not record.settled
            and record.launched is not None
            and self._looked_at < record.launched + LISTING_DELAY
        ]

    async def stop_leftovers(self) -> None:
        """Call `stop_others`, even if the calling task is being cancelled."""
        try:
            await finish_despite_cancel(self.stop_others, seconds=self._timeouts.stop)
        except TimeoutError:
            logger.exception("tasks of earlier processes may still run")

    async def stop_others(self) -> None:
        """Stop the earlier processes' tasks that have no supervisor, and wait for the stops."""
        if self._looked_at == -math.inf:
            await self.look()
        stops = [
            (TaskStop(backend, found.task, self._timeouts), self._records[found.task])
            for task, (backend, found) in self._found.items()
            if found.status.state is not TaskState.STOPPED
            and not (task in self._workers and self._workers[task].stop_guaranteed)
        ]
        stops += [
            (TaskStop(backend, TaskId(record.task), self._timeouts), record)
            for backend, record in self._unlisted()
        ]
        async with anyio.create_task_group() as tasks:
            for stop, record in stops:
                tasks.start_soon(partial(_stop, stop, record))


async def _stop(stop: TaskStop, record: WorkerRecord) -> None:
    await stop.finish()
    record.possibly_running = not stop.accepted
