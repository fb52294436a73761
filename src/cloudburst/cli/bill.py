"""What a run cost: by task, and by what the money went into."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cloudburst.cli.words import clock, first_line, shown, usd
from cloudburst.models.report import Cost, Report, WorkerReport

_PARTS = ("starting", "rendering", "moving", "idle", "wasted")


def bill(report: Report) -> Iterator[RenderableType]:
    """One row for each task, then the sum; nothing when nothing is billed. Worse comes first."""
    for worker in report.workers:
        if worker.may_run:
            name = worker.task or "a task whose launch was not answered"
            yield shown(f"{name} may still run: cloudburst cleanup stops it", "bold red")
    if report.cost is None:
        return
    yield Text()
    yield _tasks(report)
    yield Text()
    yield _sum(report.cost)


def _tasks(report: Report) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim", border_style="dim"
    )
    table.add_column("task", no_wrap=True)
    for name in ("ready", "billed", "scenes", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for worker in report.workers:
        if worker.cost is not None:
            table.add_row(*_row(worker, worker.cost))
    return table


def _row(worker: WorkerReport, cost: Cost) -> list[Text]:
    if worker.launched is None or worker.ready is None:
        ready = "never"
    else:
        ready = clock(worker.ready - worker.launched)
    name = worker.task.rsplit("/", 1)[-1][:12]
    note = shown(first_line(worker.error, 80), "red") if worker.error else Text()
    return [
        Text(name, "cyan"),
        Text(ready),
        Text(clock(cost.seconds)),
        Text(str(worker.scenes)),
        Text(usd(cost.usd)),
        note,
    ]


def _sum(cost: Cost) -> Text:
    told = Text.assemble("Cost ", (usd(cost.usd), "bold"), f" for {clock(cost.seconds)} billed")
    told.append(" (final): " if cost.final else " (estimate, some tasks still stop): ", "dim")
    shares = [
        f"{part} {getattr(cost, part) / cost.usd:.0%}"
        for part in _PARTS
        if cost.usd and getattr(cost, part)
    ]
    told.append(", ".join(shares), "dim")
    return told
