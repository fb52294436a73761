"""Responses of the routes of `Jobs` with files: videos and films, on this server or in S3."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from mimetypes import guess_type
from pathlib import Path

from anyio import fail_after, to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from cloudburst.errors import CloudburstError, JobConflictError, JobError, ResourceMissingError
from cloudburst.files import open_regular_file
from cloudburst.jobs import Job
from cloudburst.jobs.folder import film_name
from cloudburst.media.subtitles import Cue
from cloudburst.media.subtitles.subrip_webvtt import to_subrip, to_webvtt
from cloudburst.text import describe_error
from cloudburst.web.access import Action
from cloudburst.web.error_responses import RETRY_AFTER
from cloudburst.web.job_api import Operation, WebCall
from cloudburst.web.job_documents import (
    BINARY,
    UNKNOWN_JOB,
    Document,
    VideoDocument,
    VideoListDocument,
    json_response,
)
from cloudburst.web.zip_stream import ZipResponse

logger = logging.getLogger(__name__)

# Maximum number of seconds until a file in S3 has its URL: a browser waits for it.
SIGN_TIMEOUT = 20.0
# Media type of files that browsers save and do not show.
UNKNOWN_TYPE = "application/octet-stream"
_FILE_HEADERS = {
    # Users may lose access, or delete the job: a stored copy is used after asking this server.
    "cache-control": "private, no-cache",
    "x-content-type-options": "nosniff",
}


_FILE_STATUSES = {
    307: (
        "The file is in S3, at the URL in `Location`. It is valid for at most an hour and for the "
        "method of this request, and anyone who has it gets the file."
    ),
    416: "The requested part does not exist.",
    503: "The server cannot look at the file in S3 now. `Retry-After` has the seconds to wait.",
}
_NO_FILM = {404: "There is no such job, or it has no film now."}


class _FileQuery(Document):
    download: str | None = None
    """Value that is not read: with the parameter, browsers save the file and do not play it."""


@Operation("GET", "/jobs/{id}/videos", Action.READ, {200: VideoListDocument, **UNKNOWN_JOB})
async def list_videos(call: WebCall) -> Response:
    """Return URL, size, length and warnings of each video of a job that is finished by now."""
    job = await call.job()
    videos = await call.queue.videos(job.id)

    def respond() -> Response:
        documents = [VideoDocument.of(video, job, call.base) for video in videos]
        return json_response(VideoListDocument(videos=documents))

    return await to_thread.run_sync(respond)


@Operation(
    "GET",
    "/jobs/{id}/videos/{name}",
    Action.READ,
    {
        200: {"video/mp4": BINARY, "image/jpeg": BINARY},
        404: "There is no such job or video; or it was deleted.",
        **_FILE_STATUSES,
    },
    query=_FileQuery,
)
async def read_video(call: WebCall) -> Response:
    """Send a finished video (`NAME.mp4`) of a job or its cover (`NAME.jpg`), or a part of it."""
    job = await call.job()
    name = str(call.request.path_params["name"])
    found = await call.queue.file(job.id, name)
    if found is None:
        raise HTTPException(404, "the job has no such video, or it is not finished yet")
    if job.destination is not None:
        return await _redirect_to_s3(call, job, name)
    path = call.queue.files(job.id).videos / name
    return await file_response(call.request, path, name, found.sha256)


@Operation(
    "GET",
    "/jobs/{id}/videos.zip",
    Action.READ,
    {
        200: {"application/zip": BINARY},
        404: "There is no such job, or it has no finished video.",
        409: "The videos are in S3.",
    },
)
async def read_archive(call: WebCall) -> Response:
    """Send all videos of a job that are finished by now, and its film, as one zip file."""
    job = await call.job()
    if job.destination is not None:
        raise JobConflictError("the videos are in S3: get each one from its URL in their list")
    folder = call.queue.files(job.id)
    videos = [folder.videos / video.path.name for video in await call.queue.videos(job.id)]
    names = {folder.film: "film.mp4"} | {path: f"videos/{path.name}" for path in videos}
    files = await to_thread.run_sync(_existing, names)
    if not files:
        raise HTTPException(404, "the job has no finished video")
    if call.request.method == "HEAD":
        return Response(media_type=ZipResponse.media_type)
    return ZipResponse(files, f"{job.name or job.id}.zip")


def _existing(names: Mapping[Path, str]) -> Mapping[Path, str]:
    return {path: name for path, name in names.items() if path.is_file() and not path.is_symlink()}


@Operation(
    "GET",
    "/jobs/{id}/film",
    Action.READ,
    {200: {"video/mp4": BINARY}, **_NO_FILM, **_FILE_STATUSES},
    query=_FileQuery,
)
async def read_film(call: WebCall) -> Response:
    """Send the film in which all videos of a job are joined, or a part of it."""
    return await _film_file(call, ".mp4")


@Operation(
    "GET",
    "/jobs/{id}/film/{file}",
    Action.READ,
    {200: {"image/jpeg": BINARY, "text/vtt": BINARY}, **_NO_FILM, **_FILE_STATUSES},
    query=_FileQuery,
)
async def read_film_part(call: WebCall) -> Response:
    """Send the `cover` of a film, or `subtitles.vtt` or `chapters.vtt` of one on this server."""
    file = call.request.path_params["file"]
    if file == "cover":
        return await _film_file(call, ".jpg")
    job = await call.job()
    film = call.queue.files(job.id).film
    if file not in {"subtitles.vtt", "chapters.vtt"} or not await to_thread.run_sync(film.is_file):
        raise HTTPException(404, "the film has no such part on this server, or is not finished yet")
    if file == "subtitles.vtt":
        text = await to_thread.run_sync(_film_subtitles, film)
    else:
        scenes = await call.queue.scenes(job.id)
        times = [(one.title, one.start, one.start + one.seconds) for one in scenes if one.seconds]
        text = to_subrip([Cue(round(1e3 * a), round(1e3 * b), title) for title, a, b in times])
    return Response(to_webvtt(text), media_type="text/vtt")


async def _film_file(call: WebCall, suffix: str) -> Response:
    job = await call.job()
    if not job.film:
        raise HTTPException(404, "no film was requested for the job")
    if job.destination is not None:
        name = Path(film_name(job.id)).with_suffix(suffix).name
        return await _redirect_to_s3(call, job, name)
    film = call.queue.files(job.id).film.with_suffix(suffix)
    return await file_response(call.request, film, f"{job.name or job.id}{suffix}")


def _film_subtitles(film: Path) -> str:
    with suppress(FileNotFoundError), open_regular_file(film.with_suffix(".srt")) as file:
        return file.read().decode()
    return ""


async def _redirect_to_s3(call: WebCall, job: Job, name: str) -> Response:
    """Return a redirect to a presigned URL of a file in S3. No cache may store the redirect."""
    request = call.request
    try:
        with fail_after(SIGN_TIMEOUT):
            url = await call.queue.download_url(
                job.id,
                name,
                save=_is_saved(request),
                method="HEAD" if request.method == "HEAD" else "GET",
            )
    except ResourceMissingError as exc:
        raise HTTPException(404, str(exc)) from exc
    except JobError:
        raise
    except (CloudburstError, TimeoutError) as exc:
        logger.error("%s %s: %s", request.method, request.url.path, describe_error(exc))  # noqa: TRY400 - the reason is enough
        detail = "the server cannot look at the file in S3 now; try again later"
        raise HTTPException(503, detail, RETRY_AFTER) from exc
    return RedirectResponse(url, headers={"cache-control": "no-store"})


def _is_saved(request: Request) -> bool:
    return "download" in request.query_params


async def file_response(
    request: Request,
    path: Path,
    name: str,
    sha256: str | None = None,
    media_type: str | None = None,
) -> Response:
    """Return a response with a file, or a part of it; without its content if the caller has it.

    ``media_type`` is that of the suffix of ``path`` by default: a name such as ``data:text/html,``
    would be taken for one.
    """
    try:
        status = await to_thread.run_sync(os.lstat, path)  # a link may lead anywhere
    except FileNotFoundError:
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        raise HTTPException(404, "the file is not finished yet, or was removed")
    saved = _is_saved(request) or media_type == UNKNOWN_TYPE
    headers = _FILE_HEADERS if sha256 is None else _FILE_HEADERS | {"etag": f'"{sha256}"'}
    response = FileResponse(
        path,
        headers=headers,
        filename=name,
        stat_result=status,
        media_type=media_type or guess_type(path)[0],
        content_disposition_type="attachment" if saved else "inline",
    )
    etag = response.headers["etag"]
    if _has_tag(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=_FILE_HEADERS | {"etag": etag})
    return response


def _has_tag(header: str, etag: str) -> bool:
    tags = (tag.strip().removeprefix("W/") for tag in header.split(","))
    return any(tag in {"*", etag} for tag in tags)
