"""The commands and their options."""

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
from cloudburst.cli.complaints import complaint
from cloudburst.cli.ending import run_job
from cloudburst.cli.options import RUN, Look, Running
from cloudburst.cli.running import RESULTS, Job
from cloudburst.cli.settings import read_settings, timeouts_of
from cloudburst.cli.where import Where
from cloudburst.errors import CloudburstError, ConfigurationError, LaunchError
from cloudburst.models.options import RenderOptions
from cloudburst.models.tier import Tier
from cloudburst.scenes import read_scenes

AWS = Group("AWS", sort_key=2)
app = App(
    name="cloudburst",
    help="Scenes in, videos out: rendered on machines that exist only while they work.",
    version=version("cloudburst-sdk"),
    version_flags=["--version"],
    help_format="markdown",
    default_parameter=Parameter(show_default=False),
)
for _name, _help in {
    "init": "Find or make what tasks need in an account, and write .env.",
    "doctor": "Look at all that a run needs, and tell what mends it.",
    "tasks": "List the tasks that run, and what they have cost so far.",
    "cleanup": "Stop tasks that nobody needs.",
    "logs": "Show what a task wrote.",
    "prices": "Show the price list that counts, or refresh it.",
    "emulate": "Emulate an account on this machine, with a real process for each task.",
}.items():
    # By name: each is imported when it is wanted, for boto takes its time.
    app.command(f"cloudburst.cli.{_name}:{_name}_command", name=_name, group=AWS, help=_help)
app.command(
    "cloudburst.cli.resume:resume_command",
    name="resume",
    help="Go on with a run that was interrupted, or in which scenes have failed.",
)
app.command(
    "cloudburst.cli.runs:runs_command",
    name="runs",
    help="List the runs of a folder, and what has become of them.",
)
app.command(
    "cloudburst.cli.plan:plan_command",
    name="plan",
    help="Say what rendering would take and cost; starts nothing and asks nobody.",
)
_NO_READER = 128 + 13
"""What a shell says of a program that SIGPIPE ended."""


@app.command(name="render")
def render_command(
    scenes: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    to: Annotated[Path | None, Parameter(group=RUN)] = None,
    overwrite: Annotated[bool, Parameter(negative=(), group=RUN)] = False,
    where: Where | None = None,
    look: Look | None = None,
    running: Running | None = None,
) -> int:
    """Render scenes into videos.

    SCENES are files (JSON, YAML or CSV) or folders with pictures and sounds of the same name;
    the scenes of several of them make one run.

    Parameters
    ----------
    scenes
        Files or folders of scenes.
    to
        Folder for the videos. Default: RESULTS_DIR, else ./cloudburst_results.
    overwrite
        Replace videos that exist.
    """
    settings, running, where = read_settings(), running or Running(), where or Where()
    job = Job(
        scenes=[scene for path in scenes for scene in read_scenes(path)],
        to=to or settings.results or RESULTS,
        options=(look or Look()).options(),
        backend=where.opener(where.asked(settings), workers=running.workers),
        tier=where.size(),
        limits=replace(running.limits(), max_usd=where.budget),
        overwrite=overwrite,
        elsewhere=to is not None,
        timeouts=timeouts_of(settings),
        spot=where.spot,
    )
    if where.deadline is not None or where.budget is not None:
        from cloudburst.cli.choice import as_planned  # noqa: PLC0415 - reads what others need not

        job = as_planned(job, where, settings, workers=running.workers)
    return run_job(job, running)


@app.command
def demo(
    *,
    to: Annotated[Path, Parameter(group=RUN)] = Path("cloudburst-demo"),
    running: Running | None = None,
) -> int:
    """Render a picture-book story of six scenes on this machine.

    Parameters
    ----------
    to
        Folder for the videos, ./cloudburst-demo unless given; those of an earlier demo in it are
        replaced.
    """
    running, story = running or Running(), _story()
    job = Job(
        scenes=read_scenes(story),
        to=to,
        options=RenderOptions(watermark=story / "watermark.png"),
        backend=local(workers=running.workers),
        tier=Tier.STANDARD,
        limits=running.limits(),
        overwrite=True,
        elsewhere=True,
    )
    return run_job(job, running)


def run(argv: Sequence[str]) -> int:
    """Run a command; returns the exit code and tells errors on the standard error output."""
    console = Console(stderr=True)
    _log_to(console)
    try:
        return app(list(argv), exit_on_error=False, result_action="return_value") or 0
    except CycloptsError:
        return 2  # told already
    except (ConfigurationError, LaunchError) as exc:  # before anything was started
        console.print(complaint(exc))
        return 2
    except (CloudburstError, ExceptionGroup) as exc:
        for error in _told(exc):
            console.print(complaint(error))
        return 1
    except BrokenPipeError:
        # The reader of our output has gone. Python would complain when it closes the output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NO_READER


def _told(error: Exception) -> Iterator[CloudburstError]:
    """The errors in a group that are ours; others are defects and leave with their traceback."""
    match error:
        case CloudburstError():
            yield error
        case ExceptionGroup(exceptions=inner):
            for one in inner:
                yield from _told(one)
        case _:
            raise error


def _story() -> Path:
    """The story that comes with the package; in a checkout it lies among the examples."""
    package = Path(__file__).parents[1]
    for folder in (package / "story", package.parents[1] / "examples" / "story"):
        if folder.is_dir():
            return folder
    raise ConfigurationError(f"{package / 'story'}: not found; expected the scenes of the demo")


def _log_to(console: Console) -> None:
    """Warnings of the package, above the picture that moves."""
    handler = RichHandler(logging.WARNING, console, show_time=False, show_path=False)
    logging.getLogger("cloudburst").addHandler(handler)
