"""Start of a run on a pool, its concurrent work, and its end."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from cloudburst.concurrency import Steps, collapse_single
from cloudburst.engine.attempt import render_scene
from cloudburst.engine.attempt_context import SceneContext, VideoWrites
from cloudburst.engine.defects import scene_defect
from cloudburst.engine.film import FilmStep
from cloudburst.engine.forecast.scene_work import scene_work
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.pool_state import Ticket
from cloudburst.engine.records import RecoveredState, SceneRecord, recover_scene
from cloudburst.engine.recovery import TaskRecovery
from cloudburst.engine.run import Run
from cloudburst.engine.scheduler.performances import Performances
from cloudburst.errors import (
    ClosedError,
    CloudburstError,
    ConfigurationError,
    InvalidScenesError,
    SceneFault,
)
from cloudburst.events import SceneCompleted, SceneFailed, SceneQueued
from cloudburst.models.fingerprint import HashInputs
from cloudburst.models.journal_entries import ProcessEndEntry, ProcessEntry
from cloudburst.models.locations import OutputLocation, S3Object
from cloudburst.models.performance import Performance
from cloudburst.models.scene import CheckedScene
from cloudburst.ports.backend import Backend
from cloudburst.ports.outputs import FilmMaker, Journal
from cloudburst.ports.remote_files import RemoteFiles

logger = logging.getLogger(__name__)

_NO_S3 = SceneFault(
    scene="",
    field="to",
    found="a folder in S3, and workers of the protocol onestep, which write nothing to S3",
    expected="a folder on this machine, or workers of the protocol native, with our image",
)


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Specification of a run to start."""

    name: str
    scenes: Sequence[CheckedScene]
    to: Mapping[str, OutputLocation]
    """Location of each video, by scene."""
    journal: Journal | None = None
    """Journal of the run; ``None``: the run cannot be resumed."""
    process: ProcessEntry | None = None
    """Entry of this process for the journal."""
    earlier: RecoveredState | None = None
    """State that earlier processes of the run left; ``None`` for a new run."""
    film: FilmMaker | None = None
    remote: RemoteFiles | None = None
    """Access to remote files, if there are any."""
    bytes_checked: int = 0
    """Bytes of remote files that were read for the checks."""
    hash_inputs: HashInputs | None = None
    """Function that hashes the files of a scene before they are sent; ``None``: without
    fingerprints, a resumed run makes the videos again."""


@asynccontextmanager
async def open_run(spec: RunSpec, pool: WorkerPool) -> AsyncGenerator[Run]:
    """Start the scenes of a run, and yield the run.

    If the ``with`` block ends before the run does, unfinished scenes are cancelled.

    Raises:
        BusyError: The queue has no room for all scenes. Nothing was started.
        ConfigurationError: A scene is too long for the lifetime of every task. Nothing was started.
        InvalidScenesError: The workers of a backend cannot render a scene or write to S3. Nothing
            was started.
    """
    await _check_supported(spec, pool.backends)
    records = list[SceneRecord]()
    async for scene in Steps(spec.scenes):
        record = SceneRecord(name=scene.scene.name)
        if spec.earlier is not None:
            recover_scene(record, spec.earlier)
        records.append(record)
    run = Run(spec.name, records, pool, bytes_checked=spec.bytes_checked)
    progress = RunProgress(spec, run, pool)
    tickets = await progress.new_tickets()
    _check_lifetimes(tickets, pool.backends, pool.scheduler.performances)
    run.predicted = pool.scheduler.plan_for(
        [ticket.work for ticket in tickets], sum(ticket.bytes_to_send for ticket in tickets)
    ).prediction
    writers, journal = pool.supervisors.writers, spec.journal
    with (
        collapse_single(),
        nullcontext() if journal is None else writers.writing(run.name, journal) as run.writer,
        pool.supervisors.observed(run.on_worker_event),
    ):
        started = False
        try:
            with pool.admit(run.name, tickets) as queued:
                if run.writer is not None:
                    known = spec.earlier.fingerprints if spec.earlier else dict[str, str]()
                    await run.writer.write_scenes(spec.scenes, known, *filter(None, [spec.process]))
                started = True
                try:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(progress.run, tasks, queued)
                        yield run
                        tasks.cancel_scope.cancel()
                finally:
                    if progress.recovery is not None:
                        await progress.recovery.stop_leftovers()
            await pool.wait_drained(run.name)
        finally:
            run.end(launching=pool.supervisors.records(run.name))
            if started and run.writer is not None:
                now = run.writer.journal.now()
                run.writer.add(ProcessEndEntry(ended_at=now, status=run.status))
                await run.writer.flush(within=pool.timeouts.call)


