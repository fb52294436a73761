"""Responses of the routes of `Jobs` to requests about videos and uploads."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from anyio import fail_after, to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from cloudburst.errors import CloudburstError, JobError, ResourceMissingError
from cloudburst.jobs import Job
from cloudburst.jobs.folder import film_name
from cloudburst.text import describe_error
from cloudburst.web.access import Action
from cloudburst.web.error_responses import RETRY_AFTER
from cloudburst.web.job_api import Operation, WebCall
from cloudburst.web.job_documents import (
    BINARY,
    BODY_ERRORS,
    UNKNOWN_JOB,
    Document,
    UploadDocument,
    VideoDocument,
    VideoListDocument,
    file_body,
    json_response,
)
from cloudburst.web.request_limits import limited_body

logger = logging.getLogger(__name__)

# Maximum number of seconds until a file in S3 has its URL: a browser waits for it.
SIGN_TIMEOUT = 20.0
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


class _FileQuery(Document):
    download: str | None = None
    """If present, browsers save the file and do not play it."""


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
    return await _file_response(call.request, path, name, found.sha256)


@Operation(
    "GET",
    "/jobs/{id}/film",
    Action.READ,
    {
        200: {"video/mp4": BINARY},
        404: "There is no such job, or it has no film now.",
        **_FILE_STATUSES,
    },
    query=_FileQuery,
)
async def read_film(call: WebCall) -> Response:
    """Send the film in which all videos of a job are joined, or a part of it."""
    job = await call.job()
    if not job.film:
        raise HTTPException(404, "no film was requested for the job")
    name = film_name(job.id)
    if job.destination is not None:
        return await _redirect_to_s3(call, job, name)
    return await _file_response(call.request, call.queue.files(job.id).film, name, None)


@Operation("POST", "/uploads", Action.UPLOAD, {201: UploadDocument, **BODY_ERRORS}, body=file_body)
async def store_upload(call: WebCall) -> Response:
    """Store the body of the request as a file for later jobs.

    The returned identifier may stand for a file in the scenes of any number of jobs.
    """
    with call.api.transfers.entered(call.owner):
        body = limited_body(call.request, call.api.rules.limits.request_bytes)
        upload = await call.queue.uploads.store(body, owner=call.owner)
    document = UploadDocument(id=upload.id, size=upload.bytes)
    return json_response(document, 201, location=f"{call.base}/uploads/{upload.id}")


@Operation(
    "DELETE",
    "/uploads/{id}",
    Action.UPLOAD,
    {204: "It is deleted.", 404: "There is no such upload, or it has another owner."},
)
async def delete_upload(call: WebCall) -> Response:
    """Delete an uploaded file. Jobs that were submitted with it keep the file."""
    upload = str(call.request.path_params["id"])
    if not await call.queue.uploads.remove(upload, owner=call.owner):
        raise HTTPException(404, "there is no such upload")
    return Response(status_code=204)


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


async def _file_response(request: Request, path: Path, name: str, sha256: str | None) -> Response:
    """Return a response with a file, or a part of it; without its content if the caller has it."""
    try:
        status = await to_thread.run_sync(os.lstat, path)  # a link may lead anywhere
    except FileNotFoundError:
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        raise HTTPException(404, "the file is not finished yet, or was removed")
    headers = _FILE_HEADERS if sha256 is None else _FILE_HEADERS | {"etag": f'"{sha256}"'}
    response = FileResponse(
        path,
        headers=headers,
        filename=name,
        stat_result=status,
        content_disposition_type="attachment" if _is_saved(request) else "inline",
    )
    etag = response.headers["etag"]
    if _has_tag(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=_FILE_HEADERS | {"etag": etag})
    return response


def _has_tag(header: str, etag: str) -> bool:
    tags = (tag.strip().removeprefix("W/") for tag in header.split(","))
    return any(tag in {"*", etag} for tag in tags)
