"""``cloudburst film``: joins the finished videos of a folder to one film."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import anyio
from anyio import to_thread
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from cloudburst.cli.options import Quiet, TransitionFlags
from cloudburst.cli.output import error_console, print_output, write_json
from cloudburst.cli.render import interrupt_handler
from cloudburst.concurrency import collapse_single
from cloudburst.display.language import say
from cloudburst.display.terminal_texts import safe_text, unwrapped
from cloudburst.display.texts import pluralize, short_path
from cloudburst.errors import ConfigurationError
from cloudburst.film.folder import FolderVideo, videos_in
from cloudburst.film.folder_film import claimed_film
from cloudburst.film.request import film_request
from cloudburst.models.film import FilmRequest
from cloudburst.programs import InterruptHandler


def film_command(
    folder: Path,
    /,
    *,
    to: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    how: TransitionFlags | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
    quiet: Quiet = False,
) -> int:
    """Join the finished videos of a folder to one film.

    The order is that of the scenes of the run that made the videos, else of their names. Each scene
    becomes a chapter. Subtitles (.srt) and a cover picture (.jpg) are written beside the film. A
    film that was made of the same videos before is kept.

    $ cloudburst film videos
    $ cloudburst film videos --to story.mp4 --transition crossfade

    Parameters
    ----------
    folder
        Folder of the videos.
    to
        Path of the film. Default: film.mp4 in the folder.
    overwrite
        Replace existing files of these names.
    as_json
        Print one JSON object with the path of the film.
    quiet
        Print errors only.
    """
    if folder.parts[:1] == ("s3:",):  # a path of two slashes has one
        place = f"s3://{folder.relative_to('s3:')}/"
        raise ConfigurationError(
            f"{place}: cloudburst film joins videos on this machine. Of the videos of a run in S3, "
            f"a worker makes the film: cloudburst resume RUN --to {place} --film {place}film.mp4"
        )
    if to is not None and to.parts[:1] == ("s3:",):
        place = f"s3://{to.relative_to('s3:')}"
        msg = f"--to: {place} is in S3, but the videos are on this machine; expected a path"
        raise ConfigurationError(msg)
    if not folder.is_dir():
        raise ConfigurationError(f"{folder}: not a folder; expected the folder of the videos")
    how = how or TransitionFlags()
    path = folder / "film.mp4" if to is None else to
    request = film_request(path, **asdict(how))
    assert request is not None, "a path is given"
    console = None if quiet or as_json else error_console()
    make = partial(_make, overwrite=overwrite)
    with interrupt_handler() as signals:
        result = anyio.run(make, request, folder, signals, console)
        if result is None:
            return 128 + (signals.first_signal or 0)
    videos, skipped = result
    if as_json:
        write_json({"film": str(request.path), "scenes": len(videos), "skipped": skipped})
    elif not quiet:
        number = pluralize(len(videos), "video")
        head = say("Film already made of the same {}: " if skipped else "Film of {}: ", number)
        print_output(unwrapped(head, safe_text(short_path(request.path), "green")))
    return 0


async def _make(
    request: FilmRequest,
    folder: Path,
    signals: InterruptHandler,
    console: Console | None,
    *,
    overwrite: bool,
) -> tuple[list[FolderVideo], bool] | None:
    """Return the videos of the film, and true if it was made before; ``None`` after a signal."""
    with collapse_single(), anyio.CancelScope() as work, signals.call_on_first_signal(work.cancel):
        film = request.path
        assert isinstance(film, Path), "the command takes a path"
        videos = await to_thread.run_sync(videos_in, folder, film, abandon_on_cancel=True)
        sources = [video.source for video in videos]
        run = uuid4().hex[:12]
        async with claimed_film(
            request, sources, run=run, overwrite=overwrite, replace_film=True
        ) as maker:
            with _progress(console, pluralize(len(videos), "video")) as show:
                _, skipped = await maker.make([video.video for video in videos], show)
        return videos, skipped
    return None


@contextmanager
def _progress(console: Console | None, videos: str) -> Generator[Callable[[float], None]]:
    columns = (TextColumn("film"), BarColumn(), TaskProgressColumn())
    hidden = console is None or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("film", total=1.0, start=False)

        def show(done: float) -> None:
            if hidden and console is not None and not bar.tasks[task].started:
                console.print(safe_text(say("Joining {}", videos)))
            bar.start_task(task)
            bar.update(task, completed=done)

        yield show
