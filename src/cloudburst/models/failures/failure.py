"""Row of the failure table. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from cloudburst.errors import CloudburstError, Remedy


class Evidence(StrEnum):
    """Kind of text by which a row of the failure table recognises a failure."""

    ERROR_CODE = "error code"
    """Error code of AWS: ``Error.Code`` of the response, or the code of EC2 that its message quotes
    in parentheses."""
    DENIAL = "message of AccessDenied"
    """Message of an error of S3 with the code ``AccessDenied``."""
    PLACEMENT_REASON = "reason in `failures`"
    """Reason why no task was started, from a successful response to RunTask."""
    STOP_CODE = "`stopCode`"
    """``stopCode`` of a task."""
    STOPPED_REASON = "`stoppedReason`"
    """``stoppedReason`` of a task, or ``reason`` of one of its containers."""
    EXIT_CODE = "exit code of a container"
    """Exit code of a container."""
    HTTP_STATUS = "HTTP status"
    """HTTP status of a worker or of AWS."""
    EXCEPTION = "exception"
    """Name of an exception in this process: the request could not be sent or was not answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Row of the failure table: how to recognise a failure, what it means and what may help."""

    evidence: Evidence
    """Kind of text that the patterns match."""
    patterns: tuple[str, ...]
    """Codes or texts that the row matches, with the wildcards ``*`` for any text and ``?`` for any
    character."""
    contexts: tuple[str, ...] = ()
    """Contexts in which the row applies; empty if it applies in all. For errors of AWS, a context
    is a method of a boto client; for placement reasons, a capacity provider; for HTTP statuses and
    exceptions, the kind of request: ``aws``, ``worker``, ``onestep``, ``job``, ``file``, ``video``
    or ``events``."""
    error: type[CloudburstError]
    """Exception that is raised for the failure."""
    remedy: Remedy
    """Kind of action that may help, which decides whether and how the engine retries."""
    meaning: str
    """Explanation of the failure in plain words."""
    action: str = ""
    """Instruction for the user in plain words; empty if the user need not act."""
    source: str
    """Source of the row, such as a page of AWS's documentation, with its date."""
    spot_interruption: bool = False
    """True if AWS took the Spot capacity of a task back."""
    role_not_ready: bool = False
    """True if ECS could not assume the execution role of a task, which may be because the role is
    new."""
    lacks_permission: bool = False
    """True if the execution role of a task lacks a permission, which may be because the role's
    policy is new."""
    expired_credentials: bool = False
    """True if the credentials were valid once, so that newer ones may exist."""
    normal_exit: bool = False
    """True if the program in the task exited normally, so that the task did not crash."""
    error_exit: bool = False
    """True if the program in the task exited by itself with an error code. A signal did not end
    it."""
    files_missing: bool = False
    """True if the worker lacks files of the job, which must be uploaded again."""
    job_limit_reached: bool = False
    """True if the worker takes no more jobs until one of its jobs ends."""
    temporary: bool = False
    """True if the worker may soon answer the same request differently."""
    encode_continues: bool = False
    """True if the worker is possibly still encoding a scene whose video can no longer be
    received."""
    video_changed: bool = False
    """True if the video on the worker differs from the part that was already downloaded."""
    connection_refused: bool = False
    """True if no process listens on the worker's port."""

    def matches(self, text: str, context: str = "") -> bool:
        """Return whether the row applies to this text in this context.

        ``text`` is the code, reason, status or exception name to explain, of the kind that
        `evidence` gives; ``context`` is compared with `contexts`.
        """
        if self.contexts and context not in self.contexts:
            return False
        return any(fnmatchcase(text, pattern) for pattern in self.patterns)

    @property
    def summary(self) -> str:
        """Meaning of the failure and action for the user, in one line."""
        return f"{self.meaning}: {self.action}" if self.action else self.meaning
