"""``cloudburst tasks``, ``cleanup`` and ``logs``: the tasks in the cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from decimal import Decimal
from functools import partial
from itertools import groupby
from typing import Annotated

import anyio
from anyio import to_thread
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cloudburst.cli.options import Duration, WholeNumber
from cloudburst.cli.output import OutputConsole, print_output, write_json
from cloudburst.display.terminal_texts import safe_text
from cloudburst.display.texts import first_line, format_duration, format_usd, pluralize
from cloudburst.models.account_tasks import CleanupReport, LogLine, RunningTask, TaskOwner
from cloudburst.models.settings import Settings
from cloudburst.text import TASK_ID_LENGTH

_OWNERS = {
    TaskOwner.ACTIVE: ("in progress on this machine", "green"),
    TaskOwner.ORPHAN: ("orphan of this machine", "red"),
    TaskOwner.OTHER_MACHINE: ("started on another machine", "yellow"),
    TaskOwner.FOREIGN: ("not started by cloudburst", "dim"),
}


def tasks_command(
    *,
    everything: Annotated[bool, Parameter(negative=())] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """List the tasks that run in the cluster, and their cost so far.

    $ cloudburst tasks

    Parameters
    ----------
    everything
        Include tasks that cloudburst did not start.
    as_json
        Print one JSON list.
    """
    from cloudburst.aws.setup.running_tasks import list_tasks  # noqa: PLC0415 - boto takes a while to import

    tasks = anyio.run(partial(list_tasks, Settings(), include_foreign=everything))
    if as_json:
        write_json([asdict(task) for task in tasks])
        return 0
    if not tasks:
        print_output("No tasks run.")
        return 0
    print_output(*tables_by_run(tasks), total_line(tasks))
    if any(task.owner is TaskOwner.ORPHAN for task in tasks):
        print_output(Text("Stop the orphans with: cloudburst cleanup", "red"))
    return 0


def tables_by_run(tasks: Sequence[RunningTask]) -> Iterator[RenderableType]:
    """Yield, for each run, a line about the run and a table of its tasks."""
    for run, group in group_by_run(tasks):
        yield run_line(run, group[0].owner)
        yield _task_table(group)
    yield Text()


def group_by_run(tasks: Sequence[RunningTask]) -> Iterator[tuple[str, list[RunningTask]]]:
    """Yield runs with their tasks: runs of orphans first, tasks of other programs last.

    The tasks of a run are in the order of their launches.
    """
    order = [TaskOwner.ORPHAN, TaskOwner.ACTIVE, TaskOwner.OTHER_MACHINE, TaskOwner.FOREIGN]
    ordered = sorted(tasks, key=lambda task: (order.index(task.owner), task.run, task.created_at))
    for (_, run), group in groupby(ordered, key=lambda task: (task.owner, task.run)):
        yield run, list(group)


def run_line(run: str, owner: TaskOwner) -> Text:
    """Return a line with the name of a run and its relation to this machine."""
    text, style = _OWNERS[owner]
    if owner is TaskOwner.FOREIGN and not run:
        return Text(text, style)
    return Text.assemble("run ", safe_text(run or "unknown", "bold"), " ", (f"({text})", style))


def _task_table(tasks: Sequence[RunningTask]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name, width in (("task", TASK_ID_LENGTH), ("status", 12), ("vCPU/GB", 10)):
        table.add_column(name, no_wrap=True, min_width=width)
    for name, width in (("age", 10), ("cost", 8)):
        table.add_column(name, no_wrap=True, min_width=width, justify="right")
    table.add_column("address", no_wrap=True, min_width=15)
    for task in tasks:
        table.add_row(
            safe_text(task.task_id[:TASK_ID_LENGTH], "cyan"),
            safe_text(task.status.lower()),
            size_text(task),
            format_duration(task.age_seconds),
            format_usd(task.usd),
            safe_text(task.public_ip or task.private_ip or "", "dim"),
        )
    return table


def size_text(task: RunningTask) -> str:
    """Return vCPU and GB of a task, followed by ARM and Spot if they apply: ``2/4 ARM Spot``."""
    size = f"{int(task.cpu or 0) / 1024:g}/{int(task.memory or 0) / 1024:g}"
    size += " ARM" if task.architecture == "ARM64" else ""
    return size + (" Spot" if task.capacity == "FARGATE_SPOT" else "")


def total_line(tasks: Sequence[RunningTask]) -> Text:
    """Return the number of tasks and their cost so far."""
    cost = sum((task.usd for task in tasks), Decimal())
    text = Text.assemble((pluralize(len(tasks), "task"), "bold"), f", {format_usd(cost)} so far")
    if any(task.price_assumed for task in tasks):
        text.append(" (at us-east-1's prices: those of this region are not known)", "yellow")
    else:
        text.append(" (list prices)", "dim")
    return text


def cleanup_command(
    *,
    run: str | None = None,
    everything: Annotated[bool, Parameter(name="--all", negative=())] = False,
    older_than: Duration | None = None,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Stop orphans: tasks of this machine's runs that no process continues.

    Tasks that cloudburst did not start are never stopped.

    $ cloudburst cleanup --dry-run
    $ cloudburst cleanup --all --older-than 2h

    Parameters
    ----------
    run
        Stop the tasks of this run instead of orphans, on whichever machine the run was started and
        even if it is in progress.
    everything
        Stop all tasks of cloudburst in the cluster, not only orphans.
    older_than
        Stop only tasks that were launched at least this long ago, such as 90s, 15m, 2h or 1d.
    dry_run
        Stop nothing; print what would be stopped.
    """
    from cloudburst.aws.setup.running_tasks import cleanup  # noqa: PLC0415 - boto takes a while to import

    work = partial(
        cleanup,
        Settings(),
        run=run,
        all_tasks=everything,
        older_than=older_than,
        dry_run=dry_run,
    )
    report = anyio.run(work)
    print_output(*_report_lines(report))
    return 0 if report.success else 1


