"""Scenes of jobs as callers see them. Every function uses the caller's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from cloudburst.jobs.event_log import read_videos
from cloudburst.jobs.models import JobRequest
from cloudburst.models.problems import code_of, fix_of
from cloudburst.models.scene import Video

SceneState: TypeAlias = Literal["waiting", "uploading", "encoding", "downloading", "done", "failed"]
# State of a scene after each type of events.
_STATES: Mapping[str, SceneState] = {
    "scene.queued": "waiting",
    "scene.retried": "waiting",
    "scene.started": "uploading",
    "scene.uploaded": "waiting",
    "scene.encoding": "encoding",
    "scene.encoded": "downloading",
    "scene.completed": "done",
    "scene.failed": "failed",
}


class SceneFailure(BaseModel):
    """Error of a scene that failed."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    code: str
    """Kind of the error, for programs."""
    kind: str
    """Class name of the error."""
    message: str
    """Message of the error, without folders of the server."""
    fix: str
    """Command or step that may help; empty if the message says all."""


class JobScene(BaseModel):
    """State of one scene of a job."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    scene: str
    """Name of the scene."""
    title: str
    """Title of the scene; its name if it has none."""
    state: SceneState = "waiting"
    """State of the scene. It waits for a worker, or on its worker for an encoder; scenes that were
    not rendered when the job ended wait as well."""
    progress: float = 0.0
    """Finished share of the encode, from 0 to 1."""
    worker: int | None = None
    """Number of the worker that has the scene, or had it last, as in the progress of the job;
    ``None`` if there is none, or it belonged to an earlier process."""
    attempts: int = 0
    """Number of attempts so far."""
    seconds: float | None = None
    """Length of the video, in seconds; ``None`` if there is none."""
    error: SceneFailure | None = None
    """Error of a failed scene."""
    video: Video | None = Field(default=None, exclude=True)
    """Video; ``None`` if it is not finished. Not part of ``model_dump()``."""
    image: str | None = Field(default=None, exclude=True)
    """Location of the picture; ``None`` for a title card. Not part of ``model_dump()``."""


class ListedScene(NamedTuple):
    """Scene of a job."""

    name: str
    title: str
    # Location of the picture; ``None`` for a title card.
    image: str | None
    # Transition to the next scene; ``None``: that of the film.
    transition: str | None


class Chapter(NamedTuple):
    """Scene in a film, with its times in seconds."""

    title: str
    start: float
    end: float


def list_scenes(connection: sqlite3.Connection, job: str) -> list[ListedScene]:
    """Return the scenes of a job in their order."""
    rows = connection.execute(
        "SELECT json_extract(scene, '$.name'), json_extract(scene, '$.options.title'), "
        "json_extract(scene, '$.image'), json_extract(scene, '$.transition') FROM "
        "(SELECT number, scene FROM scenes WHERE job = ?1 UNION ALL "
        "SELECT key, value FROM jobs, json_each(request, '$.scenes') WHERE jobs.id = ?1) "
        "ORDER BY number",
        [job],
    )
    return [ListedScene(name, title or name, *more) for name, title, *more in rows]


def find_image(connection: sqlite3.Connection, job: str, scene: str) -> str | None:
    """Return the location of the picture of a scene."""
    return next((each.image for each in list_scenes(connection, job) if each.name == scene), None)


def read_scene_states(connection: sqlite3.Connection, job: str) -> list[JobScene]:
    """Return the states of the scenes of a job in their order."""
    found = {
        each.name: JobScene(scene=each.name, title=each.title, image=each.image)
        for each in list_scenes(connection, job)
    }
    numbers = dict[str, int]()
    events = connection.execute(
        "SELECT type, scene, data FROM events WHERE job = ? AND (scene IS NOT NULL OR type IN "
        "('job.started', 'job.interrupted', 'job.finished', 'worker.launched', 'worker.ready')) "
        "ORDER BY number",
        [job],
    )
    for kind, name, text in events:
        if kind.startswith("job."):
            numbers.clear()
            for scene in found.values():
                if scene.state not in {"done", "failed"}:
                    scene.state, scene.worker = "waiting", None
            continue
        data: dict[str, Any] = json.loads(text)
        if name is None:  # numbered as in `RunView.numbers`
            numbers.setdefault(data["task"], len(numbers) + 1)
        # A video that exists counts, also while a later process makes it again.
        elif kind in _STATES and (one := found.get(name)) and one.video is None:
            _apply(one, kind, data, numbers.get(data.get("task", "")))
    progress = connection.execute("SELECT scene, value FROM progress WHERE job = ?", [job])
    for name, value in progress:
        if name in found:
            found[name].progress = value
    return list(found.values())


def _apply(scene: JobScene, kind: str, data: dict[str, Any], worker: int | None) -> None:
    scene.state = _STATES[kind]
    scene.attempts = max(scene.attempts, data["attempt"] if kind == "scene.started" else 0)
    if kind == "scene.completed":
        scene.video = Video.model_validate(data["video"])
        scene.seconds, scene.progress = scene.video.seconds, 1.0
    elif kind == "scene.failed":
        error = data["kind"]
        scene.error = SceneFailure(
            code=code_of(error), kind=error, message=data["message"], fix=fix_of(error)
        )
    else:
        scene.worker, scene.error = (None if kind == "scene.retried" else worker), None


def read_chapters(connection: sqlite3.Connection, job: str) -> list[Chapter]:
    """Return the chapters of a film, whose times are exact to half a frame for each crossfade."""
    seconds = {video.scene: video.seconds for video in read_videos(connection, job)}
    given = connection.execute(
        "SELECT key, value FROM jobs, json_each(request) WHERE jobs.id = ? AND key IN "
        "('transition', 'transition_seconds', 'film_gap')",
        [job],
    )
    film = {name: field.default for name, field in JobRequest.model_fields.items()} | dict(given)
    chapters, start = list[Chapter](), 0.0
    for scene in list_scenes(connection, job):
        if (length := seconds.get(scene.name)) is None:
            continue
        chapters.append(Chapter(scene.title, start, start + length))
        overlaps = (scene.transition or film["transition"]) == "crossfade"
        start += length + film["film_gap"] - (film["transition_seconds"] if overlaps else 0)
    return chapters
