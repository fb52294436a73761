"""Report of a run, made from the records of its scenes and workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

import anyio
import anyio.lowlevel

from cloudburst.concurrency import Steps
from cloudburst.engine.cost_breakdown import cost_of, covered_seconds, scene_costs, total_cost
from cloudburst.engine.film_step import FilmStep
from cloudburst.engine.scene_record import SceneRecord
from cloudburst.engine.worker_record import Attempt, WorkerRecord
from cloudburst.errors import BudgetError, ClosedError, CloudburstError, Remedy
from cloudburst.models.report import Cost, Prediction, Report, SceneReport, Status, WorkerReport
from cloudburst.models.scene import Video


class Outcome(NamedTuple):
    """Video or error of a scene; neither while the scene is not finished."""

    video: Video | None
    error: CloudburstError | None


async def make_report(
    run: str,
    scenes: Sequence[SceneRecord],
    workers: Iterable[WorkerRecord],
    *,
    started_at: float,
    seconds: float,
    predicted: Prediction | None,
    bytes_checked: int = 0,
    film: FilmStep | None = None,
) -> Report:
    """Return the report of a run, and let other tasks run meanwhile; it cannot be cancelled.

    Scenes and workers may change meanwhile: each entry is as it was found. The cost of a task is on
    the bill of the run for which it was started.

    Args:
        run: Name of the run.
        scenes: Records of the run's scenes.
        workers: Records of the run's workers, and of workers of other runs that the run has used.
        started_at: Time at which the run started, on anyio's clock.
        seconds: Wall time of the run, in seconds.
        predicted: Prediction that was made when the run started.
        bytes_checked: Number of bytes of remote files that were read before the run started.
        film: Step that makes the film of the run; ``None`` if no film was requested.
    """
    scene_reports, outcomes = list[SceneReport](), list[Outcome]()
    worker_reports, costs = list[WorkerReport](), list[Cost | None]()
    usd_by_scene, names = dict[str, Decimal](), {scene.name for scene in scenes}
    with anyio.CancelScope(shield=True):
        for worker in workers:
            await anyio.lowlevel.checkpoint()  # its entry may have the work of many scenes
            attempts = [attempt for attempt in worker.attempts if attempt.run == run]
            if worker.run != run and not attempts:
                continue
            cost = cost_of(worker) if worker.run == run else None
            for (of_run, scene), usd in scene_costs(worker, cost).items():
                if of_run == run:
                    usd_by_scene[scene] = usd_by_scene.get(scene, Decimal()) + usd
            costs.append(cost)
            finished = sum(one.finished for one in attempts if one.scene in names)
            worker_reports.append(_worker_report(worker, attempts, finished, cost, started_at))
        async for record in Steps(scenes):
            scene_reports.append(_scene_report(record, usd_by_scene.get(record.name)))
            outcomes.append(Outcome(record.video, record.error))
    return Report(
        run=run,
        status=status(outcomes),
        wall_seconds=seconds,
        scenes=tuple(scene_reports),
        workers=tuple(worker_reports),
        cost=total_cost(costs),
        problem=_problem(outcomes),
        predicted=predicted,
        bytes_checked=bytes_checked,
        film=None if film is None else film.path,
        film_error=None if film is None else film.error,
        errors=tuple(one.error for one in outcomes if one.error is not None),
    )


def _worker_report(
    worker: WorkerRecord,
    attempts: Sequence[Attempt],
    finished: int,
    cost: Cost | None,
    started_at: float,
) -> WorkerReport:
    def on_run_clock(time: float | None) -> float | None:
        return None if time is None else time - started_at

    spans = [span for attempt in attempts for span in attempt.spans if span.phase == "encode"]
    return WorkerReport(
        task=worker.task,
        backend=worker.backend,
        size=worker.size,
        launched_at=on_run_clock(worker.launched),
        ready_at=on_run_clock(worker.ready),
        stopped_at=on_run_clock(worker.stopped),
        encode_seconds=covered_seconds((span.started_at, span.ended_at) for span in spans),
        scenes=finished,
        cost=cost,
        possibly_running=worker.possibly_running,
        error=_text(worker.failure),
        post_mortem=worker.post_mortem,
    )


def _scene_report(scene: SceneRecord, usd: Decimal | None) -> SceneReport:
    size = scene.video.size if scene.video else 0
    return SceneReport(
        scene=scene.name,
        video=scene.video,
        error=_text(scene.error),
        task=scene.task,
        attempts=scene.attempts,
        queued_seconds=scene.queued_seconds,
        upload_seconds=scene.phase_seconds.get("upload", 0.0),
        slot_wait_seconds=scene.slot_wait_seconds,
        encode_seconds=scene.phase_seconds.get("encode", 0.0),
        download_seconds=scene.phase_seconds.get("download", 0.0),
        bytes_sent=scene.bytes_sent,
        bytes_received=0 if scene.written_by_worker else size,
        bytes_fetched=scene.bytes_fetched,
        bytes_delivered=size if scene.written_by_worker else 0,
        usd=usd,
        skipped=scene.skipped,
    )


def status(scenes: Sequence[Outcome]) -> Status:
    """Return the status of a run from the outcomes of its scenes.

    It is `Status.INTERRUPTED` if any scene has neither a video nor an error, also while the run
    continues.
    """
    if any(scene.video is None and scene.error is None for scene in scenes):
        return Status.INTERRUPTED
    if any(isinstance(scene.error, BudgetError) for scene in scenes):
        return Status.BUDGET
    if all(scene.video is not None for scene in scenes):
        return Status.COMPLETE
    return Status.PARTIAL if any(scene.video is not None for scene in scenes) else Status.FAILED


def _problem(scenes: Sequence[Outcome]) -> str | None:
    """Return the text of the first error that requires a new setup; ``None`` if none does."""
    for scene in scenes:
        error = scene.error
        if error is None or isinstance(error, BudgetError | ClosedError):
            continue
        if error.remedy is Remedy.FIX_SETUP:
            return _text(error)
    return None


def _text(error: CloudburstError | None) -> str | None:
    return None if error is None else f"{type(error).__name__}: {error}"
