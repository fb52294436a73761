"""Forecast of billed seconds, for plans, the scaling rule, the budget and estimates.

For tasks that have run, `cloudburst.models.billing` computes the bill. Both use the minimum
billed time of AWS.
"""

from __future__ import annotations

from cloudburst.models.billing import MINIMUM_BILLED_SECONDS
from cloudburst.models.performance import Performance


def billed_seconds(running: float) -> float:
    """Return the billed seconds of a task that runs for ``running`` seconds.

    They are at least the minimum billed time of AWS.
    """
    return max(float(MINIMUM_BILLED_SECONDS), running)


def billed_task_seconds(performance: Performance, last_encode: float) -> float:
    """Return the billed seconds of a task that is launched now.

    Args:
        performance: Performance of the task.
        last_encode: Seconds from now until the task has encoded its last scene.
    """
    until_stopped = _until_stopped(performance, last_encode)
    return billed_seconds(until_stopped - performance.placement_seconds)


def unused_task_seconds(performance: Performance, last_encode: float) -> float:
    """Return the seconds for which a task, launched now, is paid for without rendering.

    These are the billed part of its start-up and, if it stops before the minimum billed time, the
    rest of that time.

    Args:
        performance: Performance of the task.
        last_encode: Seconds from now until the task has encoded its last scene.
    """
    used = _until_stopped(performance, last_encode) - performance.startup_seconds
    return billed_task_seconds(performance, last_encode) - used


def _until_stopped(performance: Performance, last_encode: float) -> float:
    """Return the seconds from the launch to the end of the bill."""
    return last_encode + performance.transfer_seconds + performance.stop_seconds
