"""Log records of runs, for programs that show no events."""

from __future__ import annotations

import logging

from cloudburst.engine.run_view import RunView
from cloudburst.events import (
    Event,
    FilmFailed,
    SceneCompleted,
    SceneFailed,
    SceneRetried,
    WorkerFailed,
    WorkerReady,
    WorkerStopped,
)
from cloudburst.text import printable_line

logger = logging.getLogger("cloudburst.runs")
"""Logger of all runs. Its records have the attributes ``run``, ``scene`` and ``task``."""


def log_event(run: str, event: Event, view: RunView) -> None:
    """Log the end of a scene, and the start and end of a worker; failures are warnings."""
    level, text = logging.INFO, ""
    task, scene = getattr(event, "task", None), getattr(event, "scene", None)
    match event:
        case WorkerReady():
            text = f"{view.worker_name(event.task)} is ready"
        case WorkerStopped(reason=reason):
            text = f"{view.worker_name(event.task)} has stopped: {reason}"
        case SceneCompleted(skipped=False, video=video):
            text, task = f"{scene} is done {_count(view)}", video.task
        case SceneFailed() | SceneRetried() | WorkerFailed() | FilmFailed():
            level = logging.WARNING
            name = scene or ("the film" if task is None else view.worker_name(task))
            verb = "is tried again" if isinstance(event, SceneRetried) else "has failed"
            count = f" {_count(view)}" if isinstance(event, SceneFailed) else ""
            text = f"{name} {verb}{count}: {event.kind}: {event.message}"
        case _:
            return
    facts = {"run": run, "scene": scene, "task": task}
    logger.log(level, "run %s: %s", run, printable_line(text), extra=facts)


def _count(view: RunView) -> str:
    return f"({view.done + view.failed} of {len(view.scenes)})"
