"""Report of a run and its cost in USD, made from the records of its scenes and workers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel

from cloudburst.concurrency import Steps
from cloudburst.engine.records import (
    Attempt,
    RecoveredState,
    SceneRecord,
    WorkerRecord,
    recover_scene,
    recover_workers,
)
from cloudburst.errors import BudgetError, ClosedError, CloudburstError, Remedy
from cloudburst.models.journal_entries import JournalState
from cloudburst.models.report import Cost, Report, SceneReport, Status, WorkerReport
from cloudburst.models.scene import Video
from cloudburst.models.task import Usage, seconds_billed, usd_amount

# Names of the fields of `Cost` that add up to the bill.
COST_PARTS = ("starting", "encoding", "transferring", "idle", "wasted")
FILM_FACTS = ("film", "film_error", "film_started_at", "film_finished_at")
"""Fields of a report and of the end of a process that describe the film."""
_MILLISECOND = Decimal("0.001")


def cost_of(worker: WorkerRecord) -> Cost | None:
    """Return the cost of a task; ``None`` if nothing is billed."""
    usage = _usage_so_far(worker)
    if usage is None:
        return None
    seconds, rate = seconds_billed(usage), usage.usd_per_second
    parts = _part_seconds(worker, usage, seconds)
    amounts = {name: usd_amount(part * rate) for name, part in parts.items()}
    rest = "idle" if any(attempt.finished for attempt in worker.attempts) else "wasted"
    amounts[rest] = usd_amount(seconds * rate) - sum(amounts.values(), Decimal())
    return Cost(billed_seconds=seconds, final=worker.settled, **amounts)


def _usage_so_far(worker: WorkerRecord) -> Usage | None:
    """Return the usage of a task, seen running at least until it finished its last scene."""
    usage, launched = worker.usage, worker.launched
    if usage is None or launched is None:
        return usage
    ends = [s.ended_at for each in worker.attempts if each.finished for s in each.spans]
    seen = usage.created_at + max(ends, default=launched) - launched
    return replace(usage, last_seen_at=max(usage.last_seen_at, seen))


def _part_seconds(worker: WorkerRecord, usage: Usage, billed: int) -> Mapping[str, Decimal]:
    if not any(attempt.finished for attempt in worker.attempts):
        return {}
    useful = [span for each in worker.attempts if each.finished for span in each.spans]
    every = [span for each in worker.attempts for span in each.spans]
    encoding = covered_seconds(
        (span.started_at, span.ended_at) for span in useful if span.phase == "encode"
    )
    working = covered_seconds((span.started_at, span.ended_at) for span in useful)
    everything = covered_seconds((span.started_at, span.ended_at) for span in every)
    measured = {
        "encoding": encoding,
        "transferring": working - encoding,
        "wasted": everything - working,
        "starting": _starting_seconds(worker, usage),
    }
    left, parts = Decimal(billed), dict[str, Decimal]()
    for name, part in measured.items():  # this machine's clock and AWS's may differ a little
        parts[name] = min(left, Decimal(str(max(part, 0.0))).quantize(_MILLISECOND))
        left -= parts[name]
    return parts


def _starting_seconds(worker: WorkerRecord, usage: Usage) -> float:
    # The launch is known on AWS's clock and on ours, and relates the two.
    if worker.launched is None or worker.ready is None or usage.pull_started_at is None:
        return 0.0
    return worker.ready - worker.launched - (usage.pull_started_at - usage.created_at)


def total_cost(costs: Iterable[Cost | None]) -> Cost:
    """Return the sum of the costs of tasks; ``None`` stands for a task that is not billed."""
    known = [cost for cost in costs if cost is not None]
    return Cost(
        billed_seconds=sum(cost.billed_seconds for cost in known),
        final=all(cost.final for cost in known),
        **{name: sum((getattr(c, name) for c in known), Decimal()) for name in COST_PARTS},
    )


def scene_costs(worker: WorkerRecord, cost: Cost | None) -> dict[tuple[str, str], Decimal]:
    """Return the share of each finished scene in the cost of a task, by run and scene."""
    work = defaultdict[tuple[str, str], float](float)
    for attempt in worker.attempts:
        if attempt.finished:  # also twice for one scene, when its files have changed in between
            seconds = sum(span.ended_at - span.started_at for span in attempt.spans)
            work[attempt.run, attempt.scene] += seconds
    if cost is None or not work:
        return {}
    amount, whole = cost.usd - cost.wasted, sum(work.values())
    shares = dict[tuple[str, str], Decimal]()
    *others, last = work
    for scene in others:
        share = Decimal(str(work[scene] / whole)) if whole else Decimal(1) / len(work)
        shares[scene] = usd_amount(amount * share)
    shares[last] = amount - sum(shares.values(), Decimal())
    return shares


def covered_seconds(spans: Iterable[tuple[float, float]]) -> float:
    """Return the total length of time spans, in seconds, counting overlaps once."""
    seconds, end = 0.0, float("-inf")
    for a, b in sorted(spans):
        seconds += max(0.0, b - max(a, end))
        end = max(end, b)
    return seconds


class SceneOutcome(NamedTuple):
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
    is_open: bool = False,
    **facts: Any,
) -> Report:
    """Return the report of a run, and let other tasks run meanwhile; it cannot be cancelled.

    ``facts`` are further fields of the report.
    """
    scene_reports, outcomes = list[SceneReport](), list[SceneOutcome]()
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
            scene_usd = usd_by_scene.get(record.name)
            scene_reports.append(_scene_report(record, scene_usd, started_at))
            outcomes.append(SceneOutcome(record.video, record.error))
    return Report(
        run=run,
        status=status(outcomes, is_open=is_open),
        wall_seconds=seconds,
        scenes=tuple(scene_reports),
        workers=tuple(worker_reports),
        cost=total_cost(costs),
        problem=_problem(outcomes),
        errors=tuple(one.error for one in outcomes if one.error is not None),
        **facts,
    )


async def rebuild_report(run: str, state: JournalState, *, now: float | None = None) -> Report:
    """Return the report of a run as its journal describes it, without the work on files.

    ``now`` is the present in seconds since the epoch if a process works on the run; else ``None``.
    """
    # Times in the journal are used as times of the clock.
    process, end, finished = state.processes[-1], state.end, state.finished
    tasks, results = tuple(state.tasks.values()), tuple(state.results.values())
    earlier = RecoveredState(finished=finished, results=results, tasks=tasks)
    failures = {name: one for name, one in state.scene_failures.items() if name not in finished}
    workers = recover_workers(run, earlier, ahead=0.0).values()
    begun = [(one, worker.task) for worker in workers for one in worker.attempts if one.spans]
    begun.sort(key=lambda pair: pair[0].spans[0].started_at)
    last_attempts = {one.scene: (one, task) for one, task in begun}
    records = list[SceneRecord]()
    for name in state.scenes:
        records.append(record := SceneRecord(name=name))
        recover_scene(record, replace(earlier, failures=failures), ahead=0.0)
        if name in finished:
            record.skipped = (record.finished_at or 0.0) < process.started_at
        elif name in last_attempts:
            attempt, record.task = last_attempts[name]
            record.attempts = max(record.attempts, 1)
            record.started_at = attempt.spans[0].started_at
            record.phases = {span.phase: span for span in attempt.spans}
        if (failure := failures.get(name)) is not None:
            record.attempts = failure.attempts
            if failure.given_up and failure.error is not None:
                record.error = failure.error.restore()
    if now is not None:
        for worker in workers:
            worker.stopped = worker.stopped if state.tasks[worker.task].stopped_at else None
    ends = [end.ended_at] if end else [worker.stopped or 0.0 for worker in workers]
    return await make_report(
        run,
        records,
        workers,
        began_at=process.started_at,
        started_at=process.started_at,
        seconds=max(now or 0.0, process.started_at, *ends) - process.started_at,
        predicted=process.predicted,
        is_open=state.source_ended is False,
        **{name: getattr(end, name) for name in FILM_FACTS if end},
    )


def _worker_report(
    worker: WorkerRecord,
    attempts: Sequence[Attempt],
    finished: int,
    cost: Cost | None,
    started_at: float,
) -> WorkerReport:
    spans = [span for attempt in attempts for span in attempt.spans if span.phase == "encode"]
    return WorkerReport(
        task=worker.task,
        backend=worker.backend,
        size=worker.size,
        launched_at=_on_run_clock(worker.launched, started_at),
        ready_at=_on_run_clock(worker.ready, started_at),
        stopped_at=_on_run_clock(worker.stopped, started_at),
        encode_seconds=covered_seconds((span.started_at, span.ended_at) for span in spans),
        scenes=finished,
        cost=cost,
        possibly_running=worker.possibly_running,
        error=_text(worker.failure),
        post_mortem=worker.post_mortem,
    )


def _on_run_clock(time: float | None, started_at: float) -> float | None:
    return None if time is None else time - started_at


def _scene_report(scene: SceneRecord, usd: Decimal | None, started_at: float) -> SceneReport:
    size = scene.video.size if scene.video else 0
    times: dict[str, float] = {}
    for phase, began, ended in scene.phases.values():
        times |= {f"{phase}_at": began - started_at, f"{phase}_seconds": ended - began}
    return SceneReport(
        scene=scene.name,
        video=scene.video,
        error=_text(scene.error),
        task=scene.task,
        attempts=scene.attempts,
        queued_seconds=scene.queued_seconds,
        slot_wait_seconds=scene.slot_wait_seconds,
        started_at=_on_run_clock(scene.started_at, started_at),
        finished_at=_on_run_clock(scene.finished_at, started_at),
        **times,
        bytes_sent=scene.bytes_sent,
        bytes_received=0 if scene.written_by_worker else size,
        bytes_fetched=scene.bytes_fetched,
        bytes_delivered=size if scene.written_by_worker else 0,
        usd=usd,
        skipped=scene.skipped,
    )


def status(scenes: Sequence[SceneOutcome], *, is_open: bool = False) -> Status:
    """Return the status of a run from the outcomes of its scenes; more may come if it is open."""
    if is_open or any(scene.video is None and scene.error is None for scene in scenes):
        return Status.INTERRUPTED
    if any(isinstance(scene.error, BudgetError) for scene in scenes):
        return Status.BUDGET
    if all(scene.video is not None for scene in scenes):
        return Status.COMPLETE
    return Status.PARTIAL if any(scene.video is not None for scene in scenes) else Status.FAILED


def _problem(scenes: Sequence[SceneOutcome]) -> str | None:
    for scene in scenes:
        error = scene.error
        if error is None or isinstance(error, BudgetError | ClosedError):
            continue
        if error.remedy is Remedy.FIX_SETUP:
            return _text(error)
    return None


def _text(error: CloudburstError | None) -> str | None:
    return None if error is None else f"{type(error).__name__}: {error}"
