"""One line for one event: for logs, and for what must stay on a screen that moves."""

from __future__ import annotations

from typing import assert_never

from rich.text import Text

from cloudburst.cli.view import RunView
from cloudburst.cli.words import clock, first_line, short_path, shown, size
from cloudburst.models.events import (
    Event,
    SceneCompleted,
    SceneCopied,
    SceneEncoding,
    SceneFailed,
    SceneGenerated,
    SceneProgress,
    SceneQueued,
    SceneRetried,
    SceneStarted,
    SceneUploaded,
    WorkerFailed,
    WorkerLaunched,
    WorkerReady,
    WorkerStopped,
)


def line(event: Event, view: RunView) -> Text | None:
    """What to write into a log; ``None`` for steps too small for it."""
    match event:
        case SceneQueued() | SceneUploaded() | SceneProgress() | SceneGenerated():
            return None
        case WorkerLaunched(task=task, backend=backend):
            told = Text(f"{view.name(task)} is starting ({backend})")
        case WorkerReady(task=task):
            told = Text(f"{view.name(task)} is ready")
        case WorkerStopped(task=task, reason=reason):
            told = shown(f"{view.name(task)} stopped: {first_line(reason)}")
        case SceneStarted(scene=scene, task=task):
            told = shown(f"{scene}: started on {view.name(task)}")
        case SceneEncoding(scene=scene, task=task):
            told = shown(f"{scene}: encoding on {view.name(task)}")
        case SceneCompleted(scene=scene, video=video, skipped=skipped):
            done = "done already" if skipped else "done"
            told = shown(f"{scene}: {done}, {size(video.size)}, {short_path(video.path)}")
        case SceneCopied(scene=scene, task=task):
            told = shown(f"{scene}: takes long, encoding on {view.name(task)} as well")
        case WorkerFailed() | SceneRetried() | SceneFailed():
            told = trouble(event, view) or Text()
        case _:
            assert_never(event)
    return Text.assemble((f"{clock(event.at):>6}  ", "dim"), told)


def trouble(event: Event, view: RunView) -> Text | None:
    """What went wrong, if the event tells of that."""
    match event:
        case WorkerFailed(task=task, kind=kind, message=message):
            return shown(f"{view.name(task)} failed: {kind}: {first_line(message)}", "yellow")
        case SceneRetried(scene=scene, kind=kind, message=message):
            return shown(f"{scene}: will be tried again: {kind}: {first_line(message)}", "yellow")
        case SceneFailed(scene=scene, kind=kind, message=message):
            return shown(f"{scene}: failed: {kind}: {first_line(message)}", "red")
        case _:
            return None
