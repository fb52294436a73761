"""Row of the failure table. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from cloudburst.errors import CloudburstError, Remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Row of the failure table: how to recognise a failure, what it means and what may help."""

    patterns: tuple[str, ...]
    """Codes or texts that the row matches, with the wildcards ``*`` for any text and ``?`` for any
    character."""
    contexts: tuple[str, ...] = ()
    """Contexts in which the row applies; empty: all. A context is a method of a boto client for
    errors of AWS, a capacity provider for placement reasons, and a kind of request for HTTP
    statuses and exceptions: ``aws``, ``worker``, ``onestep``, ``job``, ``file``, ``video``,
    ``events``."""
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

    def matches(self, text: str, context: str = "") -> bool:
        """Return whether the row applies to this text in this context."""
        if self.contexts and context not in self.contexts:
            return False
        return any(fnmatchcase(text, pattern) for pattern in self.patterns)

    @property
    def summary(self) -> str:
        """Meaning of the failure and action for the user, in one line."""
        return f"{self.meaning}: {self.action}" if self.action else self.meaning


def row(
    error: type[CloudburstError],
    *patterns: str,
    contexts: tuple[str, ...] = (),
    remedy: Remedy | None = None,
    meaning: str,
    action: str = "",
    source: str,
) -> Failure:
    """Return a row of the table. Without ``remedy``, it has that of the error's class."""
    return Failure(
        patterns=patterns,
        contexts=contexts,
        error=error,
        remedy=remedy or error.remedy,
        meaning=meaning,
        action=action,
        source=source,
    )
