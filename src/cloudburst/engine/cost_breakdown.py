"""Cost of a task in USD, split by the use of its billed time and by scene. Pure arithmetic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from cloudburst.engine.worker_record import WorkerRecord
from cloudburst.models.billing import seconds_billed, usd_amount
from cloudburst.models.report import Cost
from cloudburst.models.task import Usage

COST_PARTS = ("starting", "encoding", "transferring", "idle", "wasted")
"""Names of the fields of `Cost` that add up to the bill."""
_MILLISECOND = Decimal("0.001")


def cost_of(worker: WorkerRecord) -> Cost | None:
    """Return the cost of a task; ``None`` if nothing is billed.

    The whole cost counts as wasted if no scene was finished on the task.
    """
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
    """Return the billed seconds of each part of the cost except ``idle``.

    The sum is not more than ``billed``, the billed seconds of the task. The result is empty if no
    scene was finished on the task.
    """
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
    """Return the seconds from the start of the image pull to the first successful health check.

    The start of the pull is known on AWS's clock, the health check on the engine's clock. The time
    of the launch is known on both clocks and relates them. Return 0 if any of these times is
    unknown.
    """
    if worker.launched is None or worker.ready is None or usage.pull_started_at is None:
        return 0.0
    return worker.ready - worker.launched - (usage.pull_started_at - usage.created_at)


def total_cost(costs: Iterable[Cost | None]) -> Cost:
    """Return the sum of the costs of tasks; ``None`` stands for a task that is not billed."""
    known = [cost for cost in costs if cost is not None]

    def added(name: str) -> Decimal:
        return sum((getattr(cost, name) for cost in known), Decimal())

    return Cost(
        billed_seconds=sum(cost.billed_seconds for cost in known),
        final=all(cost.final for cost in known),
        **{name: added(name) for name in COST_PARTS},
    )


def scene_costs(worker: WorkerRecord, cost: Cost | None) -> dict[tuple[str, str], Decimal]:
    """Return the share of each finished scene in the cost of a task, by run and scene.

    The shares are in USD and proportional to the time of the attempts. Their sum is exactly the
    cost without its wasted part.
    """
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
