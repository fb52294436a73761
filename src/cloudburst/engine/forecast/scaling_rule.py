"""Scaling rule, by which live runs and plans decide whether one more worker pays off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from cloudburst.engine.forecast.billing_forecast import unused_task_seconds
from cloudburst.engine.forecast.simulation import Load, Schedule, SimulatedWorker


class ScalingDecision(NamedTuple):
    """Decision of the scaling rule about one more worker."""

    pays_off: bool
    """True if the worker should be started."""
    saved_seconds: float = 0.0
    """Seconds by which the worker shortens the makespan."""
    unused_seconds: float = 0.0
    """Seconds for which the new worker would be billed but would render nothing."""


def one_more_worker(
    load: Load,
    workers: Sequence[SimulatedWorker],
    new: SimulatedWorker,
    *,
    room: int,
    deadline: float = math.inf,
    current: Schedule | None = None,
) -> ScalingDecision:
    """Decide whether one more worker pays off.

    The first worker always pays off. A worker whose start-up or encode times were never measured
    pays off too, because there is nothing to calculate with. A worker that costs nothing pays off
    if it gets a scene. A billed worker pays off if it shortens the makespan by more seconds than
    it is billed for without rendering: the billed part of its start-up and, if it stops before the
    minimum billed time, the rest of that time. In two cases, any shorter makespan is enough:

    * The deadline would be missed.
    * Workers that cost nothing take part. They shorten the run, so that another billed worker saves
      less, but they must not delay the run. One more billed worker pays off if the billed workers
      alone, with as many new ones as pay off, would finish sooner than all current workers.

    Args:
        load: Scenes to encode.
        workers: Workers that are ready or starting.
        new: The new worker.
        room: Number of workers of this kind that may still be started, including the new one.
        deadline: Seconds from now until the run should be done; infinite: no deadline.
        current: Schedule of ``load`` on ``workers``, if the caller has computed it already.
    """
    performance = new.performance
    if not workers or not performance.measured >= {"startup", "encode"}:
        return ScalingDecision(pays_off=True)
    current = current or load.schedule_on(workers)
    then = load.schedule_on([*workers, new])
    last_encode = then.worker_ends[-1]
    if not new.billed:
        return ScalingDecision(pays_off=last_encode > performance.startup_seconds)
    unused = unused_task_seconds(performance, last_encode)
    if then.makespan >= current.makespan:
        return ScalingDecision(pays_off=False, unused_seconds=unused)
    saved = current.makespan - then.makespan
    pays_off = (
        saved > unused
        or current.makespan > deadline
        or _faster_without_help(load, workers, new, makespan=current.makespan, room=room)
    )
    return ScalingDecision(pays_off=pays_off, saved_seconds=saved, unused_seconds=unused)


def _faster_without_help(
    load: Load,
    workers: Sequence[SimulatedWorker],
    new: SimulatedWorker,
    *,
    makespan: float,
    room: int,
) -> bool:
    """Return whether billed workers and new ones that pay off take less than ``makespan``."""
    billed = [worker for worker in workers if worker.billed]
    if len(billed) == len(workers):
        return False
    alone = load.schedule_on(billed).makespan
    for _ in range(room):
        then = load.schedule_on([*billed, new])
        unused = unused_task_seconds(new.performance, then.worker_ends[-1])
        if math.isfinite(alone) and alone - then.makespan <= unused:
            break
        billed, alone = [*billed, new], then.makespan
        if alone < makespan:
            return True
    return alone < makespan
