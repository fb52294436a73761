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
from cloudburst.jobs.downloads import film_name
from cloudburst.text import describe_error
from cloudburst.web.access import Access
from cloudburst.web.error_responses import RETRY_AFTER
from cloudburst.web.job_api import JobApi, base_url
from cloudburst.web.job_documents import UploadDocument, VideoDocument, VideoListDocument
from cloudburst.web.job_handlers import json_response
from cloudburst.web.request_bodies import limited_body

logger = logging.getLogger(__name__)

SIGN_TIMEOUT = 20.0
"""Maximum number of seconds until a file in S3 has its URL: a browser waits for it."""
_FILE_HEADERS = {
    # Users may lose access, or delete the job: a stored copy is used after asking this server.
    "cache-control": "private, no-cache",
    "x-content-type-options": "nosniff",
}


async def list_videos(api: JobApi, request: Request, access: Access) -> Response:
    """Return the videos of a job that are finished."""
    job = await api.find_job(request, access)
    base = base_url(request, 3)
    videos = await api.queue.videos(job.id)

    def respond() -> Response:
        documents = [VideoDocument.of(video, job, base) for video in videos]
        return json_response(VideoListDocument(videos=documents))

    return await to_thread.run_sync(respond)


async def read_video(api: JobApi, request: Request, access: Access) -> Response:
    """Return a finished video of a job, or the cover of one."""
    job = await api.find_job(request, access)
    name = str(request.path_params["name"])
    # Not of all videos: a player that seeks in a video of a large job sends many requests.
    video = await api.queue.video(job.id, name.rpartition(".")[0])
    if video is not None and name == video.path.name:
        digest: str | None = video.sha256
    elif video is not None and video.cover is not None and name == video.cover.name:
        digest = video.cover_sha256
    else:
        raise HTTPException(404, "the job has no such video, or it is not finished yet")
    if job.destination is not None:
        return await _redirect_to_s3(api, request, job, name)
    return await _file_response(request, api.queue.files(job.id).videos / name, name, digest)


async def read_film(api: JobApi, request: Request, access: Access) -> Response:
    """Return the film of a job."""
    job = await api.find_job(request, access)
    if not job.film:
        raise HTTPException(404, "no film was requested for the job")
    name = film_name(job.id)
    if job.destination is not None:
        return await _redirect_to_s3(api, request, job, name)
    return await _file_response(request, api.queue.files(job.id).film, name, None)


async def store_upload(api: JobApi, request: Request, access: Access) -> Response:
    """Store the body of a request as a file for later jobs."""
    with api.transfers.entered(access.owner):
        body = limited_body(request, api.limits.request_bytes)
        upload = await api.queue.uploads.store(body, owner=access.owner)
    response = json_response(UploadDocument(id=upload.id, size=upload.bytes), 201)
    response.headers["location"] = f"{base_url(request, 1)}/uploads/{upload.id}"
    return response


async def delete_upload(api: JobApi, request: Request, access: Access) -> Response:
    """Delete an upload; jobs that use it keep the file."""
    if not await api.queue.uploads.remove(str(request.path_params["id"]), owner=access.owner):
        raise HTTPException(404, "there is no such upload")
    return Response(status_code=204)


async def _redirect_to_s3(api: JobApi, request: Request, job: Job, name: str) -> Response:
    """Return a redirect to a presigned URL of a file in S3. No cache may store the redirect."""
    try:
        with fail_after(SIGN_TIMEOUT):
            url = await api.queue.download_url(
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
    """Return whether browsers save the file, and do not show it."""
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
    """Return whether a list of entity tags has a tag, weak or not."""
    tags = (tag.strip().removeprefix("W/") for tag in header.split(","))
    return any(tag in {"*", etag} for tag in tags)
