"""Run of all scenes of one call, with one stream of events and one report."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from cloudburst.concurrency import Steps, collapse_single
from cloudburst.engine.attempt import render_scene
from cloudburst.engine.attempt_context import SceneContext
from cloudburst.engine.defects import scene_defect
from cloudburst.engine.event_stream import EventStream
from cloudburst.engine.film_step import FilmStep
from cloudburst.engine.forecast.scene_work import scene_work
from cloudburst.engine.journal_writer import JournalWriter
from cloudburst.engine.late_check import COMPLETE_CHECK, InputCheck, LateCheck
from cloudburst.engine.output_folder import OutputFolder
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.pool_state import Ticket
from cloudburst.engine.recovery import (
    RecoveredState,
    TaskRecovery,
    recover_scene,
    stopping_leftovers,
)
from cloudburst.engine.report import Outcome, ReportBuilder, status
from cloudburst.engine.scene_record import SceneRecord
from cloudburst.engine.supported_options import check_supported
from cloudburst.engine.upload_sizes import add_upload_size
from cloudburst.engine.worker_film import FilmOnWorker
from cloudburst.engine.worker_record import WorkerRecord
from cloudburst.errors import ClosedError, CloudburstError
from cloudburst.models.events import Event, SceneCompleted, SceneFailed, SceneQueued
from cloudburst.models.journal_entries import Entry
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.locations import OutputLocation
from cloudburst.models.report import Prediction, Report, Status
from cloudburst.models.scene import CheckedScene
from cloudburst.ports import FilmMaker, Journal, RemoteFiles


class Run:
    """Run that was started. Iterating over it yields its events; `report` can always be called."""

    def __init__(self, name: str, scenes: Sequence[SceneRecord], pool: WorkerPool) -> None:
        self.name = name
        """Name of the run, in tags, reports and file names."""
        self.writer: JournalWriter | None = None
        """Writer of the run's journal; ``None`` if the run has no journal."""
        self.predicted: Prediction | None = None
        """Time and cost that were predicted when the run started."""
        self.architecture: str | None = None
        """Architecture that was chosen for the tasks and the reason; ``None``: there was no
        choice."""
        self.bytes_checked = 0
        """Number of bytes of remote files that were read before the run started."""
        self.film: FilmStep | None = None
        """Step that makes the film of the run; ``None`` if no film was requested."""
        self._pool = pool
        self._scenes = scenes
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
        builder = self._report_builder()
        await anyio.lowlevel.cancel_shielded_checkpoint()
        for _ in builder.steps():
            await anyio.lowlevel.cancel_shielded_checkpoint()
        return builder.finish().with_settlement(self.settled)

    @property
    def scenes(self) -> Sequence[str]:
        """Names of the scenes, in the caller's order."""
        return [scene.name for scene in self._scenes]

    async def make_film(self) -> None:
        """Make the film of the run, if one was requested; all scenes have a video or an error."""
        if self.film is not None:
            await self.film.run(self._scenes)

    async def settled(self) -> Report:
        """Return the report once every task of the run has stopped: see `Report.settled`."""
        await self._pool.wait_settled(self.name)
        return await self.report()

    def _report_builder(self) -> ReportBuilder:
        launched = (worker for worker in self._launching if worker.task)
        return ReportBuilder(
            self.name,
            self._scenes,
            (*self._workers, *launched),
            started_at=self._started_at,
            seconds=self._now() if self._seconds is None else self._seconds,
            predicted=self.predicted,
            bytes_checked=self.bytes_checked,
            architecture=self.architecture,
            film=self.film,
        )

    def _now(self) -> float:
        return anyio.current_time() - self._started_at

    @property
    def status(self) -> Status:
        """Current status of the run."""
        return status([Outcome(scene.video, scene.error) for scene in self._scenes])

    def task_ids(self) -> set[str]:
        """Return the ids of all tasks that this process has started for the run or used in it."""
        return self._pool.tasks(self.name) | {worker.task for worker in self._workers}

    async def wait_written(self) -> None:
        """Wait until the workers of the run are settled, and its journal is written."""
        if self.writer is not None:
            await self.writer.done.wait()

    def emit(self, event: type[Any], **fields: Any) -> None:
        """Add an event of this class to the stream, with the seconds since the run started."""
        self._events.write(event(at=self._now(), **fields))

    def on_worker_event(
        self, worker: WorkerRecord, event: type[Any], fields: Mapping[str, Any]
    ) -> None:
        """Emit an event of a worker, and include the worker in the report from then on."""
        self._workers[worker] = None
        self.emit(event, **fields)

    def add_workers(self, workers: Iterable[WorkerRecord]) -> None:
        """Add workers of earlier processes to the report."""
        self._workers |= dict.fromkeys(workers)

    def add_launching(self, workers: Iterable[WorkerRecord]) -> None:
        """Include workers that are being launched in the report, once their launch is answered."""
        self._launching = tuple(worker for worker in workers if worker not in self._workers)

    def end(self) -> None:
        """End the stream of events, and fix the wall time of the run."""
        self._seconds = self._now()
        self._events.close()


