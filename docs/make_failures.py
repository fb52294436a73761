"""Script that writes the tables of ``docs/failures.md`` from the failure table of the package.

python docs/make_failures.py
"""
# ruff: noqa: INP001

from __future__ import annotations

from pathlib import Path

from cloudburst.models.failures import TABLE, Evidence, Failure

PAGE = Path(__file__).with_name("failures.md")
BEGIN = "<!-- The tables are made by docs/make_failures.py. -->"
HEAD = "| match | remedy | what it means | what to do |\n|---|---|---|---|"
HEADINGS = {
    Evidence.ERROR_CODE: "Error codes of AWS",
    Evidence.DENIAL: "Messages of `AccessDenied`",
    Evidence.PLACEMENT_REASON: "Reasons in the `failures` of RunTask",
    Evidence.STOP_CODE: "The `stopCode` of a task",
    Evidence.STOPPED_REASON: "The `stoppedReason` of a task, or the `reason` of a container",
    Evidence.EXIT_CODE: "Exit codes of a container",
    Evidence.HTTP_STATUS: "HTTP statuses",
    Evidence.EXCEPTION: "No answer",
}
NONE = "no text"


def tables() -> str:
    """Return all tables, with rows in the order in which they are matched."""
    return "\n\n".join(f"## {heading}\n\n{_table(where)}" for where, heading in HEADINGS.items())


def _table(where: Evidence) -> str:
    rows = [row for row in TABLE if row.evidence is where]
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
