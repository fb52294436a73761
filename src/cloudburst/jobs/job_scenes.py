"""Scenes of jobs as callers see them. Every function uses the caller's transaction."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from cloudburst.jobs.event_log import read_videos
from cloudburst.jobs.models import JobRequest


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
