"""Faults of the API that a test asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CAPACITY = (
    "Capacity is unavailable at this time. "
    "Please try again later or in a different availability zone"
)
"""What RunTask says when Fargate is full."""

Kind = Literal["error", "failures", "lost", "dropped", "doubled", "delay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to the next calls of an operation.

    ``error`` refuses; ``failures`` answers RunTask with failures in place of tasks; ``lost`` does
    it and sends no answer; ``dropped`` does nothing and sends no answer; ``doubled`` does it
    twice, as a network that repeats would, and sends the second answer; ``delay`` does it later.
    """

    operation: str = "*"
    """``RunTask``, ``ecs:RunTask``, or any."""
    kind: Kind = "error"
    code: str = "ThrottlingException"
    message: str = "Rate exceeded"
    status: int = 400
    """Of an ``error``."""
    reason: str = CAPACITY
    """Of each of the ``failures``."""
    seconds: float = 0.0
    """Of a ``delay``; before an answer is lost, too."""
    skip: int = 0
    """So many calls go through first."""
    times: int | None = 1
    """So many calls are hit; ``None``: all from then on."""


class Faults:
    """Those that have not happened yet."""

    def __init__(self) -> None:
        self._pending: list[_Pending] = []

    def add(self, fault: Fault) -> None:
        """Let it happen to calls from now on, after those that were added before."""
        self._pending.append(_Pending(fault))

    def take(self, service: str, operation: str) -> Fault | None:
        """The fault that hits this call."""
        for pending in self._pending:
            if pending.fault.operation in {"*", operation, f"{service}:{operation}"}:
                if pending.skipped < pending.fault.skip:
                    pending.skipped += 1
                elif pending.fault.times is None or pending.hit < pending.fault.times:
                    pending.hit += 1
                    return pending.fault
        return None


@dataclass(slots=True)
class _Pending:
    fault: Fault
    skipped: int = 0
    hit: int = 0
