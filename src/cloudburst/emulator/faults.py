"""Faults that tests inject into API calls, and records of the calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

# Reason that ECS gives when Fargate has no capacity for a task.
NO_CAPACITY = (
    "Capacity is unavailable at this time. "
    "Please try again later or in a different availability zone"
)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Call of an API that the emulator received."""

    at: float
    """Time of the call, in seconds since the epoch."""
    service: str
    """Name of the service as in IAM, such as ``ecs``, ``ec2`` or ``sts``."""
    operation: str
    """Name of the operation, such as ``RunTask``; HTTP method and path for REST services."""
    status: int
    """HTTP status; 0 if no response was sent."""
    note: str = ""
    """Error code that the emulator returned, or kind of the injected fault; otherwise empty."""
    key: str = ""
    """Id of the access key with which the call was signed."""
    resource: str = ""
    """Name of the object, as ``bucket/key``, or of the bucket (S3 only)."""
    presigned: bool = False
    """True if the signature is in the URL (S3 only)."""
    received: int = 0
    """Number of bytes of the request's body that were read (S3 only)."""
    sent: int = 0
    """Number of bytes of the response's body that were sent (S3 only)."""

    @property
    def action(self) -> str:
        """Name of the action as in an IAM policy, such as ``ecs:RunTask``."""
        return f"{self.service}:{self.operation}"


def _error(code: str, message: str, status: int) -> Fault:
    return Fault(code=code, message=message, status=status)


AWS_S3_FAULTS: Mapping[str, Fault] = {
    "access denied": _error("AccessDenied", "Access Denied", 403),
    "no such key": _error("NoSuchKey", "The specified key does not exist.", 404),
    "slow down": _error("SlowDown", "Please reduce your request rate.", 503),
    "internal error": _error("InternalError", "We encountered an internal error.", 500),
    "url expired": _error("AccessDenied", "Request has expired", 403),
    "url not valid yet": _error("AccessDenied", "Request is not valid yet", 403),
    "token expired": _error("ExpiredToken", "The provided token has expired.", 400),
    "clock skew": _error(
        "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.",
        403,
    ),
    "key disabled": _error(
        "KMS.DisabledException",
        "arn:aws:kms:us-east-1:123456789012:key/of-the-bucket is disabled.",
        400,
    ),
    "archived": _error(
        "InvalidObjectState", "The operation is not valid for the object's storage class", 403
    ),
    "conflict": _error(
        "ConditionalRequestConflict",
        "A conflicting operation occurred during the processing of this request.",
        409,
    ),
    "wrong region": _error(
        "PermanentRedirect",
        "The bucket you are attempting to access must be addressed using the specified "
        "endpoint. Please send all future requests to this endpoint.",
        301,
    ),
    "truncated": Fault(kind="truncated"),
    "slow": Fault(kind="slow", seconds=0.2),
    "lost": Fault(kind="lost"),
    "dropped": Fault(kind="dropped"),
    "doubled": Fault(kind="doubled"),
}
"""Typical faults by name, for any operation of S3: "Error responses", Amazon S3 API reference
(2026-11). With "wrong region", the bucket is no longer where it was; a bucket that is in another
region from the start is no fault: create it with its location."""


def s3_fault(
    name: str,
    operation: str,
    *,
    skip: int = 0,
    times: int | None = 1,
    presigned: bool | None = None,
) -> Fault:
    """Return a fault of `AWS_S3_FAULTS` for an operation such as ``GetObject``."""
    return replace(
        AWS_S3_FAULTS[name],
        operation=f"s3:{operation}",
        skip=skip,
        times=times,
        presigned=presigned,
    )
