"""Rendering from the command line: the run, the handling of signals, and the output of results."""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
from rich.console import Console

from cloudburst.aws.fargate.run_registry import count_unstopped_tasks, unstopped_tasks_message
from cloudburst.cli.displays import OpenDisplay, ShowEvent
from cloudburst.cli.options import RunOptions
from cloudburst.cli.output import (
    first_line,
    print_output,
    safe_text,
    short_path,
    unwrapped,
    write_line,
)
from cloudburst.cli.progress import RunView
from cloudburst.cli.summary import Summary, group_failures
from cloudburst.client import Client
from cloudburst.concurrency import collapse_single
from cloudburst.earlier_runs import unfinished_run_with
from cloudburst.errors import OutputExistsError, Remedy
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
from cloudburst.models.report import Report, Status
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier
from cloudburst.ports import OpenBackend
from cloudburst.signals import InterruptHandler

RESULTS_FOLDER = Path("cloudburst_results")
"""Default folder of the videos."""
_ALL_STOPPED = (
    "Exited at once. Workers on this machine exit by themselves, and no Fargate task is left."
)
_LAST_MESSAGE_TIMEOUT = 0.5
"""Seconds to wait until standard error accepts the last message before the process exits."""
_WIDTH_WITHOUT_TERMINAL = 160
"""Width of the summary in cells if the output is not a terminal."""
_MAX_FILES_SHOWN = 20
"""Maximum number of input files that are listed for replacement after scenes have failed."""


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
        words = ["cloudburst", "resume", run]
        if self.custom_folder:
            words += ["--to", short_path(absolute_location(self.to))]
        if self.overwrite:
            words.append("--overwrite")
        if self.spot:
            words.append("--spot")
        return shlex.join(words)


@dataclass(slots=True)
class RunOutcome:
    """Result of a run: its report, and the signal that stopped it."""

    report: Report | None = None
    """Report of the run; ``None`` if a signal arrived before anything was started."""
    signum: int | None = None
    """Signal that stopped the run; ``None`` if there was none."""


def run_and_report(request: RunRequest, options: RunOptions) -> int:
    """Render the scenes of a request and print the result; return the exit code."""
    console = Console(stderr=True)
    # Signals are handled until the event loop is closed and the result is printed.
    with interrupt_handler() as signals:
        try:
            outcome = anyio.run(render, request, options.display(console), signals)
        except OutputExistsError as exc:
            names = [path.stem for path in (*exc.paths, *map(PurePosixPath, exc.objects))]
            if request.run is None and (run := unfinished_run_with(request.to, names)):
                command = request.resume_command(run)
                made = "this video" if len(names) == 1 else "videos of these names"
                note = f"Run {run} is not complete; it made {made}.\nResume it with: {command}"
                exc.add_note(note)
            raise
        code = print_result(outcome, options, console, request=request)
        if signals.first_signal is not None:
            signals.ignore_from_now_on()
        return code


async def render(
    request: RunRequest, display: OpenDisplay, signals: InterruptHandler | None = None
) -> RunOutcome:
    """Render all scenes; SIGINT and SIGTERM stop the run.

    Waits until no worker is left, even if an error is raised. A signal two seconds or more after
    the first one exits the process at once, with a message about tasks that are possibly still
    running. Raises the errors of `Client.stream`.

    Args:
        request: Scenes, backend and options.
        display: Display to show the run on.
        signals: Signal handler that is already in use; ``None`` to use `interrupt_handler`.
    """
    outcome, view, work = RunOutcome(), RunView(), anyio.CancelScope()

    def stop() -> None:
        view.stopping = True
        work.cancel()

    context = nullcontext(signals) if signals is not None else interrupt_handler()
    with context as handler, collapse_single(), handler.call_on_first_signal(stop):
        async with display(view) as show:
            with work:
                await _run(request, view, show, outcome)
        outcome.signum = handler.first_signal
    return outcome


def interrupt_handler() -> InterruptHandler:
    """Return a context manager that handles SIGINT and SIGTERM.

    Enter it outside the event loop, so that it also handles signals after the loop has ended.
    """
    return InterruptHandler((signal.SIGINT, signal.SIGTERM), on_later_signal=_exit_now)


