"""The command-line application: its commands, and the output of errors."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

from cyclopts import App, CycloptsError, Group, Parameter
from rich.console import Console

from cloudburst.cli.output import describe_error, print_error, shared_error_console
from cloudburst.display.terminal_texts import WordWrapped, safe_text
from cloudburst.errors import CloudburstError, ConfigurationError, LaunchError


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - slow to import

    return version("cloudburst-sdk")


AWS = Group("AWS", sort_key=2)
app = App(
    name="cloudburst",
    help="Render scenes into videos, on this machine and on AWS Fargate.",
    version=_version,
    version_flags=["--version"],
    help_format="markdown",
    default_parameter=Parameter(show_default=False),
)
_AWS_SUMMARIES = {
    "init": "Set up an AWS account for tasks, and write .env.",
    "doctor": "Check everything a run needs and print how to fix it.",
    "tasks": "List running tasks and their cost so far.",
    "cleanup": "Stop tasks of runs that no process continues.",
    "logs": "Show the log of a task.",
    "prices": "Show or refresh the price list.",
    "emulate": "Run an emulator of Fargate and S3 on this machine.",
}
_RUN_SUMMARIES = {
    "render": "Render scenes into videos.",
    "demo": "Render a picture-book story of six scenes on this machine.",
    "resume": "Resume a run that was interrupted, or in which scenes failed.",
    "runs": "List the runs of a folder and their state.",
    "plan": "Predict the time and cost of rendering; starts nothing.",
    "frame": "Draw one frame of a video as a picture; renders no video.",
    "film": "Join the finished videos of a folder to one film.",
    "serve": "Serve a page, an API and tools for agents that render videos, until Ctrl-C.",
    "mcp": "Offer tools to an agent that has started this command.",
    "webhooks": "List webhook messages that are not delivered, and replay them.",
}
_IMAGE_SUMMARIES = {
    "build": "Build the container image of the render service, without Docker.",
    "push": "Build the container image and push it to a registry.",
    "show": "List what an image that was built here contains.",
}
"""Summary of each command in the output of ``cloudburst --help``. The ``--help`` of the command
itself shows the command's whole docstring."""
# By name, so that a command is imported on use: importing the engine or boto takes a quarter of a
# second.
for _name, _summary in _AWS_SUMMARIES.items():
    _module = "tasks" if _name in {"cleanup", "logs"} else _name
    app.command(f"cloudburst.cli.{_module}:{_name}_command", name=_name, group=AWS, help=_summary)
for _name, _summary in _RUN_SUMMARIES.items():
    app.command(f"cloudburst.cli.{_name}:{_name}_command", name=_name, help=_summary)
image_app = App(name="image", group=AWS, help="Build and push our container image, without Docker.")
for _name, _summary in _IMAGE_SUMMARIES.items():
    image_app.command(f"cloudburst.cli.image:{_name}_command", name=_name, help=_summary)
app.command(image_app)
_OUTPUT_GONE = {errno.EPIPE: 128 + 13, errno.EIO: 128 + 1}
"""Exit codes by the error number of a write to an output whose reader has gone: those that shells
report for a program that was ended by SIGPIPE (closed pipe) or SIGHUP (closed terminal)."""


def run(argv: Sequence[str]) -> int:
    """Run a command, print its errors to standard error, and return the exit code."""
    with shared_error_console() as console, _logging_to(console):
        _use_docstrings_as_help(argv)
        return _run(argv, console)


def _run(argv: Sequence[str], console: Console) -> int:
    try:
        return app(list(argv), exit_on_error=False, result_action="return_value") or 0
    except CycloptsError:  # cyclopts has printed it
        if "render" in argv[:1] and "--resume" in argv:
            print_error("To resume a run: cloudburst resume --to FOLDER", console)
        return 2
    except (ConfigurationError, LaunchError) as exc:  # before anything was started
        print_error(describe_error(exc), console)
        return 2
    except (CloudburstError, ExceptionGroup) as exc:
        texts = {str(error): error for error in _own_errors(exc)}
        for error in texts.values():
            print_error(describe_error(error), console)
        return 1
    except OSError as exc:
        if exc.errno not in _OUTPUT_GONE:
            raise
        # Python would report an error when it closes the output.
        for output in (sys.stdout, sys.stderr):
            os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
        return _OUTPUT_GONE[exc.errno]


def _use_docstrings_as_help(argv: Sequence[str]) -> None:
    """If ``--help`` is among the arguments, make it print the docstring of the given command.

    By default it prints a one-line summary, because the docstring requires an import.
    """
    arguments = set(argv)
    if arguments.isdisjoint(app.help_flags):
        return
    for name in arguments & (_AWS_SUMMARIES.keys() | _RUN_SUMMARIES.keys()):
        app[name].help = None  # cyclopts then uses the docstring
    if "image" in arguments:
        for name in arguments & _IMAGE_SUMMARIES.keys():
            image_app[name].help = None


def _own_errors(error: Exception) -> Iterator[CloudburstError]:
    """Yield an exception of this package, or all of them if the exception is a group.

    Any other exception is raised: it shows a defect, so its traceback must be printed.
    """
    match error:
        case CloudburstError():
            yield error
        case ExceptionGroup(exceptions=inner):
            for one in inner:
                yield from _own_errors(one)
        case _:
            raise error


class _LogHandler(logging.Handler):
    """Handler that prints records as errors are printed: paths and addresses stay whole."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, with its traceback if it has one."""
        style = "red" if record.levelno >= logging.ERROR else "yellow"
        try:
            text = WordWrapped((record.levelname, style), "  ", safe_text(self.format(record)))
            print_error(text, self._console)
        except Exception:  # noqa: BLE001 - as every handler does
            self.handleError(record)


@contextmanager
def _logging_to(console: Console) -> Generator[None]:
    handler = _LogHandler(console)
    handler.addFilter(lambda record: record.name != "cloudburst.runs")  # the display shows runs
    logger = logging.getLogger()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
