"""Start of a run on a pool, its concurrent work, and its end."""

from __future__ import annotations

import logging
import math
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Sequence,
)
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from operator import attrgetter, itemgetter
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
from cloudburst.engine.records import SceneRecord, recover_scene
from cloudburst.engine.recovery import TaskRecovery
from cloudburst.engine.run import ClaimedScenes, Run, RunSpec, Submission
from cloudburst.errors import (
    BudgetError,
    ClosedError,
    CloudburstError,
    ConfigurationError,
    InvalidScenesError,
    SceneFault,
)
from cloudburst.events import SceneCompleted, SceneFailed, SceneQueued
from cloudburst.models.journal_entries import ProcessEndEntry
from cloudburst.models.locations import S3Object
from cloudburst.models.performance import Performance
from cloudburst.models.scene import CheckedScene, fold_name
from cloudburst.ports.remote_files import RemoteFiles

logger = logging.getLogger(__name__)

_NO_S3 = SceneFault(
    scene="",
    field="to",
    found="a folder in S3, and workers of the protocol onestep, which write nothing to S3",
    expected="a folder on this machine, or workers of the protocol native, with our image",
    code="contradiction",
)


# Seconds for which the end of a run waits for an asynchronous generator of scenes to be closed.
SOURCE_CLOSE_TIMEOUT = 10.0


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
    run = Run(spec.name, pool)
    run.began_at = None if spec.process is None else spec.process.started_at
    writers, journal = pool.supervisors.writers, spec.journal
    with collapse_single(), ExitStack() as stack:
        if spec.intake is not None and spec.source is None:
            spec = replace(spec, source=stack.enter_context(run.submitted()))
        work = RunWork(spec, run, pool)
        await work.check_supported(spec.scenes)
        await work.add(spec.scenes, spec.claimed)
        tickets = work.tickets
        check_lifetimes(((ticket.scene, ticket.work) for ticket in tickets), pool)
        if not run.is_open:
            run.predicted = pool.scheduler.plan_for(
                [ticket.work for ticket in tickets], sum(ticket.bytes_to_send for ticket in tickets)
            ).prediction
        if journal is not None:
            run.writer = stack.enter_context(writers.writing(run.name, journal))
        stack.enter_context(pool.supervisors.observed(run.on_worker_event))
        started = False
        try:
            with pool.admit(run.name, tickets) as queued:
                if run.writer is not None:
                    first = [replace(spec.process, predicted=run.predicted)] if spec.process else []
                    await run.writer.write_scenes(spec.scenes, spec.claimed.fingerprints, *first)
                started = True
                try:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(work.run, tasks, queued)
                        yield run
                        tasks.cancel_scope.cancel()
                finally:
                    if work.recovery is not None:
                        await work.recovery.stop_leftovers()
            await pool.wait_drained(run.name)
        finally:
            run.end(launching=pool.supervisors.records(run.name))
            if started and run.writer is not None:
                now = run.writer.journal.now()
                run.writer.add(ProcessEndEntry(ended_at=now, status=run.status, **run.film_facts()))
                await run.writer.flush(within=pool.timeouts.call)
    if run.source_error is not None:  # as it is, even if it is a group
        raise run.source_error


