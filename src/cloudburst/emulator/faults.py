"""Faults that a test injects into API calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NO_CAPACITY = (
    "Capacity is unavailable at this time. "
    "Please try again later or in a different availability zone"
)
"""Reason that ECS gives when Fargate has no capacity for a task."""

FaultKind = Literal["error", "failures", "lost", "dropped", "doubled", "delay", "truncated", "slow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Fault that a test injects into the next calls of an API operation.

    The ``kind`` decides how the fault changes a call:

    * ``error``: the call fails with ``code``, ``message`` and ``status``.
    * ``failures``: RunTask returns failures with ``reason`` instead of tasks.
    * ``lost``: the call is executed, but no response is sent.
    * ``dropped``: the call is not executed, and no response is sent.
    * ``doubled``: the call is executed twice, as if the network had repeated the request, and the
      second response is sent.
    * ``delay``: the call is executed ``seconds`` later.
    * ``truncated`` (S3 only): the connection is reset after half of the response's body. If the
      response has no body, it is reset after half of the request's body, and the call is not
      executed.
    * ``slow`` (S3 only): the body of the request or response takes ``seconds``.
    """

    operation: str = "*"
    """Operation: ``RunTask``, ``ecs:RunTask``, or ``*`` for any.

    Requests to the registry have names such as ``ecr:PUT blobs/uploads``. Any fault but an
    ``error`` resets their connection after half of the body."""
    kind: FaultKind = "error"
    code: str = "ThrottlingException"
    message: str = "Rate exceeded"
    status: int = 400
    """HTTP status of an ``error``."""
    reason: str = NO_CAPACITY
    """Reason that RunTask returns for each task if the kind is ``failures``."""
    seconds: float = 0.0
    """Seconds by which a ``delay`` postpones the call, which a ``slow`` body takes, or after which
    the connection of a ``lost`` or ``dropped`` call is closed."""
    skip: int = 0
    """Number of matching calls that remain unaffected before the fault applies."""
    times: int | None = 1
    """Number of calls to which the fault applies; ``None``: no limit."""
    presigned: bool | None = None
    """True if only calls with a presigned URL match, false if only other calls do (S3 only);
    ``None``: both."""


class PendingFaults:
    """Faults that are still to be applied to API calls."""

    def __init__(self) -> None:
        self._pending: list[_Pending] = []

    def add(self, fault: Fault) -> None:
        """Add a fault; if several faults match a call, the fault added first applies."""
        self._pending.append(_Pending(fault))

    def take(self, service: str, operation: str, *, presigned: bool = False) -> Fault | None:
        """Count a call, and return the fault that applies to it; ``None`` if none applies."""
        for pending in self._pending:
            if pending.fault.presigned not in {None, presigned}:
                continue
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
