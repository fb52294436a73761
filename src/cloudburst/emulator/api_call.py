"""Record of an API call that an emulated account received, for use in tests."""

from __future__ import annotations

from dataclasses import dataclass


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
