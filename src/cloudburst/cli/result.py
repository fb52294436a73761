"""Result of a run on the command line: its request, its summary, and its exit code."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from cloudburst.cli.options import RunOptions
from cloudburst.cli.output import print_output, write_json
from cloudburst.display.language import say
from cloudburst.display.summary import cost_text, summary
from cloudburst.display.terminal_texts import safe_text, unwrapped
from cloudburst.display.texts import first_line, short_path
from cloudburst.engine.failure_groups import failures_of
from cloudburst.errors import ConfigurationError, Remedy
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
from cloudburst.ports.backend import OpenBackend

logger = logging.getLogger(__name__)


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
        flags = {"--overwrite": self.overwrite, "--spot": self.spot}
        given = [name for name, value in flags.items() if value]
        return shlex.join(["cloudburst", "resume", run, *self._folder_words(), *given])

    def list_command(self) -> str:
        """Return the command that lists the runs of the folder."""
        return shlex.join(["cloudburst", "runs", *self._folder_words()])

    def _folder_words(self) -> list[str]:
        return ["--to", short_path(absolute_location(self.to))] if self.custom_folder else []


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
        report = self.report
        if report is None or report.status is not Status.COMPLETE or report.film_error is not None:
            return 1
        return int(any(worker.possibly_running for worker in report.workers))


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

    def print_report(self, report: Report, *, waits: bool = False) -> None:
        """Print the report, and that the program waits until its bill is final, if it does."""
        if self._options.json:
            write_json({"type": "report"} | report.model_dump(mode="json"))
        elif self._options.quiet:
            self._print_failures(report)
        else:
            print_output(summary(report))
            if report.status is not Status.COMPLETE or report.film_error is not None:
                self._print_commands(report)
        if waits and not self._options.json:
            self._errors.print(Text(say(_WAIT), "dim"), soft_wrap=True)

    def print_rest(self, outcome: RunOutcome) -> None:
        """Print what was not printed during the run: the report, or only its final bill."""
        report = outcome.report
        if report is None:
            if not self._options.quiet:
                text = say("Interrupted before anything was started.")
                self._errors.print(Text(text, "yellow"))
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
            head = say("The bill is not final yet. Show it later with: ")
            # A terminal shows ^C where the cursor is.
            echoed = outcome.is_printed and self._errors.is_terminal
            self._errors.print(unwrapped("\n" if echoed else "", head, command))

    def write_page(self, report: Report | None) -> None:
        """Write the page about the run beside its videos, and print where it is.

        Nothing is written for a run in which no scene has ended, or whose videos are in S3.
        """
        to = absolute_location(self._request.to)
        if report is None or not (report.videos or report.errors) or not isinstance(to, Path):
            return
        from cloudburst.display.report_page import NAME, write_report  # noqa: PLC0415 - slow to import

        try:
            path = write_report(report, to / NAME, to=to)
        except (ConfigurationError, OSError) as exc:
            logger.warning("no report was written: %s", exc)
            return
        if not (self._options.quiet or self._options.json):
            print_output(unwrapped(say("Report: "), safe_text(short_path(path), "green")))

    def _print_commands(self, report: Report) -> None:
        if self._request.is_open and report.status is Status.COMPLETE:
            return  # the error of the film says how to go on
        head = say("Resume with: ")
        if report.errors and all(error.remedy is Remedy.FIX_SCENE for error in report.errors):
            for path in _files_to_replace(report, self._request):
                print_output(unwrapped(say("Correct or replace: "), safe_text(path, "red")))
            head = say("Then resume with: ")
        command = safe_text(self._request.resume_command(report.run), "bold")
        print_output(unwrapped(head, command))

    def _print_failures(self, report: Report) -> None:
        for failure in failures_of(report):
            if failure.scenes:
                text = f"{', '.join(failure.scenes)}: {first_line(failure.message)}"
                self._errors.print(safe_text(text, "red"), soft_wrap=True)
        if report.film_error is not None:
            text = say("film: {}", first_line(report.film_error))
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
