"""``cloudburst demo``: renders the story of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cloudburst.cli.options import RUN, FilmFlags, FolderOption, RunOptions
from cloudburst.cli.render import run_and_report
from cloudburst.cli.result import RunRequest
from cloudburst.client.backends import local
from cloudburst.inputs.scenes import read_scenes
from cloudburst.inputs.story import STORY
from cloudburst.models.options import RenderOptions
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier


def demo_command(
    *,
    to: Annotated[FolderOption, Parameter(group=RUN)] = Path("cloudburst-demo"),
    run_options: RunOptions | None = None,
    film: FilmFlags | None = None,
) -> int:
    """Render a picture-book story of two scenes on this machine.

    Of the options for the film, only the names are listed: cloudburst --help-looks describes them.

    $ cloudburst demo
    $ cloudburst demo --film story.mp4 --transition crossfade

    Parameters
    ----------
    to
        Folder for the videos, also in S3. Default: ./cloudburst-demo. Videos of an earlier demo are
        replaced.
    """
    run_options = run_options or RunOptions()
    request = RunRequest(
        scenes=read_scenes(STORY),
        to=to,
        options=RenderOptions(),
        backend=local(workers=run_options.workers),
        tier=Tier.STANDARD,
        limits=run_options.limits(),
        film=(film or FilmFlags()).request(),
        overwrite=True,
        custom_folder=True,
        settings=Settings(),
    )
    return run_and_report(request, run_options)
