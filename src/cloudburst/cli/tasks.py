"""``cloudburst tasks``: what runs in the cluster, whose it is and what it has cost."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from decimal import Decimal
from functools import partial
from itertools import groupby
from typing import Annotated

import anyio
from cyclopts import Parameter
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from cloudburst.cli.displays import write_line
from cloudburst.cli.settings import read_settings
from cloudburst.cli.words import clock, count, shown, usd
from cloudburst.models.running import RunningTask, Whose

TASK = 12
"""Characters of an id: enough to tell it from others, and for ``cloudburst logs``."""
WIDE = 100
"""Cells in which there is room for scenes."""

_WHOSE = {
    Whose.ALIVE: ("on this machine", "green"),
    Whose.DEAD: ("left over on this machine", "red"),
    Whose.ELSEWHERE: ("started elsewhere", "yellow"),
    Whose.FOREIGN: ("not of cloudburst", "dim"),
}


def tasks_command(
    *,
    everything: Annotated[bool, Parameter(negative=())] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """List the tasks that run in the cluster, and what they have cost so far.

    Parameters
    ----------
    everything
        Tasks without cloudburst's tag too.
    as_json
        One JSON list on the standard output.
    """
    from cloudburst.account.sweep import list_tasks  # noqa: PLC0415 - boto takes a while to import

    tasks = anyio.run(partial(list_tasks, read_settings(), everything=everything))
    if as_json:
        write_line(json.dumps([as_dict(task) for task in tasks], default=_as_json))
        return 0
    Console(highlight=False).print(Listing(tasks))
    return 0


def as_dict(task: RunningTask) -> dict[str, object]:
    """For JSON: money as text, so that no cent is lost; times as ISO 8601."""
    return asdict(task)


class Listing:
    """Tasks by run, and their sum."""

    def __init__(self, tasks: Sequence[RunningTask]) -> None:
        self._tasks = tasks

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out for the width that there is."""
        if not self._tasks:
            yield Text("No tasks run.")
            return
        yield from grouped(self._tasks, wide=options.max_width >= WIDE)
        yield sum_line(self._tasks)
        if any(task.whose is Whose.DEAD for task in self._tasks):
            yield Text("cloudburst cleanup stops what is left over.", "red")


def grouped(tasks: Sequence[RunningTask], *, wide: bool = False) -> Iterator[RenderableType]:
    """The runs with their tasks, under one head."""
    yield task_table((), wide=wide, head=True)
    for run, some in by_run(tasks):
        yield run_line(run, some[0].whose)
        yield task_table(some, wide=wide)
    yield Text()


def by_run(tasks: Sequence[RunningTask]) -> Iterator[tuple[str, list[RunningTask]]]:
    """The run that is dead first, foreign tasks last; within a run, oldest first."""
    order = [Whose.DEAD, Whose.ALIVE, Whose.ELSEWHERE, Whose.FOREIGN]
    ordered = sorted(tasks, key=lambda task: (order.index(task.whose), task.run, task.created_at))
    for (_, run), group in groupby(ordered, key=lambda task: (task.whose, task.run)):
        yield run, list(group)


def run_line(run: str, whose: Whose) -> Text:
    """The run and who would miss it."""
    told, style = _WHOSE[whose]
    if whose is Whose.FOREIGN and not run:
        return Text(told, style)
    return Text.assemble("run ", shown(run or "unknown", "bold"), " ", (f"({told})", style))


def task_table(tasks: Sequence[RunningTask], *, wide: bool = False, head: bool = False) -> Table:
    """One row for each task; all such tables have the same columns."""
    table = Table(box=None, show_header=head, padding=(0, 2, 0, 0), header_style="dim")
    for name, width in (("task", TASK), ("status", 12), ("vCPU/GB", 10)):
        table.add_column(name, no_wrap=True, min_width=width)
    for name, width in (("age", 10), ("cost", 8)):
        table.add_column(name, no_wrap=True, min_width=width, justify="right")
    table.add_column("address", no_wrap=True, min_width=15)
    if wide:
        table.add_column("scene", overflow="fold")
    for task in tasks:
        row = [
            shown(task.task_id[:TASK], "cyan"),
            shown(task.status.lower()),
            Text(size_of(task)),
            Text(clock(task.age)),
            Text(usd(task.usd)),
            shown(task.public_ip or task.private_ip or "", "dim"),
        ]
        table.add_row(*row, *([shown(task.scene)] if wide else []))
    return table


def size_of(task: RunningTask) -> str:
    """``2/4``, with what is not usual about it."""
    size = f"{int(task.cpu or 0) / 1024:g}/{int(task.memory or 0) / 1024:g}"
    return " ".join(
        [
            size,
            *(["ARM"] if task.architecture == "ARM64" else []),
            *(["Spot"] if task.capacity == "FARGATE_SPOT" else []),
        ]
    )


def sum_line(tasks: Sequence[RunningTask]) -> Text:
    """How many, and what they have cost."""
    cost = sum((task.usd for task in tasks), Decimal())
    told = Text.assemble((count(len(tasks), "task"), "bold"), f", {usd(cost)} so far")
    if any(task.assumed for task in tasks):
        told.append(" (at us-east-1's prices: those of this region are not known)", "yellow")
    else:
        told.append(" (list prices)", "dim")
    return told


def _as_json(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)
