"""From what happened to what the report says. Pure."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from decimal import Decimal

from cloudburst.engine.ledger import cost_of, covered, shares, total
from cloudburst.engine.scene import SceneRecord
from cloudburst.engine.slot import WorkerRecord
from cloudburst.errors import BudgetError, ClosedError, CloudburstError, Remedy
from cloudburst.models.report import Cost, Prediction, Report, SceneReport, Status, WorkerReport

SOME = 200
"""Entries of a report that are made without a pause: some milliseconds."""


def report(
    run: str,
    scenes: Sequence[SceneRecord],
    workers: Sequence[WorkerRecord],
    *,
    began: float,
    seconds: float,
    predicted: Prediction | None = None,
) -> Generator[None, None, Report]:
    """The whole run; ``began`` is its begin on the records' clock.

    A generator, which returns the report, so that a large one need not be made in one go. A task
    is on the bill of the run that it was started for.
    """
    usd, costs, told = dict[str, Decimal](), list[Cost | None](), list[WorkerReport]()
    for number, worker in enumerate(workers):
        if worker.run != run and not any(visit.run == run for visit in worker.visits):
            continue
        cost = cost_of(worker) if worker.run == run else None
        for (of, scene), amount in shares(worker, cost).items():
            if of == run:
                usd[scene] = usd.get(scene, Decimal()) + amount
        costs.append(cost)
        told.append(_worker_report(worker, cost, run, began))
        if number % SOME == SOME - 1:
            yield
    entries = list[SceneReport]()
    for number, record in enumerate(scenes):
        entries.append(_scene_report(record, usd))
        if number % SOME == SOME - 1:
            yield
    return Report(
        run=run,
        status=status(scenes),
        seconds=seconds,
        scenes=tuple(entries),
        workers=tuple(told),
        cost=total(costs),
        fault=_fault(scenes),
        predicted=predicted,
        errors=tuple(scene.error for scene in scenes if scene.error is not None),
    )


def status(scenes: Sequence[SceneRecord]) -> Status:
    """How the run stands: interrupted as long as a scene has neither video nor error."""
    if any(scene.video is None and scene.error is None for scene in scenes):
        return Status.INTERRUPTED
    if any(isinstance(scene.error, BudgetError) for scene in scenes):
        return Status.BUDGET
    if all(scene.video is not None for scene in scenes):
        return Status.COMPLETE
    return Status.PARTIAL if any(scene.video is not None for scene in scenes) else Status.FAILED


def _fault(scenes: Sequence[SceneRecord]) -> str | None:
    """What somebody has to mend, as the first scene that failed by it says."""
    for scene in scenes:
        error = scene.error
        if error is None or isinstance(error, BudgetError | ClosedError):
            continue
        if error.remedy is Remedy.WHOLE_RUN:
            return _told(error)
    return None


def _scene_report(scene: SceneRecord, usd: Mapping[str, Decimal]) -> SceneReport:
    return SceneReport(
        scene=scene.name,
        video=scene.video,
        error=_told(scene.error),
        task=scene.task,
        attempts=scene.attempts,
        queued=scene.queued,
        uploading=scene.uploading,
        waiting=scene.waiting,
        generating=scene.generating,
        downloading=scene.downloading,
        sent=scene.sent,
        received=scene.video.size if scene.video else 0,
        usd=usd.get(scene.name),
        skipped=scene.skipped,
    )


def _worker_report(worker: WorkerRecord, cost: Cost | None, run: str, began: float) -> WorkerReport:
    def on_run_clock(time: float | None) -> float | None:
        return None if time is None else time - began

    visits = [visit for visit in worker.visits if visit.run == run]
    encodes = [span for visit in visits for span in visit.spans if span.work == "generating"]
    return WorkerReport(
        task=worker.task,
        backend=worker.backend,
        launched=on_run_clock(worker.launched),
        ready=on_run_clock(worker.ready),
        stopped=on_run_clock(worker.stopped),
        encoding=covered((span.began, span.ended) for span in encodes),
        scenes=sum(visit.done for visit in visits),
        cost=cost,
        may_run=worker.may_run,
        error=_told(worker.error),
        post_mortem=worker.post_mortem,
    )


def _told(error: CloudburstError | None) -> str | None:
    return None if error is None else f"{type(error).__name__}: {error}"
