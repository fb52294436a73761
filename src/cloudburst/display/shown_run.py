"""Run that a display shows, and the failures that it has shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from cloudburst.display.texts import failure_key
from cloudburst.engine.run import Run
from cloudburst.engine.run_view import RunView
from cloudburst.events import Event, FilmFailed, SceneFailed, SceneRetried, WorkerFailed
from cloudburst.models.run_progress import RunProgress

FailureEvent: TypeAlias = WorkerFailed | SceneRetried | SceneFailed | FilmFailed


@dataclass(eq=False, slots=True)
class ShownRun:
    """Run that a display shows; without scenes until these are checked."""

    view: RunView = field(default_factory=RunView)
    measure: Callable[[], RunProgress] | None = None
    """Function that returns the bill and the time left; ``None`` until the scenes are checked."""
    stopping: bool = False
    """True if the run is being stopped by a signal."""
    _first_failures: dict[str, FailureEvent] = field(default_factory=dict[str, FailureEvent])
    """First failure with each cause; the key is the `failure_key` of the failure."""

    def begin(self, run: Run) -> None:
        """Show this run, whose scenes were checked."""
        self.view, self.measure = run.view, run.progress

    def note(self, event: Event) -> None:
        """Note an event of the run before it is shown."""
        if isinstance(event, FailureEvent):
            self._first_failures.setdefault(_cause(event), event)

    def first_failure(self, event: FailureEvent) -> FailureEvent:
        """Return the first failure with the same cause as ``event``, possibly ``event`` itself."""
        return self._first_failures.get(_cause(event), event)

    def is_new(self, reason: str) -> bool:
        """Return whether no failure had the reason of a worker's end as its message."""
        suffix = f": {failure_key(reason)}"
        return not any(cause.endswith(suffix) for cause in self._first_failures)

    def failure_name(self, event: FailureEvent) -> str:
        """Return the name of the scene or worker that a failure is about, or ``the film``."""
        if isinstance(event, FilmFailed):
            return "the film"
        return self.view.worker_name(event.task) if isinstance(event, WorkerFailed) else event.scene


def _cause(event: FailureEvent) -> str:
    scene = "" if isinstance(event, WorkerFailed | FilmFailed) else event.scene
    return failure_key(f"{event.kind}: {event.message}", scene)