@asynccontextmanager
async def open_run(
    name: str,
    scenes: Sequence[CheckedScene],
    pool: WorkerPool,
    *,
    to: Mapping[str, OutputLocation],
    timeouts: Timeouts,
    limits: Limits,
    journal: Journal | None = None,
    first: Sequence[Entry] = (),
    earlier: RecoveredState | None = None,
    film: FilmMaker | None = None,
    remote: RemoteFiles | None = None,
    bytes_checked: int = 0,
    input_check: InputCheck = COMPLETE_CHECK,
) -> AsyncGenerator[Run]:
    """Start the scenes of a run, and yield the run.

    If the ``with`` block ends before the run does, unfinished scenes are cancelled.

    Args:
        name: Name of the run.
        scenes: Scenes that have passed all checks.
        pool: Pool whose workers render the scenes.
        to: Location of each scene's video, by the name of the scene.
        timeouts: ``scene`` bounds an attempt without progress.
        limits: ``attempts`` bounds the attempts at a scene; ``deadline`` is the wanted end of the
            run.
        journal: Journal of the run; ``None``: the run cannot be resumed.
        first: Journal entries to write before anything starts.
        earlier: State that earlier processes of the run left; ``None`` for a new run. Videos that
            they finished are kept, and their tasks are used or stopped.
        film: Maker of the film of the run; ``None`` if no film was requested.
        remote: Access to the remote files of the run; ``None`` if all files are on this machine.
        bytes_checked: Number of bytes of remote files that were read for the checks.
        input_check: Check of the input files. If it continues, workers start meanwhile, and get no
            scene before its end.

    Raises:
        BusyError: The queue has no room for all scenes. Nothing was started.
        ConfigurationError: A scene is too long for the lifetime of every task. Nothing was started.
        InvalidScenesError: The workers of a backend cannot render a scene, and nothing was started;
            or ``input_check`` has found problems. The ``with`` block is then cancelled, and the
            error is raised when the tasks that were started are stopped.
    """
    await check_supported(scenes, pool.backends)
    checked, records = dict[str, CheckedScene](), dict[str, SceneRecord]()
    async for scene in Steps(scenes):
        checked[scene.scene.name] = scene
        records[scene.scene.name] = record = SceneRecord(name=scene.scene.name)
        if earlier is not None:
            recover_scene(record, earlier)
    run = Run(name, tuple(records.values()), pool)
    run.bytes_checked = bytes_checked
    output = OutputFolder(name, pool)
    if film is not None:
        on_worker = FilmOnWorker(
            run=name,
            pool=pool,
            language=scenes[0].options.language,
            timeout=timeouts.scene,
            max_attempts=limits.attempts,
            output=output,
        )
        run.film = FilmStep(film, on_worker, run.emit)
    recovery: TaskRecovery | None = None
    if earlier is not None:
        ahead = journal.now() - anyio.current_time() if journal else 0.0
        spec = pool.task_spec(name, scenes[0].scene.name, scenes[0].options.language)
        recovery = TaskRecovery(spec, earlier, pool, timeouts, own_tasks=run.task_ids, ahead=ahead)
        # An earlier use of the run in this client may not be done with its workers.
        run.add_workers(worker for worker in pool.records(name) if worker.task)
        run.add_workers(recovery.records)

    def context(ticket: Ticket) -> SceneContext:
        scene = checked[ticket.scene]
        return SceneContext(
            scene=scene.scene,
            ticket=ticket,
            to=to[ticket.scene],
            options=scene.options,
            record=records[ticket.scene],
            emit=partial(run.emit, scene=ticket.scene),
            timeout=timeouts.scene,
            max_attempts=limits.attempts,
            max_audio_seconds=scene.audio_seconds if scene.audio_known else limits.audio_seconds,
            output=output,
            remote=remote,
            fingerprint=scene.fingerprint,
            writer=run.writer,
        )

    progress = _RunProgress(
        run,
        pool,
        records,
        context,
        recovery,
        late_check=LateCheck(input_check, name, pool, checked),
    )
    deadline = None if limits.deadline is None else anyio.current_time() + limits.deadline
    tickets, senders = list[Ticket](), dict[Path, Ticket]()
    async for record in Steps(records.values()):
        if record.name in progress.unfinished:
            ticket = _new_ticket(name, checked[record.name], record, progress.start_scene, deadline)
            add_upload_size(ticket, checked[record.name], senders)
            tickets.append(ticket)
    pool.check_lifetimes(tickets)
    run.architecture = next(filter(None, (each.architecture for each in pool.backends)), None)
    run.predicted = pool.predict(ticket.work for ticket in tickets)
    with (
        collapse_single(),
        pool.journaled(name, journal) as run.writer,
        pool.observed(run.on_worker_event),
    ):
        started = False
        try:
            with pool.admit(name, tickets) as queued:
                if run.writer is not None:
                    await run.writer.write(*first)
                started = True
                async with (
                    stopping_leftovers(recovery, timeouts),
                    anyio.create_task_group() as tasks,
                ):
                    tasks.start_soon(progress.run, tasks, queued)
                    yield run
                    tasks.cancel_scope.cancel()
            await progress.wait_drained()
        finally:
            run.end()
            run.add_launching(pool.records(name))
            if started and run.writer is not None:
                await run.writer.end(run.status, within=timeouts.call)


