"""``cloudburst cleanup``: stops tasks of runs that no process continues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated

import anyio
from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from cloudburst.cli.options import Duration
from cloudburst.cli.output import first_line, pluralize, print_output, safe_text
from cloudburst.cli.tasks import group_by_run, owner_text, tables_by_run, total_line
from cloudburst.models.account_tasks import CleanupReport, RunningTask, TaskOwner
from cloudburst.models.settings import Settings
from cloudburst.text import TASK_ID_LENGTH


def cleanup_command(
    *,
    run: str | None = None,
    everything: Annotated[bool, Parameter(name="--all", negative=())] = False,
    older_than: Duration | None = None,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Stop orphans: tasks of this machine's runs that no process continues.

    Tasks that cloudburst did not start are never stopped.

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
    """Yield the stopped, failed and kept tasks; failures with the same error share a line."""
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
    reason = owner_text(owner)
    if owner is TaskOwner.ORPHAN:
        reason = "orphan, but younger than --older-than"
    number = pluralize(len(tasks), "task")
    name = safe_text(run or "unknown", "bold")
    return Text.assemble(f"  {number} of run ", name, (f" ({reason})", "dim"))
