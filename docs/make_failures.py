"""Script that writes the generated parts of the pages about failures from the failure table.

python docs/make_failures.py
"""
# ruff: noqa: INP001

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cloudburst.errors import Remedy
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

_PAGES = Path(__file__).with_name("reference")
PAGE, SOURCES = _PAGES / "failures.md", _PAGES / "failure-sources.md"
BEGIN = "<!-- The rest of this page is made by docs/make_failures.py. -->"
TABLES: dict[str, Sequence[Failure]] = {
    "Error codes": API_ERRORS,
    "Messages of AccessDenied": DENIALS,
    "Failures of RunTask": PLACEMENT_REASONS,
    "Stop codes of tasks": (*STOP_CODES, *GENERIC_STOP_CODES),
    "Stop reasons of tasks and containers": STOPPED_REASONS,
    "Exit codes of containers": EXIT_CODES,
    "HTTP statuses": HTTP_STATUSES,
    "Exceptions": EXCEPTIONS,
}
# Tables whose texts a user may see as those of AWS.
OF_AWS = list(TABLES)[:6]
# Date on which most sources were read.
_READ = " (2026-11)"
_RETRIES = {
    Remedy.REPEAT_REQUEST: "The same request is repeated, with growing delays",
    Remedy.OTHER_WORKER: "The scene goes to another worker",
    Remedy.OTHER_SUBNET: "Other zones, on-demand tasks and sizes are tried, "
    "as far as `CLOUDBURST_FALLBACKS` allows",
    Remedy.OTHER_SIZE: "Another size is tried, if `CLOUDBURST_FALLBACKS` allows it",
    Remedy.FEWER_TASKS: "No more tasks are started than the account has allowed",
}


def failures() -> str:
    """Return the failures of AWS: those that the user must fix, then those that are retried."""
    fixes = dict[str, list[str]]()
    retried: dict[Remedy, list[str]] = {remedy: [] for remedy in _RETRIES}
    for row in (row for name in OF_AWS for row in TABLES[name]):
        if row.remedy.retryable:
            retried[row.remedy] += [text.partition(" … ")[0] for text in _named(row)]
        elif row.action:
            fixes.setdefault(row.summary, []).extend(_named(row))
    lines = ["| code or text | why: what to do |", "|---|---|"]
    lines += [f"| {_codes(texts[:2])} | {why} |" for why, texts in fixes.items() if texts]
    lines += ["", "## What is retried without you?", ""]
    lines += [f"- {_RETRIES[remedy]}: {_codes(texts)}." for remedy, texts in retried.items()]
    return "\n".join(lines)


def sources() -> str:
    """Return the sources, and for each table the codes and texts that come from them."""
    numbers = dict[str, int]()
    parts = [f"## {name}\n\n{_sources(TABLES[name], numbers)}" for name in OF_AWS]
    listed = (f"{number}. {source}" for source, number in numbers.items())
    return "\n\n".join([*parts, "## Sources", "\n".join(listed)])


def _sources(rows: Sequence[Failure], numbers: dict[str, int]) -> str:
    """Return the patterns of a table by their sources, which get numbers."""
    patterns = dict[str, list[str]]()
    for row in rows:
        places = (place.removesuffix(_READ) for place in row.source.split("; "))
        found = [str(numbers.setdefault(place, len(numbers) + 1)) for place in places]
        patterns.setdefault("+".join(found), []).extend(_named(row))
    return "\n".join(f"- {found}: {_codes(texts)}" for found, texts in patterns.items() if texts)


def _named(row: Failure) -> list[str]:
    """Return the patterns of a row that match more than anything, with an ellipsis for any text."""
    named = (pattern.strip("*") for pattern in row.patterns if pattern.strip("*?"))
    return [" ".join(pattern.replace("*", " … ").split()) for pattern in named]


def _codes(texts: Sequence[str]) -> str:
    """Return the texts as code; a prefix that the text before has, too, is left out."""
    shown, prefix = list[str](), ""
    for text in dict.fromkeys(texts):
        head, dots, tail = text.rpartition(" … ")
        shown.append(f"`{tail if dots and head == prefix else text}`")
        prefix = head
    return ", ".join(shown)


def whole(page: Path) -> str:
    """Return the page with its current generated part."""
    head, _, _ = page.read_text("utf-8").partition(BEGIN)
    return f"{head}{BEGIN}\n\n{failures() if page == PAGE else sources()}\n"


if __name__ == "__main__":
    for path in (PAGE, SOURCES):
        path.write_text(whole(path), "utf-8")
