"""Last step of a run: the film of its videos, made here or, as a scene is, by a worker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.engine.attempt import render_scene
from cloudburst.engine.attempt_context import AttemptContext, VideoWrites
from cloudburst.engine.forecast.scene_work import film_work
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.pool_state import Ticket
from cloudburst.engine.records import Attempt, SceneRecord
from cloudburst.errors import CloudburstError, FilmError
from cloudburst.events import FilmCompleted, FilmFailed, FilmProgress, SceneProgress
from cloudburst.models.film import MAX_FILM_SECONDS, WorkerFilm
from cloudburst.models.journal_entries import SCENES_ARE_MISSING
from cloudburst.models.locations import OutputLocation
from cloudburst.models.options import Language
from cloudburst.models.scene import Video
from cloudburst.ports.outputs import FilmMaker
from cloudburst.ports.remote_files import RemoteFiles
from cloudburst.ports.renderer import OnProgress, Renderer, Turn, UploadedScene
from cloudburst.text import list_some

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmContext(AttemptContext):
    """Inputs, settings and shared objects of all attempts at a film.

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

    async def write_result(self, video: Video, attempt: Attempt, *, download_began: float) -> None:
        """Do nothing."""


@dataclass(eq=False, slots=True, repr=False)
class FilmStep:
    """Step that makes the film of a run when all of its scenes have their videos."""

    _maker: FilmMaker
    _run: str
    _pool: WorkerPool
    language: Language
    writes: VideoWrites
    emit: Callable[..., None]
    _percent: int = -1
    path: OutputLocation | None = None
    """Location of the film; ``None`` if it is not made."""
    error: str | None = None
    """Reason why no film was made; ``None`` if there is none."""

    @property
    def needs_worker(self) -> bool:
        """True if a worker makes the film."""
        return self._maker.needs_worker

    async def run(self, scenes: Sequence[SceneRecord], *, lacks_scenes: bool) -> None:
        """Make the film of these scenes, or record why there is none.

        ``lacks_scenes`` is true if the source has further scenes, or scenes were refused.
        """
        videos = [scene.video for scene in scenes if scene.video is not None]
        if len(videos) < len(scenes):
            missing = list_some([scene.name for scene in scenes if scene.video is None])
            again = "fix them and run the program again with resume=True"
            remedy = again if lacks_scenes else "resume the run"
            self._fail(f"no film was made, because scenes have no video: {missing}; {remedy}")
            return
        if lacks_scenes:
            self._fail(f"no film was made: {SCENES_ARE_MISSING}")
            return
        if not videos:
            self._fail("no film was made, because no scene came")
            return
        try:
            self.path, skipped = await self._maker.make(
                videos, self._on_progress, self._make_on_worker
            )
        except FilmError as exc:
            self._fail(str(exc))
        except Exception:  # the videos are finished and paid
            logger.exception("no film was made")
            self._fail("no film was made, because of a defect of this package; its log has more")
        else:
            self.emit(FilmCompleted, path=self.path, skipped=skipped)

    def end(self) -> None:
        """Record why there is no film if the run ends before its film."""
        if self.path is None and self.error is None:
            self._fail("no film was made, because the run was left before its end")

    def _fail(self, message: str) -> None:
        self.error = message
        self.emit(FilmFailed, kind=FilmError.__name__, message=message)

    def _on_progress(self, progress: float) -> None:
        if (percent := int(100 * progress)) > self._percent:  # an event for each percent
            self._percent = percent
            self.emit(FilmProgress, progress=min(1.0, max(0.0, progress)))

    async def _make_on_worker(
        self, film: WorkerFilm, remote: RemoteFiles, on_progress: OnProgress
    ) -> None:
        kinds = [each.transition or film.request.transition for each in film.parts[:-1]]
        transitions = len(kinds) - kinds.count("cut")
        work = film_work(film.seconds, transitions)
        ticket = Ticket(
            run=self._run,
            scene=film.name,
            language=self.language,
            audio_seconds=work,  # by which the budget foresees the cost: a film takes less
            work=work,
            is_film=True,
        )

        def emit(event: type[Any], **fields: Any) -> None:
            if event is SceneProgress:
                on_progress(fields["progress"])

        context = FilmContext(
            ticket=ticket,
            to=film.path,
            record=SceneRecord(name=film.name),
            emit=emit,
            max_audio_seconds=MAX_FILM_SECONDS,
            writes=self.writes,
            remote=remote,
            film=film,
        )
        try:
            with self._pool.admit(self._run, [ticket]):
                await render_scene(context, self._pool)
        except CloudburstError as exc:
            raise FilmError(f"no film was made: {exc}") from exc
