"""``cloudburst render``: renders scenes into videos."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cloudburst.cli.backend_options import BackendOptions
from cloudburst.cli.film_options import FilmFlags
from cloudburst.cli.look_options import LookOptions
from cloudburst.cli.options import RUN, FolderOption, RunOptions, scenes_of
from cloudburst.cli.render import RESULTS_FOLDER, run_and_report
from cloudburst.cli.run_request import RunRequest
from cloudburst.compat import timeouts_of
from cloudburst.inputs.remote_inputs import open_remote_inputs
from cloudburst.models.settings import Settings


def render_command(
    scenes: Annotated[list[str], Parameter(negative=())],
    /,
    *,
    to: Annotated[FolderOption | None, Parameter(group=RUN)] = None,
    overwrite: Annotated[bool, Parameter(negative=(), group=RUN)] = False,
    no_early_launch: Annotated[bool, Parameter(negative=(), group=RUN)] = False,
    backend: BackendOptions | None = None,
    video: LookOptions | None = None,
    film: FilmFlags | None = None,
    run_options: RunOptions | None = None,
) -> int:
    """Render scenes into videos.

    SCENES are files (JSON, YAML or CSV), or folders with pictures and audio files of the same
    name; they may be in S3, such as s3://bucket/folder/. Scenes from several files and folders are
    rendered in one run. Options of a scene in its file replace options of the command line.

    Parameters
    ----------
    scenes
        Files or folders of scenes.
    to
        Folder for the videos, also in S3: s3://bucket/folder/. Default: RESULTS_DIR, else
        ./cloudburst_results.
    overwrite
        Replace existing videos.
    no_early_launch
        Start no task before all input files are read. By default, the first tasks start while files
        are still read; a broken file that is found later stops them, and they cost up to a minute
        each.
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
        timeouts=timeouts_of(settings),
        spot=backend.spot,
        settings=settings,
        early_launch=not no_early_launch,
    )
    if backend.deadline is not None or backend.budget is not None:
        from cloudburst.cli.plan_choice import apply_plan  # noqa: PLC0415 - slow to import

        request = apply_plan(request, backend, settings, workers=run_options.workers)
    return run_and_report(request, run_options)
