"""Writes the tables of ``docs/failures.md``, which are the package's own table of failures.

python docs/make_failures.py
"""
# ruff: noqa: INP001

from __future__ import annotations

from pathlib import Path

from cloudburst.models.failures import TABLE, Failure, Where

PAGE = Path(__file__).with_name("failures.md")
BEGIN = "<!-- The tables are made by docs/make_failures.py. -->"
HEAD = "| what is told | helps | what it means | what to do |\n|---|---|---|---|"
HEADINGS = {
    Where.CODE: "Codes of AWS's exceptions",
    Where.FAILURE: "Reasons in the `failures` of RunTask",
    Where.STOP_CODE: "The `stopCode` of a task",
    Where.STOPPED_REASON: "The `stoppedReason` of a task, or the `reason` of a container",
    Where.EXIT_CODE: "Exit codes of a container",
    Where.HTTP: "Statuses of HTTP",
    Where.EXCEPTION: "No answer",
}
NONE = "nothing else"


def tables() -> str:
    """All of them, in the order in which rows are tried."""
    return "\n\n".join(f"## {heading}\n\n{_table(where)}" for where, heading in HEADINGS.items())


def _table(where: Where) -> str:
    rows = [row for row in TABLE if row.where is where]
    sources = dict.fromkeys(source for row in rows for source in row.source.split("; "))
    return "\n".join([HEAD, *map(_row, rows), "", f"Known from: {'; '.join(sources)}."])


def _row(row: Failure) -> str:
    matches = ", ".join(f"`{match}`" if match else NONE for match in row.match)
    on = f" ({', '.join(row.on)})" if row.on else ""
    cells = (f"{matches}{on}", row.remedy.value, row.means, row.do)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def whole(page: str) -> str:
    """The page with the tables as they are now."""
    head, _, _ = page.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{tables()}\n"


if __name__ == "__main__":
    PAGE.write_text(whole(PAGE.read_text("utf-8")), "utf-8")