def _new_ticket(
    run: str,
    scene: CheckedScene,
    record: SceneRecord,
    start: Callable[[Ticket], None],
    deadline: float | None,
) -> Ticket:
    """Return the ticket of a scene that is still to be rendered."""
    return Ticket(
        run=run,
        scene=record.name,
        language=scene.options.language,
        audio_seconds=scene.audio_seconds,
        work=scene_work(scene),
        deadline=deadline,
        suspect=record.worker_losses > 0,
        start=start,
    )


class _RunProgress:
    """Concurrent work of a run: its recovery, and an anyio task for each scene with a worker."""

    def __init__(
        self,
        run: Run,
        pool: WorkerPool,
        records: Mapping[str, SceneRecord],
        context: Callable[[Ticket], SceneContext],
        recovery: TaskRecovery | None,
        *,
        late_check: LateCheck,
    ) -> None:
        self._run = run
        self._pool = pool
        self._records = records
        self._context = context
        self._recovery = recovery
        self._late_check = late_check
        self._tasks: TaskGroup | None = None
        self.unfinished = {
            name
            for name, record in records.items()
            if record.video is None and record.error is None
        }
        """Names of the scenes that have neither video nor error."""
        self._finished = anyio.Event()
        self._recovered = anyio.Event()

    async def run(
        self, tasks: TaskGroup, queued: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Recover earlier tasks, render all scenes, make the film, and end the run.

        Args:
            tasks: Task group in which the scenes are rendered.
            queued: Function that queues the scenes: see `WorkerPool.admit`.
        """
        self._tasks = tasks
        self._late_check.start(tasks, self._run.writer)
        needs_worker = self._run.film is not None and self._run.film.needs_worker
        with self._pool.expecting_film() if needs_worker else nullcontext():
            await self._make_videos(tasks, queued)
            await self._run.make_film()
        await self.wait_drained()
        self._run.end()

    async def wait_drained(self) -> None:
        """Wait until the stops of unneeded workers are accepted.

        Raises:
            InvalidScenesError: The check of the input files has found problems since the start.
        """
        await self._pool.wait_drained(self._run.name)
        await self._late_check.raise_error(self._run.report)

    async def _make_videos(
        self, tasks: TaskGroup, queued: Callable[[], AbstractContextManager[None]]
    ) -> None:
        async for record in Steps(self._records.values()):
            self._emit_start(record)
        if self._recovery is not None:
            await self._recovery.look()
            self._adopt(self._recovery, len(self.unfinished))
            tasks.start_soon(self._keep_looking, self._recovery)
        with queued():  # without a pause, or the adopted workers would be given up as needless
            if self.unfinished:
                await self._finished.wait()
        if self._recovery is not None:
            await self._recovered.wait()

    async def _keep_looking(self, recovery: TaskRecovery) -> None:
        while await recovery.look_again():
            self._adopt(recovery, 0)
        self._recovered.set()

    def _adopt(self, recovery: TaskRecovery, scenes: int) -> None:
        recovery.adopt(scenes)
        self._run.add_workers(recovery.records)

    def start_scene(self, ticket: Ticket) -> None:
        """Start the anyio task of a scene that has its first assignment or an error."""
        assert self._tasks is not None, "no ticket is notified before it is queued"
        self._tasks.start_soon(self._render, ticket, name=f"scene {ticket.scene}")

    async def _render(self, ticket: Ticket) -> None:
        record, context = self._records[ticket.scene], self._context(ticket)
        try:
            record.video = await render_scene(context, self._pool)
        except CloudburstError as exc:
            record.error = exc
        except Exception as exc:  # noqa: BLE001 - the other scenes go on
            record.error = scene_defect(exc, record.name)
        if (error := record.error) is None:
            context.emit(SceneCompleted, video=record.video)
        else:
            if not isinstance(error, ClosedError):  # which is no failure of the scene
                context.write_failure(error, final=True)
            self._emit_failed(record, error)
        self.unfinished.remove(ticket.scene)
        if not self.unfinished:
            self._finished.set()

    def _emit_start(self, record: SceneRecord) -> None:
        """Emit the first event of a scene: queued, or finished or failed in an earlier process."""
        run = self._run
        if record.video is not None:
            run.emit(SceneCompleted, scene=record.name, video=record.video, skipped=True)
        elif record.error is not None:
            self._emit_failed(record, record.error)
        else:
            run.emit(SceneQueued, scene=record.name, attempt=record.attempts + 1)

    def _emit_failed(self, record: SceneRecord, error: CloudburstError) -> None:
        kind, message, retryable = type(error).__name__, str(error), error.retryable
        facts = {"kind": kind, "message": message, "retryable": retryable}
        self._run.emit(SceneFailed, scene=record.name, **facts)