async def _run(request: RunRequest, view: RunView, show: ShowEvent, outcome: RunOutcome) -> None:
    async with Client(
        request.backend,
        options=request.options,
        tier=request.tier,
        limits=request.limits,
        timeouts=request.timeouts,
        settings=request.settings,
    ) as client:
        run = None
        try:
            async with client.stream(
                request.scenes,
                to=str(request.to),
                overwrite=request.overwrite,
                name=request.run,
                resume=request.run is not None,
                **_film_arguments(request.film),
            ) as run:
                view.begin(entry.scene for entry in run.report.scenes)
                async for event in run:
                    view.apply(event)
                    await show(event)
            if run.report.cost is not None:
                view.settling = True
                await run.settled()
        finally:
            if run is not None:
                outcome.report = run.report


def _film_arguments(film: FilmRequest | None) -> dict[str, Any]:
    """Return the arguments of `Client.stream` for a film."""
    if film is None:
        return {}
    how = {"transition": film.transition, "transition_seconds": film.transition_seconds}
    return {"film": film.path, **how}


def _exit_now(signum: int) -> None:
    """Exit this process at once, with a message about tasks that are possibly still running.

    Local workers exit, too, because their standard input is closed.
    """
    message = unstopped_tasks_message(count_unstopped_tasks()) or _ALL_STOPPED
    # Shows the cursor again, which the live view has hidden.
    text = ("\x1b[?25h\n" if sys.stderr.isatty() else "") + message + "\n"
    with suppress(OSError, ValueError):  # the reader has gone, or the output is closed
        _, writable, _ = select.select([], [sys.stderr.fileno()], [], _LAST_MESSAGE_TIMEOUT)
        if writable:
            os.write(sys.stderr.fileno(), text.encode())
    os._exit(128 + signum)


def print_result(
    outcome: RunOutcome,
    options: RunOptions,
    errors: Console,
    *,
    request: RunRequest | None = None,
) -> int:
    """Print the report in the requested form; return the exit code.

    Args:
        outcome: Result of the run.
        options: Options that choose the form of the output.
        errors: Console for standard error.
        request: Request of the run, from which the command to resume the run is made; ``None`` to
            print no command.
    """
    report = outcome.report
    if report is not None and options.json:
        write_line(json.dumps({"type": "report"} | report.model_dump(mode="json")))
    elif report is not None and options.quiet:
        _print_failures(report, errors)
    elif report is not None:
        terminal = sys.stdout.isatty() or "COLUMNS" in os.environ
        width = None if terminal else _WIDTH_WITHOUT_TERMINAL
        print_output(Summary(report), width=width)
        incomplete = report.status is not Status.COMPLETE or report.film_error is not None
        if request is not None and incomplete:
            head, command = "Resume with: ", safe_text(request.resume_command(report.run), "bold")
            if report.errors and all(error.remedy is Remedy.FIX_SCENE for error in report.errors):
                for path in _files_to_replace(report, request):
                    print_output(unwrapped("Replace: ", safe_text(path, "red")), width=width)
                head = "Then resume with: "
            print_output(unwrapped(head, command), width=width)
    elif not options.quiet:
        errors.print(safe_text("Interrupted before anything was started.", "yellow"))
    if outcome.signum is not None:
        return 128 + outcome.signum
    return 0 if report is not None and _succeeded(report) else 1


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
    """Return whether videos and film are complete and all tasks are known to have stopped."""
    complete = report.status is Status.COMPLETE and report.film_error is None
    return complete and not any(worker.possibly_running for worker in report.workers)


def _print_failures(report: Report, errors: Console) -> None:
    """Print each cause of failure once, after the names of the scenes that failed from it."""
    for failure in group_failures(report):
        if failure.scenes:
            text = f"{', '.join(failure.scenes)}: {first_line(failure.text)}"
            errors.print(safe_text(text, "red"), soft_wrap=True)
    if report.film_error is not None:
        errors.print(safe_text(f"film: {first_line(report.film_error)}", "red"), soft_wrap=True)
