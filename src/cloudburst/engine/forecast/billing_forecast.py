"""Forecast of bills, for plans, the scaling rule, the budget and estimates.

For tasks that have run, `cloudburst.models.billing` computes the bill. Both use the minimum
billed time of AWS.
"""

from __future__ import annotations

from cloudburst.engine.forecast.simulation import SimulatedWorker
from cloudburst.models.billing import MINIMUM_BILLED_SECONDS


def billed_seconds(running: float) -> float:
    """Return the billed seconds of a task that runs for ``running`` seconds.

    They are at least the minimum billed time of AWS.
    """
    return max(float(MINIMUM_BILLED_SECONDS), running)


def worker_billed_seconds(worker: SimulatedWorker, last_encode: float) -> float:
    """Return the billed seconds of a worker, from its launch to its stop.

    Args:
        worker: The worker.
        last_encode: Seconds from now until the worker has encoded its last scene.
    """
    return billed_seconds(worker.billed_so_far + last_encode + _until_stopped(worker))


def paid_until(worker: SimulatedWorker) -> float:
    """Return the seconds from now until which a worker may encode without a higher bill.

    The value is negative if the minimum billed time has passed.
    """
    return MINIMUM_BILLED_SECONDS - worker.billed_so_far - _until_stopped(worker)


def _until_stopped(worker: SimulatedWorker) -> float:
    """Return the seconds from the end of the last encode to the end of the bill."""
    return worker.performance.transfer_seconds + worker.performance.stop_seconds


def worker_usd(worker: SimulatedWorker, last_encode: float) -> float:
    """Return the bill of a worker in USD, from its launch to its stop.

    Args:
        worker: The worker.
        last_encode: Seconds from now until the worker has encoded its last scene.
    """
    if not worker.usd_per_second:
        return 0.0
    return worker.usd_per_second * worker_billed_seconds(worker, last_encode)
