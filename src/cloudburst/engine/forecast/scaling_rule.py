"""Scaling rule, by which live runs and plans decide how many more workers to start."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from cloudburst.engine.forecast.simulation import (
    Load,
    SimulatedWorker,
    fill_level,
    paid_until,
    worker_usd,
)
from cloudburst.models.performance import Performance

# Makespan with workers that cost nothing, relative to that of billed workers alone, at most. The
# value is a choice: schedules of nearly equal length must not differ by a whole task.
MAX_DELAY_BY_FREE_WORKERS = 1.01
# Number of further workers up to which every number is considered; above, numbers grow in steps
# of a tenth, because one worker more or less changes the makespan by less than the forecast errs.
_EACH_NUMBER_UP_TO = 16
_STEP = 1.1
# Number of waiting scenes and encoder slots together up to which schedules are simulated. With
# more, a simulation takes milliseconds, and differs from the rough forecast by less than the
# encode time of a scene.
_MAX_SIMULATED = 128
# Work, in seconds, for which ``Limits.hour_usd`` is the value of an hour of waiting. For more work
# the value rises in proportion, as for that many runs, so that the number of tasks does, too, and
# each encodes for about as long as its start and stop are billed. With a constant value it rises
# with the square root: 10,000 scenes would wait three times as long as on 500 tasks.
_WORK_OF_VALUE = 3600.0
# Largest number of groups into which encoder slots are combined for a rough forecast.
_MAX_GROUPS = 32


class NewWorker(NamedTuple):
    """Kind of worker of which some may be started."""

    performance: Performance
    """Expected performance of the workers."""
    encoder_slots: int
    """Number of scenes that each of them encodes at once."""
    usd_per_second: float
    """Price of each of them, in USD per second; 0 if nothing is billed."""

    def started(self, number: int) -> list[SimulatedWorker]:
        """Return a number of workers that are launched now."""
        # Start-ups are spread evenly over the usual range: of several workers, the last one is
        # ready later than usual, but the first one earlier.
        return [
            SimulatedWorker(
                free_in=(self.performance.startup_at((position + 0.5) / number),)
                * self.encoder_slots,
                performance=self.performance,
                usd_per_second=self.usd_per_second,
                billed_so_far=-self.performance.placement_seconds,
                ready_in=self.performance.startup_seconds,
            )
            for position in range(number)
        ]


class Forecast(NamedTuple):
    """Forecast of a run with some number of further workers."""

    workers: int
    seconds: float
    """Makespan, in seconds from now."""
    usd: float
    """Bill of all workers, in USD."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Goal of a decision about further workers."""

    hour_usd: float
    """Value of an hour of waiting for the run, in USD."""
    deadline: float = math.inf
    """Seconds from now until the run should be done; infinite: no deadline."""
    max_usd: float = math.inf
    """Largest bill, in USD; infinite: no limit."""

    def badness(self, outcome: Forecast) -> tuple[float, float]:
        """Return a sort key by which the better one of two outcomes comes first."""
        # In time: by the sum of the bill and the value of the makespan. Late: the faster one.
        # Above the largest bill: the cheaper one.
        if outcome.usd > self.max_usd:
            return math.inf, round(outcome.usd, 9)
        # Rounded, so that equal outcomes are equal in spite of floating-point errors.
        if outcome.seconds > self.deadline:
            return round(outcome.seconds, 6), round(outcome.usd, 9)
        return 0.0, round(outcome.usd + self.hour_usd / 3600 * outcome.seconds, 9)


def further_workers(
    load: Load, workers: Sequence[SimulatedWorker], new: NewWorker, *, room: int, goal: Goal
) -> int:
    """Return how many more workers of one kind should be started."""
    most = min(room, load.useful_workers(new.encoder_slots))
    measured = new.performance.measured >= {"startup", "encode"}
    billed = [worker for worker in workers if worker.usd_per_second]
    is_known = measured or math.isfinite(goal.max_usd)
    beside_free = new.usd_per_second and len(billed) < len(workers)
    if most <= 0 or not (is_known or beside_free):
        return max(0, most)  # without times there is nothing to calculate with
    # What a worker of unknown speed is worth cannot be said, but whether it gets a scene.
    if not new.usd_per_second or not is_known:
        started = new.started(most)
        ends = load.schedule_on([*workers, *started]).worker_ends[len(workers) :]
        used = sum(end > max(each.free_in) for each, end in zip(started, ends, strict=True))
        return max(used, 0 if workers else 1)
    if len(billed) < len(workers):
        # Workers that cost nothing must not delay the run: a billed one saves less beside them.
        alone = _best(load, billed, new, most=most, goal=goal)
        latest = MAX_DELAY_BY_FREE_WORKERS * alone.seconds
        goal = replace(goal, deadline=min(goal.deadline, latest))
    return _best(load, workers, new, most=most, goal=goal).workers


def waiting_usd(hour_usd: Decimal, load: Load) -> float:
    """Return the value of an hour of waiting for a load, in USD."""
    return float(hour_usd) * max(1.0, load.work / _WORK_OF_VALUE)


