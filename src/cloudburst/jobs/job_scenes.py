"""States of the scenes of jobs, from their events. Every function uses the caller's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field

from cloudburst.jobs.job_rows import parse_request, read_job
from cloudburst.jobs.models import JobFailure
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
    attempts: int = 0
    """Number of attempts so far."""
    seconds: float | None = None
    """Length of the video, in seconds; ``None`` if there is none."""
    start: float = 0.0
    """Position of the scene in the film of the videos so far, in seconds, exact to half a frame for
    each crossfade before it."""
    error: JobFailure | None = None
    """Error of a failed scene."""
    video: Video | None = Field(default=None, exclude=True)
    """Video; ``None`` if it is not finished. Not part of ``model_dump()``."""
    image: str | None = Field(default=None, exclude=True)
    """Location of the picture; ``None`` for a title card. Not part of ``model_dump()``."""


# Columns of the scenes of a job: its first parameter.
_SCENES = (
    "SELECT number, json_extract(scene, '$.name') AS name, "
    "json_extract(scene, '$.image') AS image, "
    "coalesce(json_extract(scene, '$.title'), json_extract(scene, '$.options.title')) AS title, "
    "json_extract(scene, '$.transition') AS transition FROM "
    "(SELECT number, scene FROM scenes WHERE job = ?1 UNION ALL "
    "SELECT key, value FROM jobs, json_each(request, '$.scenes') WHERE jobs.id = ?1)"
)


def find_image(connection: sqlite3.Connection, job: str, scene: str) -> str | None:
    """Return the location of the picture of a scene, if it has one."""
    query = f"SELECT max(image) FROM ({_SCENES}) WHERE name = ?2"  # noqa: S608 - our own query
    return cast("str | None", connection.execute(query, (job, scene)).fetchone()[0])


def read_scene_states(connection: sqlite3.Connection, job: str) -> list[JobScene]:
    """Return the states of the scenes of a job in their order. Raises `UnknownJobError`."""
    live = read_job(connection, job).live
    rows = connection.execute(f"{_SCENES} ORDER BY number", [job]).fetchall()
    found = {
        name: JobScene(scene=name, title=title or name, image=image)
        for _, name, image, title, _ in rows
    }
    _apply_events(connection, job, found)
    for name, share in (live.encodes if live else {}).items():
        if found[name].state == "encoding":
            found[name].progress = share
    (text,) = connection.execute(
        "SELECT json_set(request, '$.scenes', json('[]'), '$.open', json('true')) "
        "FROM jobs WHERE id = ?",
        [job],
    ).fetchone()
    film, start = parse_request(text), 0.0
    for scene, (*_, transition) in zip(found.values(), rows, strict=True):
        scene.start = start
        if scene.seconds is not None:
            overlaps = (transition or film.transition) == "crossfade"
            start += scene.seconds + film.film_gap - overlaps * film.transition_seconds
    return list(found.values())


def _apply_events(connection: sqlite3.Connection, job: str, found: Mapping[str, JobScene]) -> None:
    for kind, name, text in connection.execute(
        "SELECT type, scene, data FROM events WHERE job = ? AND (scene IS NOT NULL OR type IN "
        "('job.started', 'job.interrupted', 'job.finished', 'job.resumed')) ORDER BY number",
        [job],
    ):
        if name is None:
            for scene in found.values():
                ends = {"done"} if kind == "job.resumed" else {"done", "failed"}
                if scene.state not in ends:
                    scene.state, scene.error = "waiting", None
        # A video that exists counts, also while a later process makes it again.
        elif kind in _STATES and (one := found.get(name)) and one.video is None:
            _apply(one, kind, json.loads(text))


def _apply(scene: JobScene, kind: str, data: Mapping[str, Any]) -> None:
    scene.state = _STATES[kind]
    scene.attempts = data["attempt"] if kind == "scene.started" else scene.attempts
    if kind == "scene.completed":
        scene.video = Video.model_validate(data["video"])
        scene.seconds, scene.progress = scene.video.seconds, 1.0
    elif kind == "scene.failed":
        scene.error = JobFailure.model_validate(data)
    else:
        scene.error = None
