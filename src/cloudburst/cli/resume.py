"""``cloudburst resume``: continues a run from its journal."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from cloudburst.cli.backend_options import WorkerOptions
from cloudburst.cli.options import RESULTS_FOLDER, RUN, FilmFlags, FolderOption, RunOptions
from cloudburst.cli.output import print_output
from cloudburst.cli.render import run_and_report
from cloudburst.cli.result import RunRequest
from cloudburst.cli.tasks import cleanup_command
from cloudburst.display.terminal_texts import safe_text, unwrapped
from cloudburst.display.texts import pluralize, short_path
from cloudburst.errors import ConfigurationError
from cloudburst.film.plan import read_fingerprint
from cloudburst.inputs.remote_inputs import open_remote_inputs
from cloudburst.inputs.scene_folders import S3Folder
from cloudburst.models.film import FilmRequest
from cloudburst.models.journal_entries import SCENES_ARE_MISSING, JournalState
from cloudburst.models.limits import Limits
from cloudburst.models.locations import OutputFolder, absolute_location
from cloudburst.models.settings import Settings
from cloudburst.outputs.earlier_runs import is_complete, missing_videos, runs_in, successor
from cloudburst.outputs.folder import active_runs
from cloudburst.outputs.journal.reader import (
    folders_with_journals,
    is_run_name,
    journal_folder,
    journal_path,
    read_journal,
)

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
    to: Annotated[FolderOption | None, Parameter(group=RUN)] = None,
    overwrite: Annotated[bool, Parameter(negative=(), group=RUN)] = False,
    backend: WorkerOptions | None = None,
    film: FilmFlags | None = None,
    run_options: RunOptions | None = None,
) -> int:
    """Resume a run that was interrupted, or in which scenes failed.

    Existing videos are kept, unless their inputs have changed. Tasks that still run are used again
    or stopped. Scenes, look, film, size of tasks and limits are those with which the run was
    started; keys and credentials come from the environment. With --film, a complete run only makes
    the film of its videos, with the music, voice and subtitles of the run's film. A run whose
    program has not given its last scene gets its film when that program resumes it. cloudburst
    --help-looks describes the options for the film.

    $ cloudburst resume
    $ cloudburst resume --to videos --film story.mp4

    Parameters
    ----------
    run
        Name of the run, as "cloudburst runs" lists it. Default: the newest incomplete run.
    to
        Folder of the videos, also in S3. Default: RESULTS_DIR, else ./cloudburst_results.
    overwrite
        Replace files that have the names of the videos but are not from this run.
    """
    settings, run_options = Settings(), run_options or RunOptions()
    named_film = None if film is None else film.request()
    default = absolute_location(to or settings.results or RESULTS_FOLDER)
    named = run is not None
    run, folder, state = _find_run(run, default, custom_folder=to is not None)
    custom_folder = to is not None or folder != default
    process = state.processes[-1]
    wanted = named_film or process.film
    if named_film is not None and process.film is not None:
        files = dict[str, Any]((process.film.files | named_film.files).items())
        wanted = replace(named_film, **files)
    is_open = state.source_ended is False
    if is_complete(state) or not state.scenes:
        missing = _missing_videos(state, folder, settings)
        # Videos that were only moved away are rendered again only if the run is named.
        has_work = named if missing else _lacks_film(wanted) and not is_open
        if not has_work:
            _print_complete(run, folder, state, missing=len(missing), custom_folder=custom_folder)
            if state.results and isinstance(folder, Path):
                _write_missing_page(run, folder)
            # Stops of the last process may have been refused, and its tasks be billed since.
            open_bill = any(task.usage and not task.settled for task in state.tasks.values())
            refused = cleanup_command(run=run) if open_bill else 0
            return refused or int(is_open and wanted is not None)
    if named_film is None:
        _check_film(process.film, folder)
    backend = backend or WorkerOptions()
    backend = replace(backend, backend=backend.backend or _backend_name(process.backends))
    limits = backend.limits(run_options.limits(process.limits))
    # The default limit is not passed on, so that this machine uses its own default.
    workers = run_options.workers
    if workers is None and limits.workers != Limits().workers:
        workers = limits.workers
    request = RunRequest(
        scenes=[entry.scene.model_dump() for entry in state.scenes.values()],
        to=folder,
        options=process.options,
        backend=backend.open_backend(backend.apply_to(settings), workers=workers),
        tier=process.tier,
        limits=limits,
        overwrite=overwrite,
        film=wanted,
        run=run,
        is_open=is_open,
        custom_folder=custom_folder,
        timeouts=settings.timeouts(),
        spot=backend.spot,
        settings=settings,
    )
    return run_and_report(request, run_options)


def _check_film(film: FilmRequest | None, folder: OutputFolder) -> None:
    """Check the film that a journal names: a downloaded journal must not name files elsewhere."""
    if film is not None and isinstance(film.path, Path) and isinstance(folder, Path):
        parent = folder.resolve().parent
        if not film.path.resolve().is_relative_to(parent):
            msg = f"the run's film {film.path} is not in {parent}: name it with --film"
            raise ConfigurationError(msg)


def _lacks_film(film: FilmRequest | None) -> bool:
    """Return whether a film was requested that does not exist, or is in S3, where the run looks."""
    if film is None:
        return False
    return not isinstance(film.path, Path) or read_fingerprint(film.path) is None


def _missing_videos(state: JournalState, folder: OutputFolder, settings: Settings) -> list[str]:
    """Return the names of scenes whose videos are missing, or changed in a folder on this machine.

    The cover of a video counts as a part of it.
    """
    if isinstance(folder, Path):
        return missing_videos(state, folder)
    with open_remote_inputs(settings) as remote:
        there = set(S3Folder(folder, remote).names())
    return [
        name
        for name, entry in state.results.items()
        if not {at.name for at in (entry.video.path, entry.video.cover) if at} <= there
    ]


def _print_complete(
    run: str, folder: OutputFolder, state: JournalState, *, missing: int, custom_folder: bool
) -> None:
    videos = pluralize(len(state.results), "video")
    path = safe_text(short_path(folder))
    is_open = state.source_ended is False
    print_output(unwrapped(f"Run {run} is {'open' if is_open else 'complete'}: {videos} in ", path))
    if is_open:
        print_output(safe_text(SCENES_ARE_MISSING, "yellow"))
    if missing:
        verb = "is" if missing == 1 else "are"
        print_output(safe_text(f"{missing} of them {verb} missing or changed.", "yellow"))
        to = ["--to", short_path(folder)] if custom_folder else []
        command = safe_text(shlex.join(["cloudburst", "resume", run, *to]), "bold")
        print_output(unwrapped("Render again with: ", command))


def _write_missing_page(run: str, folder: Path) -> None:
    from cloudburst.cli.report import report_command  # noqa: PLC0415 - slow to import
    from cloudburst.display.report_page import NAME  # noqa: PLC0415 - slow to import

    if not (folder / NAME).exists():  # the last process was killed before it wrote one
        report_command(run, to=folder)


def _backend_name(names: tuple[str, ...]) -> str:
    if (known := _BACKENDS.get(names)) is not None:
        return known
    msg = (
        f"the run was started on {', '.join(names)}, whose addresses and keys are not saved: "
        "name them with --backend"
    )
    raise ConfigurationError(msg)


def _find_run(
    run: str | None, folder: OutputFolder, *, custom_folder: bool
) -> tuple[str, OutputFolder, JournalState]:
    """Return name, folder and state of a run, or of one to resume if ``run`` is ``None``."""
    if run is None:
        return _newest_run(folder)
    for candidate in folders_with_journals(folder) if is_run_name(run) else ():
        path = journal_path(journal_folder(candidate), run)
        if path.is_file():
            state = read_journal(path)
            if state.processes:
                return run, candidate, state
    hint = "list the runs with: cloudburst runs"
    hint += "" if custom_folder else "; name the folder of the videos with --to"
    raise ConfigurationError(f"there is no run {run} {_where(folder)}: {hint}{_elsewhere(folder)}")


def _where(folder: OutputFolder) -> str:
    if isinstance(folder, Path):
        return f"in {short_path(folder)}"
    return f"of this machine in {folder}"


def _elsewhere(folder: OutputFolder) -> str:
    """Return the hint for runs of a folder in S3 whose journals are on another machine."""
    if isinstance(folder, Path):
        return ""
    return (
        "; a run that another machine has started is resumed there, or by render_all(resume=True)"
    )


def _newest_run(folder: OutputFolder) -> tuple[str, OutputFolder, JournalState]:
    """Return the newest run that can be resumed, or the newest run if none needs to be resumed.

    A run need not be resumed if it is complete or a later run made its videos.
    """
    found = list[tuple[str, OutputFolder, JournalState]]()
    superseded = set[tuple[str, OutputFolder]]()
    for candidate in folders_with_journals(folder):
        runs = runs_in(journal_folder(candidate))
        found += [(run, candidate, state) for run, state in runs]
        superseded |= {(run, candidate) for run, state in runs if successor(state, runs)}
    found.sort(key=lambda one: one[2].processes[0].started_at, reverse=True)
    if not found:
        raise ConfigurationError(f"there is no run {_where(folder)}{_elsewhere(folder)}")
    incomplete = [one for one in found if not is_complete(one[2]) and one[:2] not in superseded]
    if not incomplete:
        return found[0]
    active = {candidate: active_runs(journal_folder(candidate)) for _, candidate, _ in incomplete}
    for run, candidate, state in incomplete:
        if run not in active[candidate]:
            return run, candidate, state
    run, candidate, _ = incomplete[0]
    raise ConfigurationError(f"run {run} is in progress: {active[candidate][run]} continues it")
