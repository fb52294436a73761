"""Responses of the routes of `Jobs` to requests about videos."""

from __future__ import annotations

from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cloudburst.errors import JobConflictError
from cloudburst.web.access import Action
from cloudburst.web.file_responses import (
    FILE_STATUSES,
    FileQuery,
    file_response,
    redirect_to_s3,
)
from cloudburst.web.job_api import Operation, WebCall
from cloudburst.web.job_documents import (
    BINARY,
    UNKNOWN_JOB,
    VideoDocument,
    VideoListDocument,
    json_response,
)
from cloudburst.web.zip_stream import ZipResponse, zip_entries


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
        **FILE_STATUSES,
    },
    query=FileQuery,
)
async def read_video(call: WebCall) -> Response:
    """Send a finished video (`NAME.mp4`) of a job or its cover (`NAME.jpg`), or a part of it."""
    job = await call.job()
    name = str(call.request.path_params["name"])
    found = await call.queue.file(job.id, name)
    if found is None:
        raise HTTPException(404, "the job has no such video, or it is not finished yet")
    if job.destination is not None:
        return await redirect_to_s3(call, job, name)
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
        msg = (
            f"the videos of job {job.id} are in S3: get each one from its URL in the list of videos"
        )
        raise JobConflictError(msg)
    folder = call.queue.files(job.id)
    names = [video.path.name for video in await call.queue.videos(job.id)]
    files = [
        (folder.film, "film.mp4"),
        *((folder.videos / name, f"videos/{name}") for name in names),
    ]
    entries = await to_thread.run_sync(zip_entries, files)
    if not entries:
        raise HTTPException(404, "the job has no finished video")
    return ZipResponse(entries, f"{job.id}.zip")
