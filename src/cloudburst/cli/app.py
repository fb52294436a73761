"""The command-line application: its commands, and the output of errors."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from cyclopts import App, CycloptsError, Group, Parameter, UnusedCliTokensError
from rich.console import Console

from cloudburst.cli.help_pages import HelpPages
from cloudburst.cli.output import describe_error, print_error, shared_error_console
from cloudburst.display.language import translate
from cloudburst.display.terminal_texts import WordWrapped, safe_text
from cloudburst.errors import CloudburstError, ConfigurationError, LaunchError

_HELP_LOOKS = "--help-looks"


def _version() -> str:
    import platform  # noqa: PLC0415 - only for --version
    from importlib.metadata import version  # noqa: PLC0415 - slow to import

    system = f"{platform.system()} {platform.machine()}"
    return f"{version('cloudburst-sdk')} (Python {platform.python_version()}, {system})"


app = App(
    name="cloudburst",
    help=(
        "Render scenes into videos, on this machine and on AWS Fargate.\n\n"
        "$ cloudburst demo --film story.mp4\n"
        "$ cloudburst render scenes.json --to videos\n\n"
        "cloudburst COMMAND --help describes a command."
    ),
    version=_version,
    version_format="rich",
    help_format="plaintext",
    help_formatter=HelpPages(),
    group_commands=Group("Options", sort_key=9),
    group_parameters=Group("Options", sort_key=9),
    default_parameter=Parameter(show_default=False),
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
)
_SUMMARIES = {
    "Start here": {
        "demo": "Render a picture-book story of two scenes on this machine.",
        "render": "Render scenes into videos.",
        "plan": "Predict the time and cost of rendering; starts nothing.",
    },
    "Then": {
        "film": "Join the finished videos of a folder to one film.",
        "frame": "Draw one frame of a video as a picture; renders no video.",
        "report": "Write a page about a run: its videos, times, bill and problems.",
        "resume": "Resume a run that was interrupted, or in which scenes failed.",
        "runs": "List the runs of a folder and their state.",
        "serve": "Serve a page, an API and tools for agents, until Ctrl-C.",
        "mcp": "Offer tools to an agent that has started this command.",
        "webhooks": "List webhook messages that are not delivered; replay them.",
    },
    "AWS": {
        "init": "Set up an AWS account for tasks, and write .env.",
        "doctor": "Check everything a run needs and print how to fix it.",
        "tasks": "List running tasks and their cost so far.",
        "cleanup": "Stop tasks of runs that no process continues.",
        "logs": "Show the log of a task.",
        "prices": "Show or refresh the price list.",
        "image": "Build and push our container image, without Docker.",
        "emulate": "Run an emulator of Fargate and S3 on this machine.",
    },
}
"""Summary of each command in the output of ``cloudburst --help``, by groups. The ``--help`` of the
command itself shows the command's whole docstring."""
_MODULES = {"cleanup": "tasks", "logs": "tasks"}
"""Modules of commands that have none of their own name."""
# By name, so that a command is imported on use: importing the engine or boto takes a quarter of a
# second.
for _order, (_title, _commands) in enumerate(_SUMMARIES.items()):
    _group = Group(_title, sort_key=_order)
    for _place, (_name, _summary) in enumerate(_commands.items()):
        _how: dict[str, Any] = {"group": _group, "help": _summary, "sort_key": _place}
        if _name == "film":
            _how["help_formatter"] = HelpPages(whole=True)
        _module = f"cloudburst.cli.{_MODULES.get(_name, _name)}"
        app.command(f"{_module}:{_name}_command", name=_name, **_how)
app.command(
    "cloudburst.cli.look_options:looks_command",
    name=_HELP_LOOKS,
    help="Describe the options for the look of videos.",
    help_formatter=HelpPages(whole=True),
)
app.register_install_completion_command(  # pyright: ignore[reportUnknownMemberType]
    help="Let bash, zsh or fish complete the commands."
)
_OUTPUT_GONE = {errno.EPIPE: 128 + 13, errno.EIO: 128 + 1}
"""Exit codes by the error number of a write to an output whose reader has gone: those that shells
report for a program that was ended by SIGPIPE (closed pipe) or SIGHUP (closed terminal)."""


def run(argv: Sequence[str]) -> int:
    """Run a command, print its errors to standard error, and return the exit code."""
    with shared_error_console() as console, _logging_to(console):
        return _run(_with_whole_help(argv), console)


def _run(argv: Sequence[str], console: Console) -> int:
    try:
        return app(list(argv)) or 0
    except CycloptsError as exc:
        print_error(WordWrapped(safe_text(translate(_usage_error(exc)), "red")), console)
        if "render" in argv[:1] and "--resume" in argv:
            print_error(translate("To resume a run: cloudburst resume --to FOLDER"), console)
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


def _usage_error(exc: CycloptsError) -> str:
    """Return what is wrong with the words of a command, and where the valid ones are."""
    text, words = str(exc), ("cloudburst", *(exc.command_chain or ()))
    if isinstance(exc, UnusedCliTokensError) and exc.unused_tokens and exc.app:
        found = exc.unused_tokens[0]
        text = f"{found!r}; expected no further argument"
        before = {word: before for before, word in pairwise(exc.root_input_tokens or ())}
        for option in exc.app.assemble_argument_collection():
            if before.get(found) in option.names:
                expected = " or ".join(option.names)
                text = f"{option.name}: {found!r}; expected {expected}, without a value"
    return f"{text}\n{' '.join(words)} --help shows what is valid."


def _with_whole_help(argv: Sequence[str]) -> Sequence[str]:
    """Return the arguments; if they ask for help, it is the docstring of the command.

    By default it is a one-line summary, because the docstring requires an import.
    """
    if _HELP_LOOKS in argv:
        argv = [_HELP_LOOKS, "--help"]
    names = set(argv)
    if not names.isdisjoint(app.help_flags):
        for name in names & {_HELP_LOOKS}.union(*_SUMMARIES.values()):
            if app[name].default_command:
                app[name].help = None  # cyclopts then uses the docstring
    return argv


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
