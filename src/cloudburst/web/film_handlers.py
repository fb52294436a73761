"""Responses of the routes of `Jobs` to requests about films."""

from __future__ import annotations

import html
from pathlib import Path

from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cloudburst.files import open_regular_file
from cloudburst.jobs.folder import film_name
from cloudburst.media.subtitles.cues import timestamp
from cloudburst.media.subtitles.subrip_webvtt import to_webvtt
from cloudburst.web.access import Action
from cloudburst.web.file_responses import (
    FILE_STATUSES,
    FileQuery,
    file_response,
    redirect_to_s3,
)
from cloudburst.web.job_api import Operation, WebCall
from cloudburst.web.job_documents import BINARY

_NO_FILM = {404: "There is no such job, or it has no film now."}
_WEBVTT = {"text/vtt": {"schema": {"type": "string"}}}


@Operation(
    "GET",
    "/jobs/{id}/film",
    Action.READ,
    {200: {"video/mp4": BINARY}, **_NO_FILM, **FILE_STATUSES},
    query=FileQuery,
)
async def read_film(call: WebCall) -> Response:
    """Send the film in which all videos of a job are joined, or a part of it."""
    return await _film_file(call, ".mp4")


@Operation(
    "GET",
    "/jobs/{id}/film/cover",
    Action.READ,
    {200: {"image/jpeg": BINARY}, **_NO_FILM, **FILE_STATUSES},
    query=FileQuery,
)
async def read_film_cover(call: WebCall) -> Response:
    """Send the cover of the film of a job."""
    return await _film_file(call, ".jpg")


@Operation("GET", "/jobs/{id}/film/subtitles.vtt", Action.READ, {200: _WEBVTT, **_NO_FILM})
async def read_film_subtitles(call: WebCall) -> Response:
    """Send the subtitles of the film of a job that is on this server, in WebVTT form.

    They are empty if no scene has subtitles.
    """
    film = await _finished_film(call)
    text = await to_thread.run_sync(_subtitles, film)
    return Response(text, media_type="text/vtt")


@Operation("GET", "/jobs/{id}/film/chapters.vtt", Action.READ, {200: _WEBVTT, **_NO_FILM})
async def read_film_chapters(call: WebCall) -> Response:
    """Send the chapters of the film of a job that is on this server, in WebVTT form."""
    await _finished_film(call)
    cues = list[str]()
    for title, *times in await call.queue.chapters(str(call.request.path_params["id"])):
        start, end = (timestamp(round(1000 * at)).replace(",", ".") for at in times)
        cues.append(f"{start} --> {end}\n{html.escape(title, quote=False)}\n")
    return Response("\n".join(("WEBVTT\n", *cues)), media_type="text/vtt")


async def _film_file(call: WebCall, suffix: str) -> Response:
    job = await call.job()
    if not job.film:
        raise HTTPException(404, "no film was requested for the job")
    name = Path(film_name(job.id)).with_suffix(suffix).name
    if job.destination is not None:
        return await redirect_to_s3(call, job, name)
    film = call.queue.files(job.id).film.with_suffix(suffix)
    return await file_response(call.request, film, name)


async def _finished_film(call: WebCall) -> Path:
    film = call.queue.files((await call.job()).id).film
    if not await to_thread.run_sync(film.is_file):
        raise HTTPException(404, "the job has no film on this server, or it is not finished yet")
    return film


def _subtitles(film: Path) -> str:
    try:
        with open_regular_file(film.with_suffix(".srt")) as file:
            return to_webvtt(file.read().decode())
    except FileNotFoundError:
        return to_webvtt("")
