"""What one row of the table of failures says. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from cloudburst.errors import CloudburstError, Remedy


class Where(StrEnum):
    """Where a failure shows, and so what a row is held against."""

    CODE = "code of an exception"
    """``Error.Code`` of AWS's answer, or EC2's own code in the brackets of its message."""
    FAILURE = "reason in `failures`"
    """Of a successful answer of RunTask, which started nothing."""
    STOP_CODE = "`stopCode`"
    STOPPED_REASON = "`stoppedReason`"
    """ECS's of a task, or the ``reason`` of one of its containers."""
    EXIT_CODE = "exit code of a container"
    HTTP = "HTTP status"
    EXCEPTION = "exception here"
    """The answer did not come, or the question did not leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One kind of failure, what it means and what helps."""

    where: Where
    match: tuple[str, ...]
    """Codes. ``*`` stands for any text: where AWS has no codes, the documented words."""
    on: tuple[str, ...] = ()
    """Of which calls: methods of boto's clients; ``aws``; ``worker``, ``onestep``, ``job``,
    ``file``. Empty: of any."""
    error: type[CloudburstError]
    """What it becomes here."""
    remedy: Remedy
    means: str
    """In plain words, as one says it of what has happened."""
    do: str = ""
    """What somebody can do; empty where nobody needs to."""
    source: str
    """Where that is known from, and when it was read."""

    def fits(self, text: str, on: str = "") -> bool:
        """Whether this row speaks of that code or text."""
        if self.on and on not in self.on:
            return False
        return any(fnmatchcase(text, pattern) for pattern in self.match)

    @property
    def told(self) -> str:
        """What it means and what to do, in one line."""
        return f"{self.means}: {self.do}" if self.do else self.means
