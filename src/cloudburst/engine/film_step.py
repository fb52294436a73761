"""Last step of a run: the film of its videos."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from cloudburst.engine.scene_record import SceneRecord
from cloudburst.errors import FilmError
from cloudburst.events import FilmCompleted, FilmFailed, FilmProgress
from cloudburst.models.locations import OutputLocation
from cloudburst.ports.film_maker import FilmMaker, OnWorker
from cloudburst.text import list_some

logger = logging.getLogger(__name__)


class FilmStep:
    """Step that makes the film of a run when all of its scenes have their videos.

    Args:
        maker: Maker of the film.
        on_worker: Function that makes the film on a worker.
        emit: Function that adds an event to the stream of the run: its class, and its fields.
    """

    def __init__(self, maker: FilmMaker, on_worker: OnWorker, emit: Callable[..., None]) -> None:
        self._maker = maker
        self._on_worker = on_worker
        self._emit = emit
        self._percent = -1
        self.path: OutputLocation | None = None
        """Location of the film; ``None`` if it is not made."""
        self.error: str | None = None
        """Reason why no film was made; ``None`` if there is none."""

    @property
    def needs_worker(self) -> bool:
        """True if a worker makes the film."""
        return self._maker.needs_worker

    async def run(self, scenes: Sequence[SceneRecord]) -> None:
        """Make the film of these scenes, or record why there is none."""
        videos = [scene.video for scene in scenes if scene.video is not None]
        if len(videos) < len(scenes):
            self._fail(_incomplete([scene.name for scene in scenes if scene.video is None]))
            return
        try:
            self.path, skipped = await self._maker.make(videos, self._on_progress, self._on_worker)
        except FilmError as exc:
            self._fail(str(exc))
        except Exception:  # the videos are finished and paid
            logger.exception("no film was made")
            self._fail("no film was made, because of a defect of this package; its log has more")
        else:
            self._emit(FilmCompleted, path=self.path, skipped=skipped)

    def _fail(self, message: str) -> None:
        self.error = message
        self._emit(FilmFailed, kind=FilmError.__name__, message=message)

    def _on_progress(self, progress: float) -> None:
        """Emit an event for each percent."""
        if (percent := int(100 * progress)) > self._percent:
            self._percent = percent
            self._emit(FilmProgress, progress=min(1.0, max(0.0, progress)))


def _incomplete(names: Sequence[str]) -> str:
    return f"no film was made, because scenes have no video: {list_some(names)}; resume the run"
