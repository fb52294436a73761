"""Start of a run on a pool, with everything that its scenes need, and the end of the run."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path

import anyio

from cloudburst.concurrency import Steps, collapse_single
from cloudburst.engine.attempt_context import OutputFolder, SceneContext
from cloudburst.engine.film import FilmStep
from cloudburst.engine.forecast.scene_work import scene_work
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.pool_state import Ticket
from cloudburst.engine.records import RecoveredState, SceneRecord, recover_scene
from cloudburst.engine.recovery import TaskRecovery, stopping_leftovers
from cloudburst.engine.run import Run
from cloudburst.engine.run_progress import RunProgress
from cloudburst.engine.scheduler.performances import Performances
from cloudburst.errors import ConfigurationError, InvalidScenesError, SceneFault
from cloudburst.models.fingerprint import HashInputs
from cloudburst.models.journal_entries import ProcessEntry
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


@asynccontextmanager
async def open_run(
    name: str,
    scenes: Sequence[CheckedScene],
    pool: WorkerPool,
    *,
    to: Mapping[str, OutputLocation],
    journal: Journal | None = None,
    process: ProcessEntry | None = None,
    earlier: RecoveredState | None = None,
    film: FilmMaker | None = None,
    remote: RemoteFiles | None = None,
    bytes_checked: int = 0,
    hash_inputs: HashInputs | None = None,
) -> AsyncGenerator[Run]:
    """Start the scenes of a run, and yield the run.

    If the ``with`` block ends before the run does, unfinished scenes are cancelled.

    Args:
        name: Name of the run.
        scenes: Scenes that have passed all checks.
        pool: Pool whose workers render the scenes.
        to: Location of each scene's video, by the name of the scene.
        journal: Journal of the run; ``None``: the run cannot be resumed.
        process: Entry of this process for the journal; ``None`` without a journal.
        earlier: State that earlier processes of the run left; ``None`` for a new run. Videos that
            they finished are kept, and their tasks are used or stopped.
        film: Maker of the film of the run; ``None`` if no film was requested.
        remote: Access to the remote files of the run; ``None`` if all files are on this machine.
        bytes_checked: Number of bytes of remote files that were read for the checks.
        hash_inputs: Function that hashes the files of a scene before they are sent; ``None``: the
            videos get no fingerprints, so that a resumed run makes them again.

    Raises:
        BusyError: The queue has no room for all scenes. Nothing was started.
        ConfigurationError: A scene is too long for the lifetime of every task. Nothing was started.
        InvalidScenesError: The workers of a backend cannot render a scene or write to S3. Nothing
            was started.
    """
    await _check_supported(scenes, to, pool.backends)
    checked, records = dict[str, CheckedScene](), dict[str, SceneRecord]()
    async for scene in Steps(scenes):
        checked[scene.scene.name] = scene
        records[scene.scene.name] = record = SceneRecord(name=scene.scene.name)
        if earlier is not None:
            recover_scene(record, earlier)
    limits, language = pool.limits, scenes[0].options.language
    run = Run(name, tuple(records.values()), pool)
    run.bytes_checked = bytes_checked
    output = OutputFolder(name, pool.scheduler.paused_runs)
    if film is not None:
        run.film = FilmStep(film, name, pool, language=language, output=output, emit=run.emit)
    recovery: TaskRecovery | None = None
    if earlier is not None:
        ahead = journal.now() - anyio.current_time() if journal else 0.0
        spec = replace(pool.spec, run=name, scene=scenes[0].scene.name, language=language)
        recovery = TaskRecovery(spec, earlier, pool, own_tasks=run.task_ids, ahead=ahead)
        # An earlier use of the run in this client may not be done with its workers.
        run.add_workers(worker for worker in pool.supervisors.records(name) if worker.task)
        run.add_workers(recovery.records)

    def context(ticket: Ticket) -> SceneContext:
        scene = checked[ticket.scene]
        return SceneContext(
            scene=scene,
            ticket=ticket,
            to=to[ticket.scene],
            record=records[ticket.scene],
            emit=partial(run.emit, scene=ticket.scene),
            max_audio_seconds=scene.audio_seconds if scene.audio_known else limits.audio_seconds,
            output=output,
            remote=remote,
            writer=run.writer,
            hash_inputs=hash_inputs,
        )

    progress = RunProgress(
        run,
        pool,
        records=records,
        context=context,
        recovery=recovery,
    )
    deadline = anyio.current_time() + (math.inf if limits.deadline is None else limits.deadline)
    tickets, senders = list[Ticket](), dict[Path, Ticket]()
    async for record in Steps(records.values()):
        if record.name in progress.unfinished:
            ticket = _new_ticket(name, checked[record.name], record, progress.start_scene, deadline)
            add_upload_size(ticket, checked[record.name], senders)
            tickets.append(ticket)
    _check_lifetimes(tickets, pool.backends, pool.scheduler.performances)
    run.predicted = pool.scheduler.plan_for(
        [ticket.work for ticket in tickets], sum(ticket.bytes_to_send for ticket in tickets)
    ).prediction
    writers = pool.supervisors.writers
    with (
        collapse_single(),
        nullcontext() if journal is None else writers.writing(name, journal) as run.writer,
        pool.supervisors.observed(run.on_worker_event),
    ):
        started = False
        try:
            with pool.admit(name, tickets) as queued:
                if run.writer is not None:
                    await run.writer.write_scenes(
                        scenes, earlier.fingerprints if earlier else {}, *filter(None, [process])
                    )
                started = True
                async with (
                    stopping_leftovers(recovery),
                    anyio.create_task_group() as tasks,
                ):
                    tasks.start_soon(progress.run, tasks, queued)
                    yield run
                    tasks.cancel_scope.cancel()
            await pool.wait_drained(name)
        finally:
            run.end()
            run.add_launching(pool.supervisors.records(name))
            if started and run.writer is not None:
                await run.writer.end(run.status, within=pool.timeouts.call)


def _new_ticket(
    run: str,
    scene: CheckedScene,
    record: SceneRecord,
    start: Callable[[Ticket], None],
    deadline: float,
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


async def _check_supported(
    scenes: Sequence[CheckedScene], to: Mapping[str, OutputLocation], backends: Sequence[Backend]
) -> None:
    """Raise `InvalidScenesError` with everything that a backend's workers cannot render.

    A run may use each of its backends for each scene, so every backend must support every scene,
    and the folder of the videos.

    Args:
        scenes: Scenes of the run.
        to: Location of each scene's video, by the name of the scene; all are in one folder.
        backends: Backends of the run.
    """
    checks = [each.find_unsupported or attrgetter("undrawable") for each in backends]
    faults = dict[SceneFault, None]()
    async for scene in Steps(scenes):
        for find_unsupported in checks:
            faults |= dict.fromkeys(find_unsupported(scene))
    in_s3 = any(isinstance(location, S3Object) for location in to.values())
    if in_s3 and not all(each.uses_s3 for each in backends):
        faults[_NO_S3] = None
    if faults:
        raise InvalidScenesError(faults=[*faults])


def add_upload_size(ticket: Ticket, scene: CheckedScene, senders: dict[Path, Ticket]) -> None:
    """Set how many bytes are sent for a scene, so that each file counts once for the run.

    A file of several scenes counts for the one with the most work, which is sent first. Files that
    workers get from S3 or web servers do not count.

    Args:
        ticket: Ticket of the scene, which is not queued yet.
        scene: The scene.
        senders: Ticket for which each file of the run counts so far. It is updated.
    """
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
    """Check that the longest scene can be finished within the lifetime of a task.

    A warning is logged if the scene is expected to take longer.

    Raises:
        ConfigurationError: Measured encode times show that no backend can finish the scene in time,
            even in the best case.
    """
    ticket = max(tickets, key=lambda ticket: ticket.work, default=None)
    limited = [(performances.of_backend(each), each.lifetime) for each in backends if each.lifetime]
    if ticket is None or len(limited) < len(backends):
        return
    performance, lifetime = min(limited, key=lambda pair: _needed(pair[0], ticket.work) - pair[1])
    needed = _needed(performance, ticket.work)
    if needed <= lifetime:
        return
    setting = math.ceil(_needed(performance.worst_case, ticket.work) / 600) * 600
    text = (
        f"scene {ticket.scene} needs about {needed / 60:.0f} minutes of a task, "
        f"and a task ends by itself after {lifetime / 60:.0f}: "
        f"set CLOUDBURST_LIFETIME to {setting} (seconds), or choose a larger tier"
    )
    measured = "encode" in performance.measured
    if measured and _needed(performance.best_case, ticket.work) > lifetime:
        raise ConfigurationError(text)
    logger.warning("%s", text)


def _needed(performance: Performance, work: float) -> float:
    """Return the expected seconds from the upload to the download of a scene."""
    return performance.transfer_seconds + performance.encode_seconds(work)
