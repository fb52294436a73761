"""The command-line application: its commands, and the output of errors."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter
from rich.console import Console
from rich.logging import RichHandler

from cloudburst.backends import local
from cloudburst.cli.backend_options import BackendOptions
from cloudburst.cli.film_options import FilmFlags
from cloudburst.cli.look_options import LookOptions
from cloudburst.cli.options import RUN, RunOptions, folder_only, scenes_of
from cloudburst.cli.output import describe_error, print_error, safe_text
from cloudburst.cli.render import RESULTS_FOLDER, RunRequest, run_and_report
from cloudburst.compat import read_settings, timeouts_of
from cloudburst.errors import CloudburstError, ConfigurationError, LaunchError
from cloudburst.models.options import RenderOptions
from cloudburst.models.tier import Tier
from cloudburst.scenes import read_scenes

AWS = Group("AWS", sort_key=2)
app = App(
    name="cloudburst",
    help="Render scenes into videos, on this machine and on AWS Fargate.",
    version=version("cloudburst-sdk"),
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
    "emulate": "Run an emulator of ECS on this machine.",
}
_RUN_SUMMARIES = {
    "resume": "Resume a run that was interrupted, or in which scenes failed.",
    "runs": "List the runs of a folder and their state.",
    "plan": "Predict the time and cost of rendering; starts nothing.",
    "frame": "Draw one frame of a video as a picture; renders no video.",
    "film": "Join the finished videos of a folder to one film.",
}
"""Summary of each command in the output of ``cloudburst --help``. The ``--help`` of the command
itself shows the command's whole docstring."""
# By name, so that a command is imported on use: importing boto takes a quarter of a second.
for _name, _summary in _AWS_SUMMARIES.items():
    app.command(f"cloudburst.cli.{_name}:{_name}_command", name=_name, group=AWS, help=_summary)
for _name, _summary in _RUN_SUMMARIES.items():
    app.command(f"cloudburst.cli.{_name}:{_name}_command", name=_name, help=_summary)
_BROKEN_PIPE = 128 + 13
"""Exit code that shells report for a program that was ended by SIGPIPE."""


@app.command(name="render")
def render_command(
    scenes: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    to: Annotated[Path | None, Parameter(group=RUN, validator=folder_only)] = None,
    overwrite: Annotated[bool, Parameter(negative=(), group=RUN)] = False,
    backend: BackendOptions | None = None,
    video: LookOptions | None = None,
    film: FilmFlags | None = None,
    run_options: RunOptions | None = None,
) -> int:
    """Render scenes into videos.

    SCENES are files (JSON, YAML or CSV), or folders with pictures and audio files of the same
    name. Scenes from several files and folders are rendered in one run.

    Parameters
    ----------
    scenes
        Files or folders of scenes.
    to
        Folder for the videos. Default: RESULTS_DIR, else ./cloudburst_results.
    overwrite
        Replace existing videos.
    """
    settings = read_settings()
    backend, run_options = backend or BackendOptions(), run_options or RunOptions()
    options = (video or LookOptions()).options()
    request = RunRequest(
        scenes=scenes_of(scenes, options),
        to=to or settings.results or RESULTS_FOLDER,
        options=options,
        backend=backend.open_backend(backend.apply_to(settings), workers=run_options.workers),
        tier=backend.selected_tier(),
        limits=replace(run_options.limits(), max_usd=backend.budget),
        overwrite=overwrite,
        film=(film or FilmFlags()).request(),
        custom_folder=to is not None,
        timeouts=timeouts_of(settings),
        spot=backend.spot,
    )
    if backend.deadline is not None or backend.budget is not None:
        from cloudburst.cli.plan_choice import apply_plan  # noqa: PLC0415 - slow to import

        request = apply_plan(request, backend, settings, workers=run_options.workers)
    return run_and_report(request, run_options)


@app.command
def demo(
    *,
    to: Annotated[Path, Parameter(group=RUN, validator=folder_only)] = Path("cloudburst-demo"),
    run_options: RunOptions | None = None,
) -> int:
    """Render a picture-book story of six scenes on this machine.

    Parameters
    ----------
    to
        Folder for the videos. Default: ./cloudburst-demo. Videos of an earlier demo are replaced.
    """
    run_options, story = run_options or RunOptions(), _story_folder()
    request = RunRequest(
        scenes=read_scenes(story),
        to=to,
        options=RenderOptions(watermark=story / "watermark.png"),
        backend=local(workers=run_options.workers),
        tier=Tier.STANDARD,
        limits=run_options.limits(),
        overwrite=True,
        custom_folder=True,
    )
    return run_and_report(request, run_options)


def run(argv: Sequence[str]) -> int:
    """Run a command, print its errors to standard error, and return the exit code."""
    console = Console(stderr=True)
    _log_to(console)
    _use_docstrings_as_help(argv)
    try:
        return app(list(argv), exit_on_error=False, result_action="return_value") or 0
    except CycloptsError:
        return 2  # cyclopts has printed it
    except (ConfigurationError, LaunchError) as exc:  # before anything was started
        print_error(describe_error(exc), console)
        return 2
    except (CloudburstError, ExceptionGroup) as exc:
        texts = {str(error): error for error in _own_errors(exc)}
        for error in texts.values():
            print_error(describe_error(error), console)
        return 1
    except BrokenPipeError:
        # The reader of the output has gone. Python would report an error when it closes the output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE


def _use_docstrings_as_help(argv: Sequence[str]) -> None:
    """If ``--help`` is among the arguments, make it print the docstring of the given command.

    By default it prints a one-line summary, because the docstring requires an import.

    Args:
        argv: Arguments of the command line.
    """
    arguments = set(argv)
    if arguments.isdisjoint(app.help_flags):
        return
    for name in arguments & (_AWS_SUMMARIES.keys() | _RUN_SUMMARIES.keys()):
        app[name].help = None  # cyclopts then uses the docstring


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


def _story_folder() -> Path:
    """Return the folder of the demo's scenes, in the installed package or in a Git checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "story", package.parents[1] / "examples" / "story"):
        if folder.is_dir():
            return folder
    raise ConfigurationError(f"{package / 'story'}: not found; expected the scenes of the demo")


class _PrintableFormatter(logging.Formatter):
    """Formatter that replaces control characters, which names and messages may contain."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message, with its traceback if it has one."""
        return safe_text(super().format(record)).plain


def _log_to(console: Console) -> None:
    """Print the package's warnings and logged errors, above the live view of a run."""
    handler = RichHandler(logging.WARNING, console, show_time=False, show_path=False)
    handler.setFormatter(_PrintableFormatter())
    logging.getLogger("cloudburst").addHandler(handler)
