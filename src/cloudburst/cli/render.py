"""``cloudburst render``: the run, the handling of signals, and the wait for its bill."""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from functools import partial
from pathlib import PurePosixPath
from typing import Annotated, Any

import anyio
import anyio.to_thread
from cyclopts import Parameter

from cloudburst.aws.fargate.run_registry import (
    count_unstopped_tasks,
    orphans_message,
    unstopped_tasks_message,
)
from cloudburst.cli.backend_options import BackendOptions
from cloudburst.cli.look_options import LookOptions
from cloudburst.cli.options import (
    RESULTS_FOLDER,
    RUN,
    FilmFlags,
    FolderOption,
    RunOptions,
    scenes_of,
)
from cloudburst.cli.output import error_console, print_error
from cloudburst.cli.result import ResultPrinter, RunOutcome, RunRequest
from cloudburst.client.client import Client
from cloudburst.concurrency import collapse_single
from cloudburst.display.displays import Display, OpenDisplay
from cloudburst.display.live_view import ShownRun
from cloudburst.display.terminal_texts import WordWrapped
from cloudburst.errors import OutputExistsError
from cloudburst.inputs.remote_inputs import open_remote_inputs
from cloudburst.models.film import FilmOptions, FilmRequest
from cloudburst.models.settings import Settings
from cloudburst.outputs.earlier_runs import unfinished_run_with
from cloudburst.programs import InterruptHandler, stop_signals

_ALL_STOPPED = (
    "Exited at once. Workers on this machine exit by themselves, and no Fargate task is left."
)
_LAST_MESSAGE_TIMEOUT = 0.5
"""Seconds to wait until standard error accepts the last message before the process exits."""


def run_and_report(request: RunRequest, options: RunOptions) -> int:
    """Render the scenes of a request and print the result; return the exit code."""
    console = error_console()
    printer = ResultPrinter(options, console, request)
    # Signals are handled until the event loop is closed and the result is printed.
    with interrupt_handler() as signals:
        try:
            outcome = anyio.run(render, request, options.display(console), printer, signals)
        except OutputExistsError as exc:
            names = [path.stem for path in (*exc.paths, *map(PurePosixPath, exc.objects))]
            if request.run is None and (run := unfinished_run_with(request.to, names)):
                command = request.resume_command(run)
                made = "this video" if len(names) == 1 else "videos of these names"
                note = f"Run {run} is not complete; it made {made}.\nResume it with: {command}"
                exc.add_note(note)
            raise
        printer.print_rest(outcome)
        printer.write_page(outcome.report)
        if message := anyio.run(orphans_message):
            print_error(WordWrapped((message, "yellow")), console)
        if signals.first_signal is not None:
            signals.ignore_from_now_on()
        return outcome.exit_code


async def render(
    request: RunRequest,
    display: OpenDisplay,
    printer: ResultPrinter,
    signals: InterruptHandler,
) -> RunOutcome:
    """Render all scenes; SIGINT, SIGTERM and SIGHUP stop the run.

    Waits until the stop of every worker is accepted, even if an error is raised. If workers are
    billed, the report is printed then, and the call waits until the bill is final; a signal ends
    this wait and changes nothing else. Otherwise, the caller prints the report. A signal two
    seconds or more after the first one exits the process at once, with a message about tasks that
    are possibly still running. Raises the errors of `Client.stream`.
    """
    outcome, shown, work = RunOutcome(), ShownRun(), anyio.CancelScope()

    def stop() -> None:
        shown.stopping = True
        work.cancel()

    with collapse_single(), signals.call_on_first_signal(stop):
        async with display(shown) as opened:
            with work:
                await _run(request, shown, opened, printer, outcome)
        if not outcome.is_printed:  # otherwise the run had ended before the signal
            outcome.signum = signals.first_signal
    return outcome


def interrupt_handler() -> InterruptHandler:
    """Return a context manager that handles SIGINT, SIGTERM and SIGHUP.

    Enter it outside the event loop, so that it also handles signals after the loop has ended.
    """
    return InterruptHandler(stop_signals(), on_later_signal=_exit_now)


async def _run(
    request: RunRequest,
    shown: ShownRun,
    display: Display,
    printer: ResultPrinter,
    outcome: RunOutcome,
) -> None:
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
                **film_arguments(request.film),
            ) as run:
                shown.begin(run)
                async for event in run:
                    await display.show(event)
        finally:
            if run is not None:
                outcome.report = await run.report()
        await _settle(outcome, display, printer)


async def _settle(outcome: RunOutcome, display: Display, printer: ResultPrinter) -> None:
    """Print the report if its bill is not final, and wait until it is."""
    report = outcome.report
    if report is None or report.cost.final or not printer.prints_bill:
        return
    await display.hide()
    outcome.is_printed = True

    show = partial(printer.print_report, report, waits=True)
    # Abandoned on cancellation, so that a pager that does not read does not block the end.
    await anyio.to_thread.run_sync(show, abandon_on_cancel=True)
    outcome.report = await report.settled()


def film_arguments(film: FilmRequest | None) -> dict[str, Any]:
    """Return the arguments of `FilmOptions` for a film."""
    if film is None:
        return {}
    how = FilmOptions.__annotations__.keys() - {"film"}
    return {"film": film.path, **{name: getattr(film, name) for name in how}}


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


def render_command(
    scenes: Annotated[list[str], Parameter(negative=())],
    /,
    *,
    to: Annotated[FolderOption | None, Parameter(group=RUN)] = None,
    overwrite: Annotated[bool, Parameter(negative=(), group=RUN)] = False,
    backend: BackendOptions | None = None,
    video: LookOptions | None = None,
    film: FilmFlags | None = None,
    run_options: RunOptions | None = None,
) -> int:
    """Render scenes into videos.

    Of the options for the look and the film, only the names are listed below: cloudburst
    --help-looks describes them. Those of a scene in its file replace those of the command line.

    $ cloudburst render scenes.json --to videos
    $ cloudburst render folder/ --size portrait --film story.mp4
    $ cloudburst render s3://films/in/ --to s3://films/out/ --budget 0.50

    Parameters
    ----------
    scenes
        Files (JSON, YAML or CSV), or folders with pictures and audio files of the same name; also
        in S3, such as s3://bucket/folder/. All are rendered in one run.
    to
        Folder for the videos, also in S3. Default: RESULTS_DIR, else ./cloudburst_results.
    overwrite
        Replace existing videos.
    """
    settings = Settings()
    backend, run_options = backend or BackendOptions(), run_options or RunOptions()
    options = (video or LookOptions()).options()
    with open_remote_inputs(settings) as remote:
        found = scenes_of(scenes, options, remote)
    request = RunRequest(
        scenes=found,
        to=to or settings.results or RESULTS_FOLDER,
        options=options,
        backend=backend.open_backend(backend.apply_to(settings), workers=run_options.workers),
        tier=backend.selected_tier(),
        limits=backend.limits(run_options.limits()),
        overwrite=overwrite,
        film=(film or FilmFlags()).request(),
        custom_folder=to is not None,
        timeouts=settings.timeouts(),
        spot=backend.spot,
        settings=settings,
    )
    if backend.deadline is not None or backend.budget is not None:
        from cloudburst.cli.plan import apply_plan  # noqa: PLC0415 - slow to import

        request = apply_plan(request, backend, settings, workers=run_options.workers)
    return run_and_report(request, run_options)
