"""Result of a run on the command line: its request, its summary, and its exit code."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cloudburst.cli.options import RunOptions
from cloudburst.cli.output import (
    WordWrapped,
    failure_key,
    first_line,
    format_duration,
    format_size,
    format_usd,
    plain_table,
    pluralize,
    print_output,
    safe_text,
    short_path,
    unwrapped,
    write_json,
)
from cloudburst.engine.report import COST_PARTS
from cloudburst.errors import Remedy
from cloudburst.models.film import FilmRequest
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.locations import (
    LOCATION_TYPES,
    AnyLocation,
    OutputFolder,
    absolute_location,
    parse_location,
)
from cloudburst.models.options import RenderOptions
from cloudburst.models.report import Cost, Prediction, Report, Status, WorkerReport
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier
from cloudburst.ports.backend import OpenBackend
from cloudburst.text import list_some, short_task


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A run as requested on the command line."""

    scenes: Sequence[Mapping[str, Any]]
    to: OutputFolder
    """Folder of the videos."""
    options: RenderOptions
    backend: OpenBackend | Sequence[OpenBackend]
    tier: Tier
    limits: Limits
    overwrite: bool
    run: str | None = None
    """Name of the run to resume; ``None`` for a new run."""
    is_open: bool = False
    """True if only the program that gives the scenes can complete the run."""
    custom_folder: bool = False
    """True if ``cloudburst resume`` needs ``--to`` to find the run."""
    film: FilmRequest | None = None
    """Film to make of all videos; ``None`` for none."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    spot: bool = False
    """True if ``--spot`` was given; the journal does not record this option."""
    settings: Settings | None = None
    """Settings with which files in S3 are accessed; ``None``: those of `Client`."""

    def resume_command(self, run: str) -> str:
        """Return the command that resumes the run."""
        words = ["cloudburst", "resume", run, *self._folder_words()]
        if self.overwrite:
            words.append("--overwrite")
        if self.spot:
            words.append("--spot")
        return shlex.join(words)

    def list_command(self) -> str:
        """Return the command that lists the runs of the folder."""
        return shlex.join(["cloudburst", "runs", *self._folder_words()])

    def _folder_words(self) -> list[str]:
        return ["--to", short_path(absolute_location(self.to))] if self.custom_folder else []


_MAX_NAMES_SHOWN = 100
"""Maximum number of scenes that are listed for each failure."""


def summary(report: Report) -> Group:
    """Return the summary of a run: a table of videos, failures by cause, totals, and the bill."""
    videos = _videos(report) if report.videos else ()
    failures, warnings = _failures(report), _warnings(report)
    return Group(*videos, *failures, *warnings, *_film(report), *_totals(report), *_bill(report))


def _videos(report: Report) -> Iterator[RenderableType]:
    table = plain_table()
    table.add_column("scene", overflow="fold")
    for name in ("length", "render", "size", *(["cost"] if report.is_billed else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in report.scenes:
        if (video := entry.video) is not None:
            cost = [] if entry.usd is None else [format_usd(entry.usd)]
            numbers = f"{video.seconds:.1f} s", f"{entry.encode_seconds:.1f} s"
            table.add_row(safe_text(entry.scene), *numbers, format_size(video.size), *cost)
    yield table
    yield Text()
    path = report.videos[0].path
    if len(report.videos) == 1:
        yield unwrapped("Video: ", safe_text(short_path(path), "green"))
    else:
        folder = path.parent if isinstance(path, Path) else path.folder
        yield unwrapped("Videos in ", safe_text(short_path(folder), "green"))


@dataclass(slots=True)
class FailureGroup:
    """Failures of scenes and tasks with the same cause."""

    text: str
    scenes: list[str] = field(default_factory=list[str])
    tasks: list[str] = field(default_factory=list[str])


def group_failures(report: Report) -> list[FailureGroup]:
    """Return the failures of a report, grouped by cause; failures of scenes come first."""
    found: dict[str, FailureGroup] = {}
    for entry in report.scenes:
        if entry.error is not None:
            key = failure_key(entry.error, entry.scene)
            found.setdefault(key, FailureGroup(entry.error)).scenes.append(entry.scene)
    for worker in report.workers:
        if worker.error is not None:
            key = failure_key(worker.error)
            # Tasks that cost nothing are listed only if scenes failed for the same reason.
            if worker.cost is not None or key in found:
                failure = found.setdefault(key, FailureGroup(worker.error))
                if worker.task:
                    failure.tasks.append(short_task(worker.task))
    return list(found.values())


def _failures(report: Report) -> Iterator[RenderableType]:
    for failure in group_failures(report):
        style = "red" if failure.scenes else "yellow"
        subject = (
            pluralize(len(failure.scenes), "scene")
            if failure.scenes
            else pluralize(len(failure.tasks), "task")
        )
        fix = "; fix this, then resume" if failure.text == report.problem else ""
        head = (f"{subject} failed{fix}: ", f"bold {style}")
        yield WordWrapped(head, safe_text(first_line(failure.text), style))
        yield from _names(failure.scenes)
        yield from _names(failure.tasks, "tasks: " if failure.scenes else "")
    unfinished = [entry.scene for entry in report.scenes if not (entry.video or entry.error)]
    if unfinished:
        yield Text(f"{pluralize(len(unfinished), 'scene')} not done:", "bold yellow")
        yield from _names(unfinished)
    for worker in report.workers:
        if worker.post_mortem is not None:
            task, path = safe_text(short_task(worker.task)), short_path(worker.post_mortem)
            yield unwrapped("Post-mortem of task ", task, ": ", safe_text(path, "yellow"))


def _warnings(report: Report) -> Iterator[RenderableType]:
    scenes: dict[str, list[str]] = {}
    for video in report.videos:
        for warning in video.warnings:
            scenes.setdefault(warning, []).append(video.scene)
    for warning, names in scenes.items():
        head = (f"{pluralize(len(names), 'video')} with a warning: ", "bold yellow")
        yield WordWrapped(head, safe_text(first_line(warning), "yellow"))
        yield from _names(names)


def _film(report: Report) -> Iterator[RenderableType]:
    if report.film is not None:
        yield unwrapped("Film: ", safe_text(short_path(report.film), "green"))
    if report.film_error is not None:
        head = ("No film: ", "bold red")
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
    speed = f", {format_duration(length)} of video in {wall}, speed-up {report.speedup:.1f}×"
    yield Text.assemble(
        _STATUS_TEXT[report.status],
        (f" {pluralize(len(videos), 'video')} of {pluralize(len(report.scenes), 'scene')}", "bold"),
        f" ({len(skipped)} already there)" if skipped else "",
        speed if rendered else f" after {wall}",
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
    taken = format_duration(report.wall_seconds)
    text = f"{format_duration(predicted.wall_seconds)} predicted, {taken} taken"
    if predicted.usd_high or report.is_billed:
        low, high = format_usd(predicted.usd_low), format_usd(predicted.usd_high)
        billed = format_usd(report.cost.usd) if report.is_billed else "nothing"
        billed += " billed" if report.cost.final else " so far"
        text += f"; {low if low == high else f'{low} to {high}'} predicted, {billed}"
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
            name = safe_text(worker.task or "a task whose launch was not answered")
            hint = " may still run; stop it: cloudburst cleanup"
            yield Text.assemble(name, hint, style="bold red", no_wrap=True, overflow="ignore")
    if not report.is_billed:
        return
    yield Text()
    yield _task_table(report)
    yield Text()
    yield cost_text(report.cost)


def _task_table(report: Report) -> Table:
    table = plain_table()
    table.add_column("task", no_wrap=True)
    for name in ("size", "ready", "billed", "scenes", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for worker in report.workers:
        if worker.cost is not None:
            table.add_row(*_task_row(worker, worker.cost))
    return table


def _task_row(worker: WorkerReport, cost: Cost) -> Iterator[Text]:
    ready = "never"
    if worker.launched_at is not None and worker.ready_at is not None:
        ready = format_duration(worker.ready_at - worker.launched_at)
    yield safe_text(short_task(worker.task), "cyan")
    yield Text(worker.size)
    yield Text(ready)
    yield Text(format_duration(cost.billed_seconds))
    yield Text(str(worker.scenes))
    yield Text(format_usd(cost.usd))
    yield Text("failed", "red") if worker.error else Text()


def cost_text(cost: Cost) -> Text:
    """Return a bill with its total, its billed time and its parts."""
    billed = format_duration(cost.billed_seconds)
    text = Text.assemble("Cost ", (format_usd(cost.usd), "bold"), f" for {billed} billed")
    text.append(" (final): " if cost.final else " (estimate, tasks are stopping): ", "dim")
    parts = [
        f"{part} {getattr(cost, part) / cost.usd:.0%}"
        for part in COST_PARTS
        if cost.usd and getattr(cost, part)
    ]
    text.append(", ".join(parts), "dim")
    return text


_MAX_FILES_SHOWN = 20
"""Maximum number of input files that are listed for replacement after scenes have failed."""
_WAIT = "The bill will be final in about 20 s; Ctrl-C is safe."
"""Message while AWS stops the tasks, which takes 14 to 24 s: see
`cloudburst.models.performance`."""


@dataclass(slots=True)
class RunOutcome:
    """Result of a run: its report, and the signal that stopped it."""

    report: Report | None = None
    """Report of the run; ``None`` if a signal arrived before anything was started."""
    signum: int | None = None
    """Signal that stopped the run; ``None`` if there was none."""
    is_printed: bool = False
    """True if the report was printed before the bill was final."""

    @property
    def exit_code(self) -> int:
        """Exit code of the command."""
        if self.signum is not None:
            return 128 + self.signum
        return 0 if self.report is not None and _succeeded(self.report) else 1


class ResultPrinter:
    """Printer of the result of a run, in the form that the options choose. Every method blocks."""

    def __init__(self, options: RunOptions, errors: Console, request: RunRequest) -> None:
        self._options = options
        self._errors = errors
        self._request = request

    @property
    def prints_bill(self) -> bool:
        """True if the output contains the bill, so that it is worth to wait until it is final."""
        return not self._options.quiet

    def print_report(self, report: Report) -> None:
        """Print the report."""
        if self._options.json:
            write_json({"type": "report"} | report.model_dump(mode="json"))
        elif self._options.quiet:
            self._print_failures(report)
        else:
            print_output(summary(report))
            if report.status is not Status.COMPLETE or report.film_error is not None:
                self._print_commands(report)

    def print_wait(self) -> None:
        """Print that the program waits until the bill is final."""
        if not self._options.json:
            self._errors.print(Text(_WAIT, "dim"), soft_wrap=True)

    def print_rest(self, outcome: RunOutcome) -> None:
        """Print what was not printed during the run: the report, or only its final bill."""
        report = outcome.report
        if report is None:
            if not self._options.quiet:
                self._errors.print(safe_text("Interrupted before anything was started.", "yellow"))
            return
        if not outcome.is_printed:
            self.print_report(report)
        if not report.is_billed or self._options.quiet:
            return
        cost = report.cost
        if cost.final and outcome.is_printed:
            if self._options.json:
                self.print_report(report)
            else:
                print_output(cost_text(cost))
        if not cost.final and not self._options.json:
            command = safe_text(self._request.list_command(), "bold")
            head = "The bill is not final yet. Show it later with: "
            # A terminal shows ^C where the cursor is.
            echoed = outcome.is_printed and self._errors.is_terminal
            self._errors.print(unwrapped("\n" if echoed else "", head, command))

    def _print_commands(self, report: Report) -> None:
        if self._request.is_open and report.status is Status.COMPLETE:
            return  # the error of the film says how to go on
        head = "Resume with: "
        if report.errors and all(error.remedy is Remedy.FIX_SCENE for error in report.errors):
            for path in _files_to_replace(report, self._request):
                print_output(unwrapped("Correct or replace: ", safe_text(path, "red")))
            head = "Then resume with: "
        command = safe_text(self._request.resume_command(report.run), "bold")
        print_output(unwrapped(head, command))

    def _print_failures(self, report: Report) -> None:
        for failure in group_failures(report):
            if failure.scenes:
                text = f"{', '.join(failure.scenes)}: {first_line(failure.text)}"
                self._errors.print(safe_text(text, "red"), soft_wrap=True)
        if report.film_error is not None:
            text = f"film: {first_line(report.film_error)}"
            self._errors.print(safe_text(text, "red"), soft_wrap=True)


def _files_to_replace(report: Report, request: RunRequest) -> list[str]:
    """Return the input file that made each scene fail, or all files of the scene if unknown."""
    found = dict[str, None]()
    scenes = {scene.get("name", scene.get("scene_name")): scene for scene in request.scenes}
    failed = [entry.scene for entry in report.scenes if entry.error is not None]
    for name, error in zip(failed, report.errors, strict=True):
        scene, field_name = scenes.get(name, {}), getattr(error, "field", "")
        files = {
            key: path
            for key in ("image", "audio", "subtitle")
            if (path := scene.get(key) or scene.get(f"{key}_path"))
        }
        if (path := request.options.files().get(field_name)) is not None:
            files = {field_name: path}
        paths = [files[field_name]] if field_name in files else files.values()
        found |= {short_path(_location(path)): None for path in paths}
    return list(found)[:_MAX_FILES_SHOWN]


def _location(value: object) -> AnyLocation:
    return value if isinstance(value, LOCATION_TYPES) else parse_location(str(value))


def _succeeded(report: Report) -> bool:
    complete = report.status is Status.COMPLETE and report.film_error is None
    return complete and not any(worker.possibly_running for worker in report.workers)
