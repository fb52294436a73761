"""Films that the service makes of videos in its store."""

from __future__ import annotations

import json
from collections.abc import Mapping

from cloudburst.models.film import FilmJobRequest
from cloudburst.renderer.job import VIDEO_FILE

MAX_FILM_REQUEST_BYTES = 16 * 1024 * 1024
"""Largest size in bytes of the body of ``POST /films``: names, titles and hashes of the scenes."""


def film_contents(asked: FilmJobRequest) -> Mapping[str, str]:
    """Return the hash of each input file, by the name of the file in the job's folder."""
    videos = {_video(number): scene.video for number, scene in enumerate(asked.scenes)}
    subtitles = {
        _subtitle(number): scene.subtitle
        for number, scene in enumerate(asked.scenes)
        if scene.subtitle is not None
    }
    return videos | subtitles


def film_description(asked: FilmJobRequest) -> str:
    """Return the content of ``job.json``: a `cloudburst.film.plan.FilmPlan` as JSON."""
    scenes = [
        {
            "name": scene.name,
            "title": scene.title,
            "video": _video(number),
            "sha256": scene.video,
            "subtitle": None if scene.subtitle is None else _subtitle(number),
            "subtitle_sha256": scene.subtitle or "",
        }
        for number, scene in enumerate(asked.scenes)
    ]
    how = {"transition": asked.transition, "transition_seconds": asked.transition_seconds}
    return json.dumps({"path": VIDEO_FILE, "scenes": scenes, **how})


def _video(number: int) -> str:
    return f"scene-{number}.mp4"


def _subtitle(number: int) -> str:
    return f"scene-{number}.subtitle"
