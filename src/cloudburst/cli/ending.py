"""The last words of a run, and its exit code."""

from __future__ import annotations

import json
import os
import sys

import anyio
from rich.console import Console
from rich.text import Text

from cloudburst.cli.displays import write_line
from cloudburst.cli.options import Running
from cloudburst.cli.running import Job, Outcome, render
from cloudburst.cli.summary import Summary
from cloudburst.cli.words import first_line, shown
from cloudburst.models.report import Report, Status

_PAPER = 160
"""Cells to a line where no terminal says how many there are."""


def run_job(job: Job, running: Running) -> int:
    """Render from start to end, and tell it; return the exit code."""
    console = Console(stderr=True)
    outcome = anyio.run(render, job, running.display(console))
    return tell_end(outcome, running, console, job=job)


def tell_end(outcome: Outcome, running: Running, errors: Console, *, job: Job | None = None) -> int:
    """Tell the report in the way that was asked for; return the exit code.

    Of a ``job`` that is not complete it is told how to go on with it.
    """
    report = outcome.report
    if report is not None and running.json:
        write_line(json.dumps({"type": "report"} | report.model_dump(mode="json")))
    elif report is not None and running.quiet:
        _tell_failures(report, errors)
    elif report is not None:
        wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PAPER
        console = Console(width=wide, highlight=False)
        console.print(Summary(report))
        if job is not None and report.status is not Status.COMPLETE:
            told = shown(job.again(report.run), "bold")
            # Not wrapped: it is there to be copied.
            console.print(Text.assemble("Go on with: ", told), soft_wrap=True)
    elif not running.quiet:
        errors.print(shown("Interrupted before anything was started.", "yellow"))
    if outcome.signum is not None:
        return 128 + outcome.signum
    return 0 if report is not None and _is_good(report) else 1


def _is_good(report: Report) -> bool:
    """All is there, and nothing is left that costs."""
    return report.status is Status.COMPLETE and not any(w.may_run for w in report.workers)


def _tell_failures(report: Report, errors: Console) -> None:
    for entry in report.scenes:
        if entry.error is not None:
            errors.print(shown(f"{entry.scene}: {first_line(entry.error)}", "red"), soft_wrap=True)