def best_outcome(
    load: Load, workers: Sequence[SimulatedWorker], new: NewWorker, *, room: int, goal: Goal
) -> Forecast:
    """Return the forecast of a run with the number of further workers that is best for it."""
    most = min(room, load.useful_workers(new.encoder_slots))
    if most <= 0 or not new.performance.measured >= {"startup", "encode"}:
        return forecast(load, workers, new, 0)
    return _best(load, workers, new, most=most, goal=goal)


def forecast(
    load: Load, workers: Sequence[SimulatedWorker], new: NewWorker, number: int
) -> Forecast:
    """Return the forecast of a run with a number of further workers."""
    all_workers = [*workers, *new.started(number)]
    schedule = load.schedule_on(all_workers)
    usd = sum(map(worker_usd, all_workers, schedule.worker_ends))
    return Forecast(number, schedule.makespan, usd)


def next_step(
    load: Load, workers: Sequence[SimulatedWorker], new: NewWorker, *, number: int, room: int
) -> Forecast | None:
    """Return how many more workers than ``number`` shorten the run, and what that changes."""
    now = forecast(load, workers, new, number)
    for more in range(number + 1, min(room, number + _EACH_NUMBER_UP_TO) + 1):
        then = forecast(load, workers, new, more)
        if then.seconds < now.seconds:
            return Forecast(more - number, now.seconds - then.seconds, then.usd - now.usd)
    return None


def _best(
    load: Load,
    workers: Sequence[SimulatedWorker],
    new: NewWorker,
    *,
    most: int,
    goal: Goal,
) -> Forecast:
    """Return the forecast with the best number of further workers, 1 at least without workers."""
    # A number is simulated only while the rough forecast, which is rarely worse than the
    # simulated one, says that it may be the best.
    rough = _RoughForecast(load, workers, new)
    outcomes = map(rough.outcome, _numbers(most, first=0 if workers else 1))

    def key(outcome: Forecast) -> tuple[float, float, int]:
        return (*goal.badness(outcome), outcome.workers)

    best, *others = sorted(outcomes, key=key)
    if load.scenes + sum(len(each.free_in) for each in workers) > _MAX_SIMULATED:
        return best
    best = forecast(load, workers, new, best.workers)
    for outcome in others:
        if goal.badness(outcome) > goal.badness(best):
            break
        best = min(best, forecast(load, workers, new, outcome.workers), key=key)
    return best


def _numbers(most: int, *, first: int) -> Iterator[int]:
    number = first
    while number < most:
        yield number
        number += 1 if number < _EACH_NUMBER_UP_TO else math.ceil((_STEP - 1) * number)
    yield most


class _RoughForecast:
    """Forecast that treats all scenes as work that can be divided in any way."""

    def __init__(self, load: Load, workers: Sequence[SimulatedWorker], new: NewWorker) -> None:
        self._load, self._encoder_slots = load, new.encoder_slots
        mean, longest = load.work / load.scenes, max(load.longest_works)
        slots = [(free_in, each.encode_speed(mean)) for each in workers for free_in in each.free_in]
        self._slots = [
            (min(free_in for free_in, _ in group), sum(speed for _, speed in group))
            for group in _grouped(slots)
        ]
        bills = [
            (max(*each.free_in, paid_until(each)), each.usd_per_second)
            for each in workers
            if each.usd_per_second
        ]
        self._bills = [
            (sum(end for end, _ in group) / len(group), sum(rate for _, rate in group))
            for group in _grouped(bills)
        ]
        quarters = new.started(4)  # each stands for a quarter of the further workers
        self._quarters = [(min(each.free_in), each.encode_speed(mean)) for each in quarters]
        self._usd = sum(worker_usd(each, max(each.free_in)) for each in workers)
        self._longest = min((each.shortest_end(longest) for each in workers), default=math.inf)
        self._new_longest = quarters[0].shortest_end(longest)
        self._typical = new.started(1)[0]
        self._files_sent = load.uplink_bound(workers)
        self._new_files_sent = load.uplink_bound([*workers, self._typical])

    def outcome(self, number: int) -> Forecast:
        """Return the forecast with a number of further workers."""
        new, slots = self._typical, self._slots
        if number:
            each = number * self._encoder_slots / len(self._quarters)
            slots = [*slots, *[(end, each * speed) for end, speed in self._quarters]]
        level = fill_level(
            [end for end, _ in slots], [1 / speed for _, speed in slots], self._load.scenes
        )
        files_sent = self._new_files_sent if number else self._files_sent
        busy = max(level, files_sent)
        usd = self._usd + sum(rate * max(0.0, busy - end) for end, rate in self._bills)
        usd += number * worker_usd(new, max(busy, *new.free_in))
        longest = min(self._longest, self._new_longest) if number else self._longest
        seconds = max(level, longest) + new.performance.transfer_seconds
        return Forecast(number, max(seconds, files_sent, self._load.running_seconds), usd)


def _grouped(pairs: Iterable[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """Yield at most `_MAX_GROUPS` lists of pairs with about the same first value."""
    known = sorted(pairs)
    size = max(1, -(-len(known) // _MAX_GROUPS))
    return (known[start : start + size] for start in range(0, len(known), size))
