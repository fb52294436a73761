"""What a run came to, in a table and a few lines."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from cloudburst.cli.bill import bill
from cloudburst.cli.words import clock, count, first_line, short_path, shown, size, usd
from cloudburst.engine.estimate import estimate
from cloudburst.models.report import Prediction, Report, SceneReport, Status
from cloudburst.models.tier import Tier

_TIER = Tier.STANDARD
_NUMBERS = 36
"""Cells that the columns of numbers take, with what is between columns."""
_COST = 10
"""Cells of one more."""
_REASON = 30
"""Cells below which a reason is no pleasure to read."""


class Summary:
    """One row for each scene; then what it took, and what it would have cost on Fargate.

    Where names and paths find no room beside each other, the folder is told once below.
    """

    def __init__(self, report: Report) -> None:
        self._report = report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out for the width that there is."""
        report = self._report
        paths = [short_path(video.path) for video in report.videos]
        wanted = [_REASON for entry in report.scenes if entry.error] + [*map(cell_len, paths)]
        names = [cell_len(entry.scene) for entry in report.scenes]
        numbers = _NUMBERS + (_COST if report.cost else 0)
        wide = max(names) + numbers + max(wanted, default=0) <= options.max_width
        yield _table(report, wide=wide)
        yield Text()
        if paths and not wide:
            folder = shown(short_path(report.videos[0].path.parent), "green")
            yield Text.assemble("Videos in ", folder)
        yield from _faults(report)
        yield from _totals(report)
        yield from bill(report)


def _table(report: Report, *, wide: bool) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim", border_style="dim"
    )
    table.add_column("scene", overflow="fold")
    for name in ("length", "render", "size", *(["cost"] if report.cost else [])):
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        table.add_column("video", overflow="fold")
    for entry in report.scenes:
        scene, told, numbers = _row(entry)
        if wide:
            table.add_row(scene, *numbers, told)
        elif entry.video is not None:
            table.add_row(scene, *numbers)
        else:
            table.add_row(Text.assemble(scene, "\n" if entry.error else " · ", told), *numbers)
    return table


def _row(entry: SceneReport) -> tuple[Text, Text, list[str]]:
    """Name, path or reason, and the numbers."""
    if (video := entry.video) is not None:
        numbers = [f"{video.seconds:.1f} s", f"{entry.generating:.1f} s", size(video.size)]
        if entry.usd is not None:
            numbers.append(usd(entry.usd))
        return shown(entry.scene), shown(short_path(video.path), "green"), numbers
    style, reason = ("yellow", "not done") if entry.error is None else ("red", entry.error)
    return shown(entry.scene, style), shown(first_line(reason), style), [""] * 3


def _faults(report: Report) -> Iterator[Text]:
    """What somebody has to mend, and where it is told why workers failed."""
    if report.fault is not None:
        yield Text.assemble(("To be mended: ", "bold red"), shown(report.fault, "red"))
    for worker in report.workers:
        if worker.post_mortem is not None:
            task, path = worker.task.rpartition("/")[2], short_path(worker.post_mortem)
            yield Text.assemble("Why ", shown(task), " failed: ", shown(path, "yellow"))


def _totals(report: Report) -> Iterator[Text]:
    videos, skipped = report.videos, set(report.skipped)
    film = clock(sum(video.seconds for video in videos if video.scene not in skipped))
    yield Text.assemble(
        _WORD[report.status],
        (f" {count(len(videos), 'video')} of {count(len(report.scenes), 'scene')}", "bold"),
        f" ({len(skipped)} already there)" if skipped else "",
        f", {film} of video in {clock(report.seconds)}, speed-up {report.speedup:.1f}×",
    )
    if report.predicted is not None and report.status is Status.COMPLETE:
        yield Text(_against(report.predicted, report), "dim")
    # Of this life alone, as the time is.
    workers = [worker for worker in report.workers if worker.stopped is None or worker.stopped > 0]
    price = estimate(workers, seconds=report.seconds, tier=_TIER)
    if price.tasks and _here(report):
        tasks = count(price.tasks, "task")
        line = f"On Fargate ≈ {usd(price.usd)} (estimate: {tasks} of {price.assumptions})"
        yield Text(line, "dim")


def _against(predicted: Prediction, report: Report) -> str:
    """What was expected, and what came of it."""
    told = f"Predicted {clock(predicted.seconds)}"
    if predicted.seconds:
        off = report.seconds / predicted.seconds - 1
        told += f" ({abs(off):.0%} {'longer' if off > 0 else 'shorter'} in fact)"
    if predicted.usd_high or report.cost:
        told += f" and {usd(predicted.usd_low)} to {usd(predicted.usd_high)}"
        told += f" ({usd(report.cost.usd)} in fact)" if report.cost else " (nothing in fact)"
    return told


def _here(report: Report) -> bool:
    """Whether all of it was rendered on this machine."""
    return all(worker.backend == "local" for worker in report.workers)


_WORD = {
    Status.COMPLETE: ("✓", "green"),
    Status.PARTIAL: ("✗", "red"),
    Status.FAILED: ("✗", "red"),
    Status.BUDGET: ("Out of budget:", "yellow"),
    Status.INTERRUPTED: ("Interrupted:", "yellow"),
}
