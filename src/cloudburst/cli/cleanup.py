"""``cloudburst cleanup``: stops the tasks that nobody needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import anyio
from cyclopts import Parameter, Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from cloudburst.cli.settings import read_settings
from cloudburst.cli.tasks import TASK, by_run, grouped, sum_line
from cloudburst.cli.words import count, first_line, shown
from cloudburst.models.running import CleanupReport, RunningTask, Whose

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[smhd])+")
_PART = re.compile(r"([0-9.]+)([smhd])")


def duration(text: str) -> float:
    """Seconds of ``90s``, ``15m``, ``2h`` or ``1h30m``. Raises `ValueError` for anything else."""
    if not _DURATION.fullmatch(text):
        msg = f"{text!r} is no time: expected one like 90s, 15m, 2h or 1d"
        raise ValueError(msg)
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def _convert(_type: Any, tokens: Sequence[Token]) -> float:
    return duration(tokens[0].value)


Duration = Annotated[float | None, Parameter(converter=_convert, n_tokens=1)]


def cleanup_command(
    *,
    run: str | None = None,
    everything: Annotated[bool, Parameter(name="--all", negative=())] = False,
    older_than: Duration = None,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Stop tasks of cloudburst that nobody needs.

    Without options: those of runs of this machine whose process is gone. Tasks without
    cloudburst's tag are never touched.

    Parameters
    ----------
    run
        Those of this run instead, wherever it was started, and even if it goes on.
    everything
        All tasks of cloudburst in the cluster instead.
    older_than
        Only tasks that were launched so long ago (90s, 15m, 2h, 1d).
    dry_run
        Stop nothing; only tell what would be stopped.
    """
    from cloudburst.account.sweep import cleanup  # noqa: PLC0415 - boto takes a while to import

    work = partial(
        cleanup,
        read_settings(),
        run=run,
        everything=everything,
        older_than=older_than,
        dry_run=dry_run,
    )
    report = anyio.run(work)
    Console(highlight=False).print(Told(report))
    return 0 if report.success else 1


class Told:
    """What a cleanup came to."""

    def __init__(self, report: CleanupReport) -> None:
        self._report = report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What was stopped, what was not, and what goes on."""
        report = self._report
        if report.stopped:
            yield from grouped(report.stopped)
            head = "Would stop" if report.dry_run else "Stopped"
            yield Text.assemble(f"{head} ", sum_line(report.stopped))
        elif not report.failed:
            yield Text("Nothing to stop.")
        for entry in report.failed:
            task = shown(entry.task.task_id[:TASK], "cyan")
            error = shown(first_line(entry.error), "red")
            yield Text.assemble(("✗ ", "red"), task, " still runs: ", error)
        if report.failed:
            number = count(len(report.failed), "task")
            yield Text(f"{number} could not be stopped, and will cost on.", "red")
        if report.left:
            yield Text()
            yield Text("Left alone:", "dim")
            for name, tasks in by_run(report.left):
                yield _left(name, tasks)


def _left(run: str, tasks: Sequence[RunningTask]) -> Text:
    told = {
        Whose.ALIVE: "on this machine",
        Whose.DEAD: "left over, but younger than --older-than",
        Whose.ELSEWHERE: "started elsewhere",
        Whose.FOREIGN: "not of cloudburst",
    }[tasks[0].whose]
    number = count(len(tasks), "task")
    name = shown(run or "unknown", "bold")
    return Text.assemble(f"  {number} of run ", name, (f" ({told})", "dim"))