class RunWork:
    """Concurrent work of a run: its recovery, and an anyio task for each scene with a worker."""

    def __init__(self, spec: RunSpec, run: Run, pool: WorkerPool) -> None:
        self._spec = spec
        self._run = run
        self._pool = pool
        self._writes = VideoWrites(run.name, pool.scheduler.paused_runs)
        seconds = pool.limits.deadline
        self._deadline = anyio.current_time() + (math.inf if seconds is None else seconds)
        self.tickets = list[Ticket]()
        """Tickets of all scenes that are, or were, to be rendered."""
        self._senders = dict[Path, Ticket]()
        self._labels = dict[str, tuple[int, str]]()  # of the scenes of the source so far
        first = next(iter(spec.scenes), None)
        language = pool.spec.language if first is None else first.options.language
        if spec.film is not None:
            run.film = FilmStep(
                spec.film, run.name, pool, language=language, writes=self._writes, emit=run.emit
            )
        self.recovery: TaskRecovery | None = None
        # Difference between the clock of the journal and anyio's.
        self._ahead = spec.journal.now() - anyio.current_time() if spec.journal else 0.0
        if (earlier := spec.claimed.earlier) is not None:
            scene = "" if first is None else first.scene.name
            task = replace(pool.spec, run=run.name, scene=scene, language=language)
            self.recovery = TaskRecovery(
                task, earlier, pool, own_tasks=run.task_ids, ahead=self._ahead
            )
            # An earlier use of the run in this client may not be done with its workers.
            run.add_workers(each for each in pool.supervisors.records(run.name) if each.task)
            run.add_workers(self.recovery.records)
        run.is_open = spec.source is not None
        # True if an earlier source has further scenes, or this one has scenes that were not taken.
        process = spec.process
        self._lacks_scenes = bool(process and process.source_ended is False and not run.is_open)
        self._over_budget = False
        self._tasks: TaskGroup | None = None
        self._unfinished = set[str]()
        self._finished = anyio.Event()
        self._recovered = anyio.Event()

    async def check_supported(self, scenes: Iterable[CheckedScene]) -> None:
        """Raise `InvalidScenesError` for scenes that the workers of a backend do not support."""
        # A run may use each of its backends for each scene and for the folder of the videos.
        backends = self._pool.backends
        checks = [each.find_unsupported or attrgetter("undrawable") for each in backends]
        faults = dict[SceneFault, None]()
        async for scene in Steps(scenes):
            for find_unsupported in checks:
                faults |= dict.fromkeys(find_unsupported(scene))
        in_s3 = isinstance(self._spec.to("scene"), S3Object)
        if in_s3 and not all(each.uses_s3 for each in backends):
            faults[_NO_S3] = None
        if faults:
            raise InvalidScenesError(faults=[*faults])

    async def add(self, scenes: Iterable[CheckedScene], claimed: ClaimedScenes) -> Sequence[Ticket]:
        """Add scenes to the run, and return the tickets of those to be rendered."""
        tickets = list[Ticket]()
        async for scene in Steps(scenes):
            record = SceneRecord(name=scene.scene.name)
            if claimed.earlier is not None:
                recover_scene(record, claimed.earlier, ahead=self._ahead)
            self._run.add(record)
            if record.video is not None or record.error is not None:
                continue
            ticket = Ticket(
                run=self._run.name,
                scene=record.name,
                language=scene.options.language,
                audio_seconds=scene.audio_seconds,
                work=scene_work(scene),
                deadline=self._deadline,
                suspect=record.worker_losses > 0,
                start=partial(self._start_scene, record, scene, claimed.remote),
            )
            add_upload_size(ticket, scene, self._senders)
            tickets.append(ticket)
        self._run.bytes_checked += claimed.bytes_checked
        self.tickets += tickets
        self._unfinished.update(ticket.scene for ticket in tickets)
        return tickets

    async def run(
        self, tasks: TaskGroup, queued: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Recover earlier tasks, render all scenes, make the film, and end the run."""
        self._tasks, run, kept = tasks, self._run, self._pool.scheduler.kept_workers
        needs_worker = run.film is not None and run.film.needs_worker
        with kept.expecting_film() if needs_worker else nullcontext(), ExitStack() as coming:
            if run.is_open:
                coming.enter_context(kept.expecting_scenes())
            async for record in Steps(run.records):
                self._announce(record)
            if self.recovery is not None:
                await self.recovery.look()
                self._adopt(self.recovery, math.inf if run.is_open else len(self._unfinished))
                tasks.start_soon(self._keep_looking, self.recovery)
            with queued():  # without a pause, or the adopted workers would be given up as needless
                if self._spec.source is not None:
                    tasks.start_soon(self._end_with_client)
                    await self._take_scenes(self._spec.source)
                    coming.close()
                    self._pool.scheduler.decide()
                if self._unfinished:
                    await self._finished.wait()
            if self.recovery is not None:
                await self._recovered.wait()
            if run.film is not None:  # all scenes have a video or an error
                await run.film.run(run.records, lacks_scenes=self._lacks_scenes)
        await self._pool.wait_drained(run.name)
        run.end()

    async def _end_with_client(self) -> None:
        while not self._pool.scheduler.closed:
            if not self._run.is_open:
                return
            await self._pool.scheduler.decision_made.wait()
        self._fail(ClosedError("the client was left while the run could get further scenes"))

    def _fail(self, error: Exception) -> None:
        """End the run as if its block was left, and let the block raise the error."""
        assert self._tasks is not None, "the run has started"
        self._run.source_error = error
        self._tasks.cancel_scope.cancel()

    async def _take_scenes(self, source: AsyncIterable[object]) -> None:
        """Accept the scenes of the source, one after another."""
        scheduler = self._pool.scheduler
        try:
            async with iterating(source) as scenes:
                while True:
                    while len(scheduler.queue.tickets_of(self._run.name)) >= self._pool.max_waiting:
                        await scheduler.decision_made.wait()
                    if self._over_budget:
                        self._lacks_scenes = True
                        break
                    try:
                        scene = await anext(scenes)
                    except StopAsyncIteration:
                        break
                    await self._take(scene)
        except Exception as exc:  # noqa: BLE001 - the block of the run raises it
            self._fail(exc)
        except anyio.get_cancelled_exc_class() as exc:
            if anyio.current_effective_deadline() == -math.inf:  # the run is cancelled
                raise
            # Raised as it is, it would look like the end of a scope around the block.
            error = ClosedError("what the source of the scenes waited for was cancelled")
            error.__cause__ = exc
            self._fail(error)
        if self._run.source_error is not None:
            await anyio.sleep_forever()
        writer, process = self._run.writer, self._spec.process
        if writer is not None and process is not None and not self._lacks_scenes:
            await writer.write(replace(process, source_ended=True))
        self._run.is_open = False

    async def _take(self, scene: object) -> None:
        """Accept a scene, or note why it cannot be rendered."""
        submission = scene if isinstance(scene, Submission) else Submission(scene)
        try:
            await self._accept(submission)
        except CloudburstError as exc:
            submission.error = exc
            if submission is not scene:  # it has no caller, so the run has it
                self._refuse(submission.name, exc)
        except Exception as exc:
            if submission is not scene:
                raise
            submission.error = exc
        finally:
            submission.answered.set()

    async def _accept(self, submission: Submission) -> None:
        intake, writer = self._spec.intake, self._run.writer
        assert intake is not None, "the run takes scenes"
        scene = await intake.check(submission.scene, self._labels)
        submission.name = name = scene.scene.name
        await self.check_supported([scene])
        check_lifetimes([(name, scene_work(scene))], self._pool)
        claimed = await intake.claim(scene)
        if writer is not None:
            await writer.write_scenes([scene], claimed.fingerprints)
        self._add_label(name)
        tickets = await self.add([scene], claimed)
        self._announce(self._run.records[-1])
        self._pool.scheduler.enqueue(*tickets)
        submission.error = None

    def _refuse(self, name: str, error: CloudburstError) -> None:
        """Add a scene that has failed before it was accepted."""
        self._lacks_scenes = True
        if not name and isinstance(error, InvalidScenesError):
            name = error.faults[0].scene
        if name in {"", "options"} or fold_name(name) in self._labels:
            name = f"scenes[{len(self._labels)}]"
        self._add_label(name)
        self._run.add(record := SceneRecord(name=name, error=error))
        self._announce(record)

    def _add_label(self, label: str) -> None:
        self._labels[fold_name(label)] = len(self._labels), label

    def _announce(self, record: SceneRecord) -> None:
        if record.video is not None:
            self._run.emit(SceneCompleted, scene=record.name, video=record.video, skipped=True)
        elif record.error is not None:
            self._emit_failed(record, record.error)
        else:
            self._run.emit(SceneQueued, scene=record.name, attempt=record.attempts + 1)

    async def _keep_looking(self, recovery: TaskRecovery) -> None:
        while await recovery.look_again():
            self._adopt(recovery, 0)
        self._recovered.set()

    def _adopt(self, recovery: TaskRecovery, scenes: float) -> None:
        recovery.adopt(scenes)
        self._run.add_workers(recovery.records)

    def _start_scene(
        self, record: SceneRecord, scene: CheckedScene, remote: RemoteFiles | None, ticket: Ticket
    ) -> None:
        """Start the anyio task of a scene that has its first assignment or an error."""
        assert self._tasks is not None, "no ticket is notified before it is queued"
        longest = self._pool.limits.audio_seconds
        context = SceneContext(
            scene=scene,
            ticket=ticket,
            to=self._spec.to(ticket.scene),
            record=record,
            emit=partial(self._run.emit, scene=ticket.scene),
            max_audio_seconds=scene.audio_seconds if scene.audio_known else longest,
            known_seconds=scene.audio_seconds if scene.audio_known else 0.0,
            cue_starts=scene.cue_starts,
            writes=self._writes,
            remote=remote,
            writer=self._run.writer,
            hash_inputs=self._spec.hash_inputs,
        )
        self._tasks.start_soon(self._render, context, name=f"scene {ticket.scene}")

    async def _render(self, context: SceneContext) -> None:
        record = context.record
        try:
            record.video = await render_scene(context, self._pool)
        except CloudburstError as exc:
            record.error = exc
        except Exception as exc:  # noqa: BLE001 - the other scenes go on
            record.error = scene_defect(exc, record.name)
        record.finished_at = anyio.current_time()
        if (error := record.error) is None:
            context.emit(SceneCompleted, video=record.video)
        else:
            self._over_budget |= isinstance(error, BudgetError)
            if not isinstance(error, ClosedError):  # which is no failure of the scene
                context.write_failure(error, final=True)
            self._emit_failed(record, error)
        self._unfinished.remove(record.name)
        if not self._unfinished and not self._run.is_open:
            self._finished.set()

    def _emit_failed(self, record: SceneRecord, error: CloudburstError) -> None:
        kind, message, retryable = type(error).__name__, str(error), error.retryable
        facts = {"kind": kind, "message": message, "retryable": retryable}
        self._run.emit(SceneFailed, scene=record.name, **facts)


@asynccontextmanager
async def iterating(source: AsyncIterable[object]) -> AsyncGenerator[AsyncIterator[object]]:
    """Yield the iterator of a source, and close it at the end if it is a generator."""
    scenes = aiter(source)
    # Generators may have cancel scopes, which end in this task and before those around them.
    with anyio.CancelScope() as scope:
        try:
            yield scenes
        finally:
            close = getattr(scenes, "aclose", None)
            if close is not None:
                scope.shield = True
                scope.deadline = anyio.current_time() + SOURCE_CLOSE_TIMEOUT
                try:
                    await close()
                except* GeneratorExit:  # a task group in the generator has put it into a group
                    pass


def add_upload_size(ticket: Ticket, scene: CheckedScene, senders: dict[Path, Ticket]) -> None:
    """Set how many bytes are sent for a scene, so that each file counts once for the run."""
    for path, file in scene.versions.items():
        sender = senders.get(path)
        # What waits already is sent first.
        if sender is None or (sender.waiting_since is None and sender.work < ticket.work):
            senders[path] = ticket
            ticket.bytes_to_send += file.size
            if sender is not None:
                sender.bytes_to_send -= file.size


def check_lifetimes(works: Iterable[tuple[str, float]], pool: WorkerPool) -> None:
    """Raise `ConfigurationError` if a scene takes longer than a task may run, or log a warning.

    ``works`` are the names of scenes and their work.
    """
    performances = pool.scheduler.performances
    scene, work = max(works, key=itemgetter(1), default=("", 0.0))
    limited = [
        (performances.of_backend(each), each.lifetime) for each in pool.backends if each.lifetime
    ]
    if not scene or len(limited) < len(pool.backends):
        return
    performance, lifetime = min(limited, key=lambda pair: _needed(pair[0], work) - pair[1])
    needed = _needed(performance, work)
    if needed <= lifetime:
        return
    setting = math.ceil(_needed(performance.in_case("worst"), work) / 600) * 600
    text = (
        f"scene {scene} needs about {needed / 60:.0f} minutes of a task, "
        f"and a task ends by itself after {lifetime / 60:.0f}: "
        f"set CLOUDBURST_LIFETIME to {setting} (seconds), or choose a larger tier"
    )
    measured = "encode" in performance.measured
    if measured and _needed(performance.in_case("best"), work) > lifetime:
        raise ConfigurationError(text)
    logger.warning("%s", text)


def _needed(performance: Performance, work: float) -> float:
    return performance.transfer_seconds + performance.encode_seconds(work)
