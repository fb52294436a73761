"""``cloudburst resume``: go on with a run, by what it has written down."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.text import Text

from cloudburst.cli.ending import run_job
from cloudburst.cli.options import RUN, Running
from cloudburst.cli.running import RESULTS, Job
from cloudburst.cli.settings import read_settings, timeouts_of
from cloudburst.cli.where import Where
from cloudburst.cli.words import count, short_path, shown
from cloudburst.errors import ConfigurationError
from cloudburst.journal import Past, journal_path, read_past
from cloudburst.models.policy import Limits
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol
from cloudburst.outputs import holders
from cloudburst.resuming import is_complete, missing, pasts

_BACKENDS: dict[tuple[str, ...], str] = {
    ("local",): "local",
    ("fargate",): "fargate",
    ("local", "fargate"): "burst",
}
"""What to ask for to get the backends that a journal names."""


def resume_command(
    run: str | None = None,
    /,
    *,
    to: Annotated[Path | None, Parameter(group=RUN)] = None,
    overwrite: Annotated[bool, Parameter(negative=(), group=RUN)] = False,
    backend: Annotated[str | None, Parameter(group=RUN)] = None,
    protocol: Annotated[Protocol, Parameter(group=RUN)] = Protocol.ONESTEP,
    spot: Annotated[bool, Parameter(negative=(), group=RUN)] = False,
    budget: Annotated[
        Decimal | None,
        Parameter(name=["--budget", "--max-usd"], validator=Number(gt=0), group=RUN),
    ] = None,
    running: Running | None = None,
) -> int:
    """Go on with a run that was interrupted, or in which scenes have failed.

    Videos that are there are not made again, unless what goes into them has changed. Tasks that
    still run are taken over, or stopped. Scenes, looks, size of tasks and limits are those that the
    run began with; keys and credentials come from the environment.

    Parameters
    ----------
    run
        Its name, as `cloudburst runs` lists it. Default: the newest that is not complete.
    to
        The folder of its videos. Default: RESULTS_DIR, else ./cloudburst_results.
    overwrite
        Replace files that are there in place of its videos.
    backend
        Where to render, as for `render`. Default: where the run began.
    protocol
        What containers speak whose addresses are given.
    spot
        Fargate Spot for tasks that are started now.
    budget
        In USD. Begin nothing by which the bill of all its tasks, earlier ones too, would pass this.
    """
    settings, running = read_settings(), running or Running()
    folder = to or settings.results or RESULTS
    named = run is not None
    run, folder, past = _chosen(run, folder.absolute(), elsewhere=to is not None)
    elsewhere = to is not None or folder != _default(settings)
    if is_complete(past):
        gone = missing(past, folder)
        # Videos that were only moved away shall not be paid for once more unless that is said.
        if not gone or not named:
            _tell_complete(run, folder, past, gone=len(gone), elsewhere=elsewhere)
            return 0
    life = past.lives[-1]
    limits = _limits(life.limits, running, budget)
    # A limit that is the usual one is no wish: this machine has its own.
    workers = running.workers or (None if limits.workers == Limits().workers else limits.workers)
    where = Where(backend=backend or _backend(life.backends), protocol=protocol, spot=spot)
    job = Job(
        scenes=[entry.scene.model_dump() for entry in past.scenes.values()],
        to=folder,
        options=life.options,
        backend=where.opener(where.asked(settings), workers=workers),
        tier=life.tier,
        limits=limits,
        overwrite=overwrite,
        run=run,
        elsewhere=elsewhere,
        timeouts=timeouts_of(settings),
        spot=spot,
    )
    return run_job(job, running)


def _tell_complete(run: str, folder: Path, past: Past, *, gone: int, elsewhere: bool) -> None:
    console = Console(highlight=False)
    videos = count(len(past.results), "video")
    console.print(shown(f"Run {run} is complete: {videos} in {short_path(folder)}"))
    if gone:
        verb = "is" if gone == 1 else "are"
        console.print(shown(f"{gone} of them {verb} gone or changed since.", "yellow"))
        to = f" --to {shlex.quote(short_path(folder))}" if elsewhere else ""
        again = Text.assemble("Again: ", (f"cloudburst resume {run}{to}", "bold"))
        # Not wrapped: it is there to be copied.
        console.print(again, soft_wrap=True)


def _default(settings: Settings) -> Path:
    return (settings.results or RESULTS).absolute()


def _limits(limits: Limits, running: Running, budget: Decimal | None) -> Limits:
    if running.workers is not None:
        limits = replace(limits, workers=running.workers)
    return limits if budget is None else replace(limits, max_usd=budget)


def _backend(names: tuple[str, ...]) -> str:
    if (known := _BACKENDS.get(names)) is not None:
        return known
    msg = (
        f"the run began on {', '.join(names)}, whose addresses and keys are not written down: "
        "say --backend"
    )
    raise ConfigurationError(msg)


def _chosen(run: str | None, folder: Path, *, elsewhere: bool) -> tuple[str, Path, Past]:
    """Name, folder and past of the run that is meant."""
    if run is None:
        return _newest(folder)
    for home in _homes(folder):
        path = journal_path(home, run)
        if path.is_file():
            past = read_past(path)
            if past.lives:
                return run, home, past
    hint = "cloudburst runs lists those that are there"
    hint += "" if elsewhere else "; --to says in which folder a run's videos are"
    raise ConfigurationError(f"there is no run {run} in {short_path(folder)}: {hint}")


def _newest(folder: Path) -> tuple[str, Path, Past]:
    """The newest that is neither complete nor alive."""
    found = [(run, home, past) for home in _homes(folder) for run, past in pasts(home)]
    found.sort(key=lambda one: one[2].lives[0].began, reverse=True)
    if not found:
        raise ConfigurationError(f"there is no run in {short_path(folder)}")
    waiting = [one for one in found if not is_complete(one[2])]
    if not waiting:
        return found[0]
    alive = {home: holders(home) for _, home, _ in waiting}
    for run, home, past in waiting:
        if run not in alive[home]:
            return run, home, past
    run, home, _ = waiting[0]
    raise ConfigurationError(f"run {run} goes on: {alive[home][run]} works on it")


def _homes(folder: Path) -> Iterator[Path]:
    """The folder, and those of its folders in which there are runs."""
    yield folder
    yield from sorted(path.parent for path in folder.glob("*/.cloudburst"))