def _report_lines(report: CleanupReport) -> Iterator[RenderableType]:
    if report.stopped:
        yield from tables_by_run(report.stopped)
        head = "Would stop" if report.dry_run else "Stopped"
        yield Text.assemble(f"{head} ", total_line(report.stopped))
    elif not report.failed:
        yield Text("Nothing to stop.")
    by_error: dict[str, list[str]] = {}
    for entry in report.failed:
        task_id = entry.task.task_id
        error = first_line(entry.error).replace(task_id, "…")
        by_error.setdefault(error, []).append(task_id[:TASK_ID_LENGTH])
    for error, tasks in by_error.items():
        names = safe_text(", ".join(tasks), "cyan")
        verb = "runs" if len(tasks) == 1 else "run"
        yield Text.assemble(("✗ ", "red"), names, f" still {verb}: ", safe_text(error, "red"))
    if report.failed:
        number = pluralize(len(report.failed), "task")
        yield Text(f"{number} could not be stopped and will still be billed.", "red")
    if report.kept:
        yield Text()
        yield Text("Kept:", "dim")
        for name, group in group_by_run(report.kept):
            yield _kept_line(name, group)


def _kept_line(run: str, tasks: Sequence[RunningTask]) -> Text:
    owner = tasks[0].owner
    reason, _ = _OWNERS[owner]
    if owner is TaskOwner.ORPHAN:
        reason = "orphan, but younger than --older-than"
    number = pluralize(len(tasks), "task")
    name = safe_text(run or "unknown", "bold")
    return Text.assemble(f"  {number} of run ", name, (f" ({reason})", "dim"))


_STYLES = ("cyan", "magenta", "yellow", "blue")


def logs_command(
    task: str,
    /,
    *,
    follow: Annotated[bool, Parameter(name=("--follow", "-f"), negative=())] = False,
    lines: Annotated[
        WholeNumber | None, Parameter(name=("--lines", "-n"), validator=Number(gte=0, lte=10_000))
    ] = None,
) -> int:
    """Print the log lines of all containers of a task, even of a task that has stopped.

    $ cloudburst logs 4f2a91c0 --follow
    $ cloudburst logs 4f2a91c0 -n 50

    Parameters
    ----------
    task
        ARN or id of the task, or the beginning of the id.
    follow
        Continue with new lines until the task has stopped.
    lines
        Number of lines to print, counted from the end of the log. Default: all.
    """
    from cloudburst.aws.setup.logs import read_logs  # noqa: PLC0415 - boto takes a while to import

    lines_of_task = read_logs(Settings(), task, follow=follow, lines=lines)
    anyio.run(_print_lines, lines_of_task)
    return 0


async def _print_lines(opened: AbstractAsyncContextManager[AsyncIterator[LogLine]]) -> None:
    console = OutputConsole(highlight=False)
    styles: dict[str, str] = {}
    async with opened as lines:
        async for line in lines:
            style = styles.setdefault(line.container, _STYLES[len(styles) % len(_STYLES)])
            text = _format_line(line, style)
            await to_thread.run_sync(partial(console.print, text, soft_wrap=True))
    if not styles:
        message = Text("The task has written no lines.", "dim")
        await to_thread.run_sync(OutputConsole(stderr=True).print, message)


def _format_line(line: LogLine, style: str) -> Text:
    time = line.time.astimezone().strftime("%m-%d %H:%M:%S")
    name = line.container.removeprefix("cloudburst-")
    return Text.assemble((f"{time} ", "dim"), safe_text(f"{name} ", style), safe_text(line.text))
