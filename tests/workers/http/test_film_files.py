"""Files of a film that a worker gets before it makes the film."""

from __future__ import annotations

import json

import anyio
import pytest

from cloudburst.errors import UploadError
from cloudburst.models.film import FilmPart, FilmRequest, WorkerFilm
from cloudburst.models.locations import S3Object
from cloudburst.workers.http.given_files import MAX_FILES, give_film

pytestmark = pytest.mark.anyio

HASHES = {f"scene-{number}.mp4": f"{number:064x}" for number in range(20)}


def film_of(**changes):
    parts = [
        FilmPart(
            name=name,
            title=name.upper(),
            video=S3Object("b", name),
            sha256=changes.get("sha256", sha256),
            subtitle=S3Object("b", "lines.srt") if name == "scene-3.mp4" else None,
        )
        for name, sha256 in HASHES.items()
    ]
    path = S3Object("b", "film.mp4")
    return WorkerFilm(
        path=path,
        request=FilmRequest(path=path, transition="fade", transition_seconds=1.0),
        parts=tuple(parts),
        seconds=20.0,
    )


async def test_a_worker_gets_some_files_at_once_and_the_film_keeps_its_order():
    at_once, most, done = 0, 0, []

    async def give_file(_field, location):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await anyio.sleep(0.01 * (len(HASHES) - int(HASHES.get(location.name, "0"), 16)))
        at_once -= 1
        return HASHES.get(location.name, "f" * 64), 5

    given = await give_film(film_of(), give_file, lambda: done.append(1))
    body = json.loads(given.reference)
    assert [scene["video"] for scene in body["scenes"]] == list(HASHES.values())
    assert [scene.get("subtitle") for scene in body["scenes"]].count("f" * 64) == 1
    assert body["scenes"][3]["subtitle"] == "f" * 64
    assert (body["transition"], body["transition_seconds"]) == ("fade", 1.0)
    assert (given.is_film, given.needs_cover, given.sent) == (True, True, 5 * 21)
    assert (most, len(done)) == (MAX_FILES, 21)


async def test_a_video_that_was_replaced_is_an_error():
    async def give_file(_field, location):
        await anyio.lowlevel.checkpoint()
        return HASHES.get(location.name, "f" * 64), 0

    with pytest.raises(UploadError, match=r"s3://b/scene-\d+\.mp4 is not the video"):
        await give_film(film_of(sha256="e" * 64), give_file, lambda: None)