class RunProgress:
    """Concurrent work of a run: its recovery, and an anyio task for each scene with a worker."""

    def __init__(self, spec: RunSpec, run: Run, pool: WorkerPool) -> None:
        self._spec = spec
        self._run = run
        self._pool = pool
        self._scenes = {scene.scene.name: scene for scene in spec.scenes}
        self._records = {record.name: record for record in run.records}
        self._writes = VideoWrites(run.name, pool.scheduler.paused_runs)
        language = spec.scenes[0].options.language
        if spec.film is not None:
            run.film = FilmStep(
                spec.film, run.name, pool, language=language, writes=self._writes, emit=run.emit
            )
        self.recovery: TaskRecovery | None = None
        if spec.earlier is not None:
            ahead = spec.journal.now() - anyio.current_time() if spec.journal else 0.0
            task = replace(
                pool.spec, run=run.name, scene=spec.scenes[0].scene.name, language=language
            )
            self.recovery = TaskRecovery(
                task, spec.earlier, pool, own_tasks=run.task_ids, ahead=ahead
            )
            # An earlier use of the run in this client may not be done with its workers.
            run.add_workers(each for each in pool.supervisors.records(run.name) if each.task)
            run.add_workers(self.recovery.records)
        self._tasks: TaskGroup | None = None
        self._unfinished = set[str]()
        self._finished = anyio.Event()
        self._recovered = anyio.Event()

    async def new_tickets(self) -> list[Ticket]:
        """Return the tickets of the scenes that are still to be rendered."""
        seconds = self._pool.limits.deadline
        deadline = anyio.current_time() + (math.inf if seconds is None else seconds)
        tickets, senders = list[Ticket](), dict[Path, Ticket]()
        async for record in Steps(self._run.records):
            if record.video is not None or record.error is not None:
                continue
            self._unfinished.add(record.name)
            scene = self._scenes[record.name]
            ticket = Ticket(
                run=self._run.name,
                scene=record.name,
                language=scene.options.language,
                audio_seconds=scene.audio_seconds,
                work=scene_work(scene),
                deadline=deadline,
                suspect=record.worker_losses > 0,
                start=self.start_scene,
            )
            add_upload_size(ticket, scene, senders)
            tickets.append(ticket)
        return tickets

    async def run(
        self, tasks: TaskGroup, queued: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Recover earlier tasks, render all scenes, make the film, and end the run."""
        self._tasks, run = tasks, self._run
        needs_worker = run.film is not None and run.film.needs_worker
        with self._pool.scheduler.kept_workers.expecting_film() if needs_worker else nullcontext():
            async for record in Steps(run.records):
                if record.video is not None:
                    run.emit(SceneCompleted, scene=record.name, video=record.video, skipped=True)
                elif record.error is not None:
                    self._emit_failed(record, record.error)
                else:
                    run.emit(SceneQueued, scene=record.name, attempt=record.attempts + 1)
            if self.recovery is not None:
                await self.recovery.look()
                self._adopt(self.recovery, len(self._unfinished))
                tasks.start_soon(self._keep_looking, self.recovery)
            with queued():  # without a pause, or the adopted workers would be given up as needless
                if self._unfinished:
                    await self._finished.wait()
            if self.recovery is not None:
                await self._recovered.wait()
            if run.film is not None:  # all scenes have a video or an error
                await run.film.run(run.records)
        await self._pool.wait_drained(run.name)
        run.end()

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
        record, scene = self._records[ticket.scene], self._scenes[ticket.scene]
        longest = self._pool.limits.audio_seconds
        context = SceneContext(
            scene=scene,
            ticket=ticket,
            to=self._spec.to[ticket.scene],
            record=record,
            emit=partial(self._run.emit, scene=ticket.scene),
            max_audio_seconds=scene.audio_seconds if scene.audio_known else longest,
            writes=self._writes,
            remote=self._spec.remote,
            writer=self._run.writer,
            hash_inputs=self._spec.hash_inputs,
        )
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
        self._unfinished.remove(ticket.scene)
        if not self._unfinished:
            self._finished.set()

    def _emit_failed(self, record: SceneRecord, error: CloudburstError) -> None:
        kind, message, retryable = type(error).__name__, str(error), error.retryable
        facts = {"kind": kind, "message": message, "retryable": retryable}
        self._run.emit(SceneFailed, scene=record.name, **facts)


async def _check_supported(spec: RunSpec, backends: Sequence[Backend]) -> None:
    # A run may use each of its backends for each scene and for the folder of the videos.
    checks = [each.find_unsupported or attrgetter("undrawable") for each in backends]
    faults = dict[SceneFault, None]()
    async for scene in Steps(spec.scenes):
        for find_unsupported in checks:
            faults |= dict.fromkeys(find_unsupported(scene))
    in_s3 = any(isinstance(location, S3Object) for location in spec.to.values())
    if in_s3 and not all(each.uses_s3 for each in backends):
        faults[_NO_S3] = None
    if faults:
        raise InvalidScenesError(faults=[*faults])


def add_upload_size(ticket: Ticket, scene: CheckedScene, senders: dict[Path, Ticket]) -> None:
    """Set how many bytes are sent for a scene, so that each file counts once for the run."""
    for path, file in scene.versions.items():
        sender = senders.get(path)
        if sender is None or sender.work < ticket.work:
            senders[path] = ticket
            ticket.bytes_to_send += file.size
            if sender is not None:
                sender.bytes_to_send -= file.size


def _check_lifetimes(
    tickets: Iterable[Ticket], backends: Sequence[Backend], performances: Performances
) -> None:
    ticket = max(tickets, key=lambda ticket: ticket.work, default=None)
    limited = [(performances.of_backend(each), each.lifetime) for each in backends if each.lifetime]
    if ticket is None or len(limited) < len(backends):
        return
    performance, lifetime = min(limited, key=lambda pair: _needed(pair[0], ticket.work) - pair[1])
    needed = _needed(performance, ticket.work)
    if needed <= lifetime:
        return
    setting = math.ceil(_needed(performance.in_case("worst"), ticket.work) / 600) * 600
    text = (
        f"scene {ticket.scene} needs about {needed / 60:.0f} minutes of a task, "
        f"and a task ends by itself after {lifetime / 60:.0f}: "
        f"set CLOUDBURST_LIFETIME to {setting} (seconds), or choose a larger tier"
    )
    measured = "encode" in performance.measured
    if measured and _needed(performance.in_case("best"), ticket.work) > lifetime:
        raise ConfigurationError(text)
    logger.warning("%s", text)


def _needed(performance: Performance, work: float) -> float:
    return performance.transfer_seconds + performance.encode_seconds(work)
