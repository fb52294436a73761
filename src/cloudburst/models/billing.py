"""Billing of a task by AWS: billed seconds and their price in USD. No I/O."""

from __future__ import annotations

import math
from decimal import ROUND_DOWN, Decimal

from cloudburst.models.task import Usage

MINIMUM_BILLED_SECONDS = 60
"""Minimum time that AWS bills for a task, in seconds. Source: AWS Fargate pricing, "Pricing
details" (https://aws.amazon.com/fargate/pricing/, 2026-11)."""
_USD_UNIT = Decimal("1e-12")
"""Unit to which amounts in USD are rounded down, so that their sums are exact."""


def whole_billed_seconds(running: float) -> int:
    """Round a running time up to the seconds that AWS bills: whole seconds, at least 60.

    Args:
        running: Seconds from the start of the image pull to the stop of the task.
    """
    return max(MINIMUM_BILLED_SECONDS, math.ceil(running))


def seconds_billed(usage: Usage) -> int:
    """Return the billed seconds of a task, from the start of its image pull to its stop.

    For a task that has not stopped, count until the last time at which it was seen running. At
    least 60 seconds are billed, but none if the image pull never started.
    """
    if usage.pull_started_at is None:
        return 0
    end = usage.last_seen_at if usage.stopped_at is None else usage.stopped_at
    # Timestamps have milliseconds; rounding removes the error of their difference as floats.
    return whole_billed_seconds(round(end - usage.pull_started_at, 3))


def usd_billed(usage: Usage) -> Decimal:
    """Return the billed amount of a task, in USD."""
    return usd_amount(seconds_billed(usage) * usage.usd_per_second)


def usd_amount(usd: Decimal) -> Decimal:
    """Return the amount rounded down to a multiple of 1e-12 USD, so that sums are exact."""
    return usd.quantize(_USD_UNIT, ROUND_DOWN)
