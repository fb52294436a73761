"""What AWS bills for a task, and what for. Pure arithmetic, in USD."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import ROUND_DOWN, Decimal

from cloudburst.engine.slot import WorkerRecord
from cloudburst.models.report import Cost
from cloudburst.models.task import Usage

MINIMUM_SECONDS = 60
"""A task is billed by the second, but for no less: AWS Fargate pricing, "Pricing details"
(https://aws.amazon.com/fargate/pricing/, 2026-11)."""
_EXACT = Decimal("1e-12")
"""All amounts are multiples of this, so that sums of them are exact."""
_MILLISECOND = Decimal("0.001")


def seconds_billed(usage: Usage) -> int:
    """From the start of the image pull to the stop, or as far as it is known to have run.

    By the second, a minute at least; a task whose pull never started costs nothing.
    """
    if usage.pull_started is None:
        return 0
    end = usage.seen if usage.stopped is None else usage.stopped
    # Timestamps have milliseconds, and their difference shall not be more because of floats.
    return max(MINIMUM_SECONDS, math.ceil(round(end - usage.pull_started, 3)))


def usd_billed(usage: Usage) -> Decimal:
    """All that it comes to."""
    return _amount(seconds_billed(usage) * usage.usd_per_second)


def cost_of(worker: WorkerRecord) -> Cost | None:
    """A task's bill by what its time was spent on; ``None`` where nothing is billed.

    All of it is wasted when no scene was finished on it.
    """
    usage = worker.usage
    if usage is None:
        return None
    seconds, rate = seconds_billed(usage), usage.usd_per_second
    parts = _parts(worker, usage, seconds)
    amounts = {name: _amount(part * rate) for name, part in parts.items()}
    rest = "idle" if any(visit.done for visit in worker.visits) else "wasted"
    amounts[rest] = _amount(seconds * rate) - sum(amounts.values(), Decimal())
    return Cost(seconds=seconds, final=worker.settled, **amounts)


def _parts(worker: WorkerRecord, usage: Usage, seconds: int) -> Mapping[str, Decimal]:
    """Seconds of each part but the one that takes the rest; together no more than ``seconds``."""
    if not any(visit.done for visit in worker.visits):
        return {}
    useful = [span for visit in worker.visits if visit.done for span in visit.spans]
    used = [span for visit in worker.visits for span in visit.spans]
    rendering = covered((s.began, s.ended) for s in useful if s.work == "generating")
    working = covered((s.began, s.ended) for s in useful)
    everything = covered((s.began, s.ended) for s in used)
    wanted = {
        "rendering": rendering,
        "moving": working - rendering,
        "wasted": everything - working,
        "starting": _starting(worker, usage),
    }
    left, parts = Decimal(seconds), dict[str, Decimal]()
    for name, part in wanted.items():  # our clock and AWS's may differ a little
        parts[name] = min(left, Decimal(str(max(part, 0.0))).quantize(_MILLISECOND))
        left -= parts[name]
    return parts


def _starting(worker: WorkerRecord, usage: Usage) -> float:
    """From the start of the pull, brought to our clock by the launch, to the first answer."""
    if worker.launched is None or worker.ready is None or usage.pull_started is None:
        return 0.0
    return worker.ready - worker.launched - (usage.pull_started - usage.created)


def total(costs: Iterable[Cost | None]) -> Cost | None:
    """The sum; ``None`` when nothing is billed at all."""
    known = [cost for cost in costs if cost is not None]
    if not known:
        return None

    def added(name: str) -> Decimal:
        return sum((getattr(cost, name) for cost in known), Decimal())

    return Cost(
        seconds=sum(cost.seconds for cost in known),
        final=all(cost.final for cost in known),
        **{name: added(name) for name in PARTS},
    )


PARTS = ("starting", "rendering", "moving", "idle", "wasted")


def shares(worker: WorkerRecord, cost: Cost | None) -> dict[tuple[str, str], Decimal]:
    """The part of a task's bill that is not wasted, over the scenes that were finished on it.

    By run and scene, in proportion to the time of their work; the shares add up exactly.
    """
    work = defaultdict[tuple[str, str], float](float)
    for visit in worker.visits:
        if visit.done:  # also twice for one scene, when its files have changed in between
            work[visit.run, visit.scene] += sum(span.ended - span.began for span in visit.spans)
    if cost is None or not work:
        return {}
    amount, whole = cost.usd - cost.wasted, sum(work.values())
    given = dict[tuple[str, str], Decimal]()
    *others, last = work
    for scene in others:
        part = Decimal(str(work[scene] / whole)) if whole else Decimal(1) / len(work)
        given[scene] = _amount(amount * part)
    given[last] = amount - sum(given.values(), Decimal())
    return given


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds that lie within at least one of the spans."""
    seconds, end = 0.0, float("-inf")
    for a, b in sorted(spans):
        seconds += max(0.0, b - max(a, end))
        end = max(end, b)
    return seconds


def _amount(usd: Decimal) -> Decimal:
    return usd.quantize(_EXACT, ROUND_DOWN)
