"""Lower bounds of the wall time and of the bill of a run, for a scheduler that knows everything."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloudburst.engine.forecast.billing_forecast import billed_seconds
from schedules.task_model import TaskModel


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundTask:
    """Task that takes part in a bound."""

    startup: float
    """Seconds from its launch until its worker is ready."""
    slowness: float = 1.0
    """Factor by which encodes take longer than on a usual task."""


def wall_bound(model: TaskModel, encodes: Sequence[float], tasks: Sequence[BoundTask]) -> float:
    """Return the seconds that no schedule on these tasks, all launched at once, can fall below.

    After the first upload, all slots are busy until the last download, and the longest scene starts
    at once on the best task. If all scenes take equally long, a slot can only encode whole ones,
    unless slots share an encode.

    Args:
        model: Task model.
        encodes: Encode time of each scene on a usual task, in seconds.
        tasks: Tasks of the run; those that never become ready are left out.
    """
    shared_from, total = model.min_shared_seconds, sum(encodes)
    alone = max(each / (model.slots if each >= shared_from else 1) for each in encodes)
    whole = math.isclose(alone, min(encodes))  # equal scenes that no slots share

    def encoded_by(end: float) -> float:
        """Return the encode seconds that the tasks can have finished at a time."""
        done = 0.0
        for task in tasks:
            left = max(0.0, end - task.startup - 2 * model.transfer) / task.slowness
            done += model.slots * (math.floor(left / alone + 1e-9) * alone if whole else left)
        return done

    first = min(task.startup + alone * task.slowness for task in tasks)
    return max(
        _smallest(lambda end: encoded_by(end) >= total * (1 - 1e-9)), first + 2 * model.transfer
    )


def bill_bound(model: TaskModel, encodes: Sequence[float]) -> float:
    """Return the bill of one usual task that encodes everything with full slots, in USD."""
    seconds = usual_task_wall(model, encodes) - model.placement + model.stop
    return float(model.usd_per_second) * billed_seconds(seconds)


def usual_task_wall(model: TaskModel, encodes: Sequence[float]) -> float:
    """Return the lower bound of the wall time with one usual task, in seconds."""
    return wall_bound(model, encodes, [BoundTask(startup=model.startup)])


def _smallest(fits: Callable[[float], bool]) -> float:
    """Return the smallest number that fits, if all larger numbers do so too."""
    low, high = 0.0, 1.0
    while not fits(high):
        low, high = high, 2 * high
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
