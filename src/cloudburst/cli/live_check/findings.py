"""Findings: which promises AWS keeps or breaks, which were not tried, and what was measured."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from cloudburst import errors

REST = "the rest of this part"
_SAY_NOTHING = (
    *(errors.AccessDeniedError, errors.CapacityError, errors.CredentialsError),
    *(errors.NoAnswerError, errors.ThrottledError),
)
"""Errors after which it is not known whether a promise is kept."""


class Outcome(StrEnum):
    """Kind of a finding."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_TRIED = "not tried"
    """It is not known whether the promise is kept."""
    NOTE = "note"
    """A measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A promise and what was seen of it, or a measurement."""

    part: str
    """Name of the part of the check."""
    outcome: Outcome
    subject: str
    """The promise, or what was measured."""
    seen: str
    """What was seen, or why the promise was not tried, without the number of the account."""


class NotTriedError(Exception):
    """Error for promises of a part that cannot be tried; the message is the reason."""


class Findings:
    """Findings so far.

    Args:
        on_finding: Function that is called with each finding.
        account: Number of the account, which is left out of all findings.
    """

    def __init__(self, on_finding: Callable[[Finding], object], *, account: str) -> None:
        self.all: list[Finding] = []
        self._on_finding = on_finding
        self._account = account
        self._part = ""

    def report(self, promise: str, kept: bool | None, seen: object = "") -> None:
        """Report a promise; ``None``: it is not known whether it is kept."""
        known = Outcome.KEPT if kept else Outcome.BROKEN
        self._add(Outcome.NOT_TRIED if kept is None else known, promise, seen)

    def note(self, what: str, seen: object) -> None:
        """Report a measurement."""
        self._add(Outcome.NOTE, what, seen)

    @contextmanager
    def part(self, name: str) -> Generator[None]:
        """Collect the findings of a part; an error ends this part only.

        The error breaks the rest of the part, unless it says nothing about it.
        """
        self._part = name
        try:
            yield
        except (NotTriedError, *_SAY_NOTHING) as exc:
            self.report(REST, None, exc)
        except Exception as exc:  # noqa: BLE001 - the other parts are made after any error
            seen = f"{type(exc).__name__}: {exc}".removesuffix(": ")
            self.report(REST, kept=False, seen=seen)

    def _add(self, outcome: Outcome, subject: str, seen: object) -> None:
        text = str(seen).replace(self._account, "ACCOUNT")
        found = Finding(part=self._part, outcome=outcome, subject=subject, seen=text)
        self.all.append(found)
        self._on_finding(found)
