"""Film that a worker of the run makes, with the attempts and retries of a scene."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cloudburst.engine.attempt import render_scene
from cloudburst.engine.attempt_context import AttemptContext
from cloudburst.engine.forecast.scene_work import film_work
from cloudburst.engine.output_folder import OutputFolder
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.pool_state import Ticket
from cloudburst.engine.scene_record import SceneRecord
from cloudburst.engine.worker_record import Attempt
from cloudburst.errors import CloudburstError, FilmError
from cloudburst.events import SceneProgress
from cloudburst.models.film import MAX_FILM_SECONDS, WorkerFilm
from cloudburst.models.options import Language
from cloudburst.models.scene import Video
from cloudburst.ports.remote_files import RemoteFiles
from cloudburst.ports.renderer import OnProgress, Renderer, UploadedScene
from cloudburst.ports.sending import Turn

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmContext(AttemptContext):
    """Inputs, settings and shared objects that all attempts at a film use.

    The journal has no entries of films: an object in S3 shows that it is up to date.
    """

    film: WorkerFilm

    async def upload(
        self,
        renderer: Renderer,
        on_file: Callable[[], None],
        turn: Turn,  # noqa: ARG002
    ) -> UploadedScene:
        """Let a worker get the files of the film."""
        assert self.remote is not None, "a film in S3 has access to its files"
        return await renderer.upload_film(self.film, remote=self.remote, on_file=on_file)

    def write_failure(self, error: CloudburstError, *, final: bool = False) -> None:  # noqa: ARG002
        """Log a failed attempt."""
        logger.warning("the film %s is made again: %s", self.film.path, error)

    async def write_result(
        self, video: Video, attempt: Attempt, inputs: Mapping[str, str], *, download_began: float
    ) -> None:
        """Do nothing."""


async def make_film(
    film: WorkerFilm,
    remote: RemoteFiles,
    on_progress: OnProgress,
    *,
    run: str,
    pool: WorkerPool,
    language: Language,
    output: OutputFolder,
) -> None:
    """Make the film of a run on a worker that is still there, or on a new one.

    Args:
        film: Film to make.
        remote: Access to the files of the film.
        on_progress: Function that is called with the finished share of the film.
        run: Name of the run.
        pool: Pool whose workers may make the film.
        language: Subtitle language of the run.
        output: Output folder of the run.

    Raises:
        FilmError: The film cannot be made.
    """
    transitions = 0 if film.transition == "cut" else len(film.parts) - 1
    work = film_work(film.seconds, transitions)
    ticket = Ticket(
        run=run,
        scene=film.name,
        language=language,
        audio_seconds=work,  # by which the budget foresees the cost: a film takes less
        work=work,
        is_film=True,
    )
    context = FilmContext(
        ticket=ticket,
        to=film.path,
        record=SceneRecord(name=film.name),
        emit=_progress_for(on_progress),
        max_audio_seconds=MAX_FILM_SECONDS,
        output=output,
        remote=remote,
        film=film,
    )
    try:
        with pool.admit(run, [ticket]):
            await render_scene(context, pool)
    except CloudburstError as exc:
        raise FilmError(f"no film was made: {exc}") from exc


def _progress_for(on_progress: OnProgress) -> Callable[..., None]:
    """Return a function that takes the events of an attempt, and passes on the progress."""

    def emit(event: type[Any], **fields: Any) -> None:
        if event is SceneProgress:
            on_progress(fields["progress"])

    return emit
