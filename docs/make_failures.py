"""Script that writes the tables of ``docs/failures.md`` from the failure table of the package.

python docs/make_failures.py
"""
# ruff: noqa: INP001

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cloudburst.models.failures.api_errors import API_ERRORS, PLACEMENT_REASONS
from cloudburst.models.failures.connections import EXCEPTIONS, HTTP_STATUSES
from cloudburst.models.failures.failure import Failure
from cloudburst.models.failures.s3_errors import DENIALS
from cloudburst.models.failures.stops import (
    EXIT_CODES,
    GENERIC_STOP_CODES,
    STOP_CODES,
    STOPPED_REASONS,
)

PAGE = Path(__file__).with_name("failures.md")
BEGIN = "<!-- The tables are made by docs/make_failures.py. -->"
HEAD = "| match | remedy | what it means | what to do |\n|---|---|---|---|"
TABLES = {
    "Error codes of AWS": API_ERRORS,
    "Messages of `AccessDenied`": DENIALS,
    "Reasons in the `failures` of RunTask": PLACEMENT_REASONS,
    "The `stopCode` of a task": (*STOP_CODES, *GENERIC_STOP_CODES),
    "The `stoppedReason` of a task, or the `reason` of a container": STOPPED_REASONS,
    "Exit codes of a container": EXIT_CODES,
    "HTTP statuses": HTTP_STATUSES,
    "No answer": EXCEPTIONS,
}
NONE = "no text"


def tables() -> str:
    """Return all tables, with rows in the order in which they are matched."""
    return "\n\n".join(f"## {heading}\n\n{_table(rows)}" for heading, rows in TABLES.items())


def _table(rows: Sequence[Failure]) -> str:
    sources = dict.fromkeys(source for row in rows for source in row.source.split("; "))
    return "\n".join([HEAD, *map(_row, rows), "", f"Sources: {'; '.join(sources)}."])


def _row(row: Failure) -> str:
    matches = ", ".join(f"`{match}`" if match else NONE for match in row.patterns)
    on = f" ({', '.join(row.contexts)})" if row.contexts else ""
    cells = (f"{matches}{on}", row.remedy.value, row.meaning, row.action)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def whole(page: str) -> str:
    """Return the page with current tables."""
    head, _, _ = page.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{tables()}\n"


if __name__ == "__main__":
    PAGE.write_text(whole(PAGE.read_text("utf-8")), "utf-8")
