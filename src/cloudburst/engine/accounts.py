"""From what happened to what the report says. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from cloudburst.engine.ledger import cost_of, covered, shares, total
from cloudburst.engine.scene import SceneRecord
from cloudburst.engine.slot import WorkerRecord
from cloudburst.errors import BudgetError, CloudburstError
from cloudburst.models.report import Cost, Report, SceneReport, Status, WorkerReport


def report(
    run: str,
    scenes: Sequence[SceneRecord],
    workers: Sequence[WorkerRecord],
    *,
    began: float,
    seconds: float,
) -> Report:
    """The whole run; ``began`` is its begin on the records' clock.

    A task is on the bill of the run that it was started for.
    """
    mine = [w for w in workers if w.run == run or any(v.run == run for v in w.visits)]
    costs = {id(w): cost for w in mine if w.run == run and (cost := cost_of(w)) is not None}
    usd = dict[str, Decimal]()
    for worker in mine:
        if cost := costs.get(id(worker)):
            for (of, scene), amount in shares(worker, cost).items():
                if of == run:
                    usd[scene] = usd.get(scene, Decimal()) + amount
    return Report(
        run=run,
        status=status(scenes),
        seconds=seconds,
        scenes=tuple(_scene_report(scene, usd) for scene in scenes),
        workers=tuple(_worker_report(w, costs.get(id(w)), run, began) for w in mine),
        cost=total(costs.values()),
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
        error=_told(worker.error),
    )


def _told(error: CloudburstError | None) -> str | None:
    return None if error is None else f"{type(error).__name__}: {error}"
