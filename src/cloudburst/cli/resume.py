"""``cloudburst resume``: continues a run from its journal."""

from __future__ import annotations

import shlex
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from cloudburst.cli.backend_options import BackendOptions
from cloudburst.cli.options import RUN, RunOptions, folder_only
from cloudburst.cli.output import pluralize, print_output, safe_text, short_path, unwrapped
from cloudburst.cli.render import RESULTS_FOLDER, RunRequest, run_and_report
from cloudburst.compat import read_settings, timeouts_of
from cloudburst.earlier_runs import (
    folders_to_search,
    is_complete,
    missing_videos,
    runs_in,
    successor,
)
from cloudburst.errors import ConfigurationError
from cloudburst.film.fingerprint import read_fingerprint
from cloudburst.journal import JournalState, is_run_name, journal_path, read_journal
from cloudburst.models.film import FilmRequest
from cloudburst.models.limits import Limits
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol
from cloudburst.outputs import active_runs

_BACKENDS: dict[tuple[str, ...], str] = {
    ("local",): "local",
    ("fargate",): "fargate",
    ("local", "fargate"): "burst",
}
"""Value of ``--backend`` for each combination of backends that a journal can name."""


def resume_command(
    run: str | None = None,
    /,
    *,
    to: Annotated[Path | None, Parameter(group=RUN, validator=folder_only)] = None,
    overwrite: Annotated[bool, Parameter(negative=(), group=RUN)] = False,
    backend: Annotated[str | None, Parameter(group=RUN)] = None,
    protocol: Annotated[Protocol, Parameter(group=RUN)] = Protocol.ONESTEP,
    spot: Annotated[bool, Parameter(negative=(), group=RUN)] = False,
    budget: Annotated[
        Decimal | None,
        Parameter(name=["--budget", "--max-usd"], validator=Number(gt=0), group=RUN),
    ] = None,
    run_options: RunOptions | None = None,
) -> int:
    """Resume a run that was interrupted, or in which scenes failed.

    Existing videos are kept, unless their inputs have changed. Tasks that still run are used again
    or stopped. Scenes, look, size of tasks and limits are those with which the run was started;
    keys and credentials come from the environment.

    Parameters
    ----------
    run
        Name of the run, as `cloudburst runs` lists it. Default: the newest incomplete run.
    to
        Folder of the videos. Default: RESULTS_DIR, else ./cloudburst_results.
    overwrite
        Replace files that have the names of the videos but are not from this run.
    backend
        Backend, as for `render`. Default: the backend with which the run was started.
    protocol
        Protocol of the containers, if --backend names addresses.
    spot
        Use Fargate Spot for new tasks.
    budget
        Largest bill in USD, including the tasks of earlier processes of the run: nothing is
        started that would take the bill over it.
    """
    settings, run_options = read_settings(), run_options or RunOptions()
    folder = to or settings.results or RESULTS_FOLDER
    named = run is not None
    run, folder, state = _find_run(run, folder.absolute(), custom_folder=to is not None)
    custom_folder = to is not None or folder != _default_folder(settings)
    process = state.processes[-1]
    if is_complete(state):
        missing = missing_videos(state, folder)
        # Videos that were only moved away are rendered again only if the run is named.
        has_work = named if missing else _lacks_film(process.film)
        if not has_work:
            _print_complete(run, folder, state, missing=len(missing), custom_folder=custom_folder)
            return 0
    limits = _limits(process.limits, run_options, budget)
    # The default limit is not passed on, so that this machine uses its own default.
    workers = run_options.workers
    if workers is None and limits.workers != Limits().workers:
        workers = limits.workers
    backend_options = BackendOptions(
        backend=backend or _backend_name(process.backends), protocol=protocol, spot=spot
    )
    request = RunRequest(
        scenes=[entry.scene.model_dump() for entry in state.scenes.values()],
        to=folder,
        options=process.options,
        backend=backend_options.open_backend(backend_options.apply_to(settings), workers=workers),
        tier=process.tier,
        limits=limits,
        overwrite=overwrite,
        film=process.film,
        run=run,
        custom_folder=custom_folder,
        timeouts=timeouts_of(settings),
        spot=spot,
    )
    return run_and_report(request, run_options)


def _lacks_film(film: FilmRequest | None) -> bool:
    """Return whether a film was requested that does not exist."""
    return film is not None and read_fingerprint(film.path) is None


def _print_complete(
    run: str, folder: Path, state: JournalState, *, missing: int, custom_folder: bool
) -> None:
    videos = pluralize(len(state.results), "video")
    path = safe_text(short_path(folder))
    print_output(unwrapped(f"Run {run} is complete: {videos} in ", path))
    if missing:
        verb = "is" if missing == 1 else "are"
        print_output(safe_text(f"{missing} of them {verb} missing or changed.", "yellow"))
        to = ["--to", short_path(folder)] if custom_folder else []
        command = safe_text(shlex.join(["cloudburst", "resume", run, *to]), "bold")
        print_output(unwrapped("Render again with: ", command))


def _default_folder(settings: Settings) -> Path:
    return (settings.results or RESULTS_FOLDER).absolute()


def _limits(limits: Limits, options: RunOptions, budget: Decimal | None) -> Limits:
    if options.workers is not None:
        limits = replace(limits, workers=options.workers)
    return limits if budget is None else replace(limits, max_usd=budget)


def _backend_name(names: tuple[str, ...]) -> str:
    if (known := _BACKENDS.get(names)) is not None:
        return known
    msg = (
        f"the run was started on {', '.join(names)}, whose addresses and keys are not saved: "
        "name them with --backend"
    )
    raise ConfigurationError(msg)


def _find_run(
    run: str | None, folder: Path, *, custom_folder: bool
) -> tuple[str, Path, JournalState]:
    """Return name, folder and journal state of a run; find a run to resume if ``run`` is ``None``.

    Raises:
        ConfigurationError: There is no such run.
    """
    if run is None:
        return _newest_run(folder)
    for candidate in folders_to_search(folder) if is_run_name(run) else ():
        path = journal_path(candidate, run)
        if path.is_file():
            state = read_journal(path)
            if state.processes:
                return run, candidate, state
    hint = "list the runs with: cloudburst runs"
    hint += "" if custom_folder else "; name the folder of the videos with --to"
    raise ConfigurationError(f"there is no run {run} in {short_path(folder)}: {hint}")


def _newest_run(folder: Path) -> tuple[str, Path, JournalState]:
    """Return the newest run that can be resumed, or the newest run if none needs to be resumed.

    A run need not be resumed if it is complete or a later run made its videos.

    Raises:
        ConfigurationError: There is no run, or other processes continue all incomplete runs.
    """
    found, superseded = list[tuple[str, Path, JournalState]](), set[tuple[str, Path]]()
    for candidate in folders_to_search(folder):
        runs = runs_in(candidate)
        found += [(run, candidate, state) for run, state in runs]
        superseded |= {(run, candidate) for run, state in runs if successor(state, runs)}
    found.sort(key=lambda one: one[2].processes[0].started_at, reverse=True)
    if not found:
        raise ConfigurationError(f"there is no run in {short_path(folder)}")
    incomplete = [one for one in found if not is_complete(one[2]) and one[:2] not in superseded]
    if not incomplete:
        return found[0]
    active = {candidate: active_runs(candidate) for _, candidate, _ in incomplete}
    for run, candidate, state in incomplete:
        if run not in active[candidate]:
            return run, candidate, state
    run, candidate, _ = incomplete[0]
    raise ConfigurationError(f"run {run} is in progress: {active[candidate][run]} continues it")
