"""Failure table: rows that explain the failures of AWS, tasks and workers."""

# The functions of this module return the first row that matches an error code, a stop reason, an
# HTTP status or an exception. ``docs/reference/failures.md`` shows the same table.

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloudburst.models.failures.api_errors import (
    API_ERRORS,
    PLACEMENT_MESSAGES,
    PLACEMENT_REASONS,
)
from cloudburst.models.failures.connections import (
    EXCEPTIONS,
    HTTP_STATUSES,
)
from cloudburst.models.failures.failure import Failure
from cloudburst.models.failures.s3_errors import (
    DENIALS,
)
from cloudburst.models.failures.stops import (
    EXIT_CODES,
    GENERIC_STOP_CODES,
    SPOT_INTERRUPTION,
    STOP_CODES,
    STOPPED_REASONS,
)

# Error code of S3, STS and IAM for a lack of permission.
_ACCESS_DENIED = "AccessDenied"
# Order in which exit codes of containers are tried: first all codes that are not listed here
# (rank 0), then 137 (stopped with SIGKILL), then 143 (stopped with SIGTERM). When one container
# exits, ECS stops the other containers of the task with these signals, so the exit code of the
# first container explains the stop better.
_STOP_EXIT_CODE_RANKS = {"137": 1, "143": 2}


def classify_api_error(
    code: str, message: str, status: int, *, operation: str, capacity: str = ""
) -> Failure:
    """Return the row for an error of the AWS API."""
    if (
        operation == "run_task"
        and (row := _first(PLACEMENT_MESSAGES, message, capacity)) is not None
    ):
        return row
    if code == _ACCESS_DENIED and (row := classify_denial(message)) is not None:
        return row
    *exact, no_code, run_task, other = API_ERRORS
    row = _first(exact, code, operation)
    row = row or _first(HTTP_STATUSES, str(status), "aws")
    row = row or _first([no_code, run_task], code, operation)
    return row or other


def classify_denial(message: str) -> Failure | None:
    """Return the row for a message of ``AccessDenied``; ``None`` if it gives no known reason."""
    return _first(DENIALS, message)


def classify_placement_failure(reasons: Sequence[str], *, capacity: str = "") -> Failure:
    """Return the row for the most severe reason for which RunTask started no task."""
    rows = [_first(PLACEMENT_REASONS, reason, capacity) for reason in reasons or [""]]
    known = [row for row in rows if row is not None]
    return min(known, key=lambda row: (row.remedy.retryable, PLACEMENT_REASONS.index(row)))


def classify_stop(code: str, reasons: Iterable[str], exits: Iterable[int]) -> Failure:
    """Return the row for a stopped task."""
    if (row := _first(STOP_CODES, code)) is not None:
        return row
    for reason in reasons:
        if (row := _first(STOPPED_REASONS, reason)) is not None:
            return row
    ended = sorted(map(str, exits), key=lambda exit_code: _STOP_EXIT_CODE_RANKS.get(exit_code, 0))
    if ended and (row := _first(EXIT_CODES, ended[0])) is not None:
        return row
    row = _first(GENERIC_STOP_CODES, code)
    assert row is not None, "the last row matches every code"
    return row


def is_external_stop(stop_code: str) -> bool:
    """Return whether this ``stopCode`` means that AWS or a user stopped a healthy task."""
    return _first(STOP_CODES, stop_code) is not None


def is_spot_interruption(stop_code: str) -> bool:
    """Return whether this ``stopCode`` means that AWS took a task's Spot capacity back."""
    return SPOT_INTERRUPTION.matches(stop_code)


def classify_http_status(status: int, *, context: str) -> Failure | None:
    """Return the row for an HTTP status; ``None`` for a success or an unknown status."""
    return None if 200 <= status < 300 else _first(HTTP_STATUSES, str(status), context)


def classify_exception(error: BaseException, *, context: str) -> Failure | None:
    """Return the row for an exception of a library, or for the nearest base class with a row."""
    for kind in type(error).__mro__:
        name = f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
        if (row := _first(EXCEPTIONS, name, context)) is not None:
            return row
    return None


def _first(rows: Iterable[Failure], text: str, on: str = "") -> Failure | None:
    return next((row for row in rows if row.matches(text, on)), None)
