"""Summary of a run in a terminal: its videos, failures, totals and bill."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cloudburst.display.language import output_encoding, say
from cloudburst.display.terminal_texts import WordWrapped, plain_table, safe_text, unwrapped
from cloudburst.display.texts import (
    first_line,
    format_duration,
    format_size,
    format_usd,
    pluralize,
    short_path,
)
from cloudburst.engine.failure_groups import failures_of, warnings_of
from cloudburst.engine.report import COST_PARTS
from cloudburst.models.report import Cost, Prediction, Report, Status, WorkerReport
from cloudburst.text import list_some, short_task

_MAX_NAMES_SHOWN = 100
"""Maximum number of scenes that are listed for each failure."""


def summary(report: Report) -> Group:
    """Return the summary of a run: a table of videos, failures by cause, totals, and the bill."""
    videos = _videos(report) if report.videos else ()
    failures, warnings = _failures(report), _warnings(report)
    return Group(*videos, *failures, *warnings, *_film(report), *_totals(report), *_bill(report))


def summary_text(report: Report) -> str:
    """Return the summary as plain text, in the width of the terminal, or of 80 characters.

    It has only characters that the encoding of the standard output has.
    """
    encoding = output_encoding()
    output = io.TextIOWrapper(io.BytesIO(), encoding, "replace", newline="\n")
    console = Console(
        file=output, force_terminal=False, force_jupyter=False, color_system=None, emoji=False
    )
    console.print(summary(report), crop=False)
    output.seek(0)
    return "\n".join(line.rstrip() for line in output)


def _videos(report: Report) -> Iterator[RenderableType]:
    table = plain_table()
    table.add_column(say("scene"), overflow="fold")
    for name in ("length", "render", "size", *(["cost"] if report.is_billed else [])):
        table.add_column(say(name), justify="right", no_wrap=True)
    for entry in report.scenes:
        if (video := entry.video) is not None:
            cost = [] if entry.usd is None else [format_usd(entry.usd)]
            numbers = say("{:.1f} s", video.seconds), say("{:.1f} s", entry.encode_seconds)
            table.add_row(safe_text(entry.scene), *numbers, format_size(video.size), *cost)
    yield table
    yield Text()
    path = report.videos[0].path
    if len(report.videos) == 1:
        yield unwrapped(say("Video: "), safe_text(short_path(path), "green"))
    else:
        folder = path.parent if isinstance(path, Path) else path.folder
        yield unwrapped(say("Videos in "), safe_text(short_path(folder), "green"))


def _failures(report: Report) -> Iterator[RenderableType]:
    for failure in failures_of(report):
        style = "red" if failure.scenes else "yellow"
        word, names = ("scene", failure.scenes) if failure.scenes else ("task", failure.tasks)
        is_setup = failure.text == report.problem
        form = "{} failed; fix this, then resume: " if is_setup else "{} failed: "
        head = (say(form, pluralize(len(names), word)), f"bold {style}")
        yield WordWrapped(head, safe_text(first_line(failure.message), style))
        yield from _names(names)
        if failure.scenes:
            yield from _names(failure.tasks, say("tasks: "))
        if failure.scenes and failure.fix:
            yield Padding.indent(say("What to do: {}", say(failure.fix)), 2)
    unfinished = [entry.scene for entry in report.scenes if not (entry.video or entry.error)]
    if unfinished:
        subject = pluralize(len(unfinished), "scene")
        yield Text(say("{} not done:", subject), "bold yellow")
        yield from _names(unfinished)
    for worker in report.workers:
        if worker.post_mortem is not None:
            task, path = safe_text(short_task(worker.task)), short_path(worker.post_mortem)
            yield unwrapped(say("Post-mortem of task "), task, ": ", safe_text(path, "yellow"))


def _warnings(report: Report) -> Iterator[RenderableType]:
    for warning, names in warnings_of(report.videos).items():
        head = (say("{} with a warning: ", pluralize(len(names), "video")), "bold yellow")
        yield WordWrapped(head, safe_text(first_line(warning), "yellow"))
        yield from _names(names)


def _film(report: Report) -> Iterator[RenderableType]:
    if report.film is not None:
        yield unwrapped(say("Film: "), safe_text(short_path(report.film), "green"))
    if report.film_error is not None:
        head = (say("No film: "), "bold red")
        yield WordWrapped(head, safe_text(first_line(report.film_error), "red"))


def _names(names: Sequence[str], head: str = "") -> Iterator[RenderableType]:
    if names:
        shown = list_some(names, _MAX_NAMES_SHOWN)
        yield Padding.indent(safe_text(f"{head}{shown}"), 2)


def _totals(report: Report) -> Iterator[RenderableType]:
    videos, skipped = report.videos, set(report.skipped)
    length = sum(video.seconds for video in videos if video.scene not in skipped)
    rendered = len(videos) > len(skipped)
    wall = format_duration(report.wall_seconds)
    speed = ", {} of video in {}, speed-up {:.1f}×", format_duration(length), wall, report.speedup
    status, style = _STATUS_TEXT[report.status]
    counts = pluralize(len(videos), "video"), pluralize(len(report.scenes), "scene")
    yield Text.assemble(
        (say(status), style),
        (f" {say('{} of {}', *counts)}", "bold"),
        say(" ({} already there)", len(skipped)) if skipped else "",
        say(*speed) if rendered else say(" after {}", wall),
    )
    predictable = report.status is Status.COMPLETE and not _is_resumed(report)
    if report.predicted is not None and predictable:
        yield Text(_prediction_text(report.predicted, report), "dim")


def _is_resumed(report: Report) -> bool:
    """Return whether an earlier process worked on the run.

    In this case, the prediction, which covers only this process, cannot be compared with the bill
    and the videos, which cover all processes.
    """
    earlier = (w for w in report.workers if w.launched_at is not None and w.launched_at < 0)
    return bool(report.skipped) or any(earlier)


def _prediction_text(predicted: Prediction, report: Report) -> str:
    times = map(format_duration, (predicted.wall_seconds, report.wall_seconds))
    text = say("{} predicted, {} taken", *times)
    if predicted.usd_high or report.is_billed:
        low, high = format_usd(predicted.usd_low), format_usd(predicted.usd_high)
        billed = format_usd(report.cost.usd) if report.is_billed else say("nothing")
        billed = say("{} billed" if report.cost.final else "{} so far", billed)
        price = low if low == high else say("{} to {}", low, high)
        text += say("; {} predicted, {}", price, billed)
    return text


_STATUS_TEXT = {
    Status.COMPLETE: ("✓", "green"),
    Status.PARTIAL: ("✗", "red"),
    Status.FAILED: ("✗", "red"),
    Status.BUDGET: ("Out of budget:", "yellow"),
    Status.INTERRUPTED: ("Interrupted:", "yellow"),
}


def _bill(report: Report) -> Iterator[RenderableType]:
    for worker in report.workers:
        if worker.possibly_running:
            name = safe_text(worker.task or say("a task whose launch was not answered"))
            hint = say(" may still run; stop it: cloudburst cleanup")
            yield Text.assemble(name, hint, style="bold red", no_wrap=True, overflow="ignore")
    if not report.is_billed:
        return
    yield Text()
    yield _task_table(report)
    yield Text()
    yield cost_text(report.cost)


def _task_table(report: Report) -> Table:
    table = plain_table()
    table.add_column(say("task"), no_wrap=True)
    for name in ("size", "ready", "billed", "scenes", "cost"):
        table.add_column(say(name), justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for worker in report.workers:
        if worker.cost is not None:
            table.add_row(*_task_row(worker, worker.cost))
    return table


def _task_row(worker: WorkerReport, cost: Cost) -> Iterator[Text]:
    ready = say("never")
    if worker.launched_at is not None and worker.ready_at is not None:
        ready = format_duration(worker.ready_at - worker.launched_at)
    yield safe_text(short_task(worker.task), "cyan")
    yield Text(worker.size)
    yield Text(ready)
    yield Text(format_duration(cost.billed_seconds))
    yield Text(str(worker.scenes))
    yield Text(format_usd(cost.usd))
    yield Text(say("failed"), "red") if worker.error else Text()


def cost_text(cost: Cost) -> Text:
    """Return a bill with its total, its billed time and its parts."""
    billed = format_duration(cost.billed_seconds)
    amount = (format_usd(cost.usd), "bold")
    text = Text.assemble(say("Cost "), amount, say(" for {} billed", billed))
    text.append(say(" (final): " if cost.final else " (estimate, tasks are stopping): "), "dim")
    parts = [
        f"{say(part)} {getattr(cost, part) / cost.usd:.0%}"
        for part in COST_PARTS
        if cost.usd and getattr(cost, part)
    ]
    text.append(say(", ").join(parts), "dim")
    return text
