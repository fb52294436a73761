"""One table of all that can go wrong on the way, and what helps. Nothing else classifies.

Every adapter asks here with what it was told: a code, a reason, a status, an exception. The first
row that fits counts. ``docs/failures.md`` shows the same table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloudburst.errors import Remedy
from cloudburst.models.failures.calls import CODES, EXPIRED, NO_SUCH_TASK, REASONS, WORDS
from cloudburst.models.failures.lines import (
    ANEW,
    EXCEPTIONS,
    FULL,
    KEY,
    LACKING,
    LOST,
    REFUSED,
    STATUSES,
    STRANGER,
    UNABLE,
)
from cloudburst.models.failures.row import Failure, Where
from cloudburst.models.failures.stops import (
    EXIT_CODES,
    SPOT,
    STOP_CODES,
    STOPPED_REASONS,
    VAGUE,
)

__all__ = [
    "ANEW",
    "EXPIRED",
    "FULL",
    "KEY",
    "LACKING",
    "LOST",
    "NO_SUCH_TASK",
    "REFUSED",
    "SPOT",
    "STRANGER",
    "TABLE",
    "UNABLE",
    "Failure",
    "Remedy",
    "Where",
    "by_others",
    "of_code",
    "of_exception",
    "of_placement",
    "of_status",
    "of_stop",
]

TABLE: tuple[Failure, ...] = (
    *CODES,
    *REASONS,
    *STOP_CODES,
    *STOPPED_REASONS,
    *EXIT_CODES,
    *VAGUE,
    *STATUSES,
    *EXCEPTIONS,
)
"""All rows, in the order in which they are tried."""

_LEAST = {"137": 1, "143": 2}
"""What containers end with that are told to end, as all are after the first: it says nothing while
another one says more."""


def of_code(code: str, message: str, status: int, *, operation: str) -> Failure:
    """What a refusal means.

    Args:
        code: AWS's, or the one in the brackets of its message.
        message: Asked only for what has no code: that there is no room or no quota.
        status: Of HTTP.
        operation: The method of boto's client.
    """
    if operation == "run_task" and (row := _first(WORDS, message)) is not None:
        return row
    *exact, run_task, other = CODES
    row = _first(exact, code, operation)
    row = row or _first(STATUSES, str(status), "aws")
    row = row or _first([run_task], code, operation)
    return row or other


def of_placement(reasons: Sequence[str]) -> Failure:
    """What the ``failures`` of RunTask mean: the worst of them."""
    rows = [_first(REASONS, reason) for reason in reasons or [""]]
    known = [row for row in rows if row is not None]
    return min(known, key=lambda row: (row.remedy.retries, REASONS.index(row)))


def of_stop(code: str, reasons: Iterable[str], exits: Iterable[int]) -> Failure:
    """Why a task has stopped.

    Args:
        code: ``stopCode``.
        reasons: ``stoppedReason``, and the ``reason`` of each container.
        exits: The containers' exit codes.
    """
    if (row := _first(STOP_CODES, code)) is not None:
        return row
    for reason in reasons:
        if (row := _first(STOPPED_REASONS, reason)) is not None:
            return row
    ended = sorted(map(str, exits), key=lambda exit_code: _LEAST.get(exit_code, 0))
    if ended and (row := _first(EXIT_CODES, ended[0])) is not None:
        return row
    row = _first(VAGUE, code)
    assert row is not None, "the last row fits all"
    return row


def by_others(stop_code: str) -> bool:
    """Whether a task with this ``stopCode`` was well when it was stopped."""
    return _first(STOP_CODES, stop_code) is not None


def of_status(status: int, *, on: str) -> Failure | None:
    """What an HTTP status means; ``None`` for one that is no failure there."""
    return None if 200 <= status < 300 else _first(STATUSES, str(status), on)


def of_exception(error: BaseException, *, on: str) -> Failure | None:
    """What an exception of a library means, or of what it derives from."""
    for kind in type(error).__mro__:
        name = f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
        if (row := _first(EXCEPTIONS, name, on)) is not None:
            return row
    return None


def _first(rows: Iterable[Failure], text: str, on: str = "") -> Failure | None:
    return next((row for row in rows if row.fits(text, on)), None)
