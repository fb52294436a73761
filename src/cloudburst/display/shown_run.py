"""Run that a display shows, and the failures that it has shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cloudburst.display.language import say
from cloudburst.engine.failure_groups import FailureEvent, failure_key
from cloudburst.engine.run import Run
from cloudburst.engine.run_view import RunView
from cloudburst.events import FilmFailed, WorkerFailed
from cloudburst.models.run_progress import RunProgress


@dataclass(eq=False, slots=True)
class ShownRun:
    """Run that a display shows; without scenes until these are checked."""

    view: RunView = field(default_factory=RunView)
    measure: Callable[[], RunProgress] | None = None
    """Function that returns the bill and the time left; ``None`` until the scenes are checked."""
    stopping: bool = False
    """True if the run is being stopped by a signal."""

    def begin(self, run: Run) -> None:
        """Show this run, whose scenes were checked."""
        self.view, self.measure = run.view, run.progress

    def is_new(self, reason: str) -> bool:
        """Return whether no failure has the reason of a worker's end as its message."""
        suffix = f": {failure_key(reason)}"
        return not any(cause.endswith(suffix) for cause in self.view.failures)

    def failure_name(self, event: FailureEvent) -> str:
        """Return the name of the scene or worker that a failure is about, or ``the film``."""
        if isinstance(event, FilmFailed):
            return say("the film")
        if isinstance(event, WorkerFailed):
            return worker_name(self.view, event.task)
        return event.scene


def worker_name(view: RunView, task: str) -> str:
    """Return the name of a worker for people: ``worker 2``, or ``a worker`` if not launched."""
    number = view.numbers.get(task)
    return say("a worker") if number is None else say("worker {}", number)
