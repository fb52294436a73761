"""Responses of the routes of `Jobs` to requests about scenes and uploads: what callers gave."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.files import open_regular_file
from cloudburst.jobs import Job
from cloudburst.jobs.folder import JobFolder
from cloudburst.jobs.job_scenes import JobScene
from cloudburst.jobs.public_json import public_faults
from cloudburst.web.access import Action
from cloudburst.web.file_handlers import UNKNOWN_TYPE, file_response
from cloudburst.web.job_api import Operation, WebCall
from cloudburst.web.job_documents import (
    BINARY,
    BODY_ERRORS,
    UNKNOWN_JOB,
    Document,
    FaultDocument,
    UploadDocument,
    VideoDocument,
    file_body,
    json_response,
)
from cloudburst.web.request_limits import limited_body

_NO_UPLOAD = {404: "There is no such upload, or it has another owner."}


class SceneDocument(JobScene):
    """State of one scene of a job."""

    url: str | None
    """URL of the video; null if it is not finished."""
    cover_url: str | None
    """URL of the cover; null if there is none."""
    picture_url: str | None
    """URL of the picture of the scene; null if this server does not keep it, or not every browser
    shows it."""


class SceneListDocument(Document):
    """Scenes of a job."""

    scenes: list[SceneDocument]
    """Scenes in their order."""


def _document(scene: JobScene, job: Job, folder: JobFolder, base: str) -> SceneDocument:
    video = None if scene.video is None else VideoDocument.of(scene.video, job, base)
    image = folder.kept_input(scene.image or "")
    is_shown = image is not None and _picture_type(image) is not None
    place = f"{base}/jobs/{job.id}/scenes/{quote(scene.scene, safe='')}/picture"
    return SceneDocument(
        **dict(scene),
        url=video and video.url,
        cover_url=video and video.cover_url,
        picture_url=place if is_shown else None,
    )


@Operation("GET", "/jobs/{id}/scenes", Action.READ, {200: SceneListDocument, **UNKNOWN_JOB})
async def list_scenes(call: WebCall) -> Response:
    """Return what each scene of a job waits for, its progress, its video or its error.

    It is the same after a reload of a page and in another tab; the events say what changes.
    """
    job = await call.job()
    scenes, folder = await call.queue.scenes(job.id), call.queue.files(job.id)

    def respond() -> Response:
        documents = [_document(scene, job, folder, call.base) for scene in scenes]
        return json_response(SceneListDocument(scenes=documents))

    return await to_thread.run_sync(respond)


@Operation(
    "GET",
    "/jobs/{id}/scenes/{name}/picture",
    Action.READ,
    {
        200: dict.fromkeys(("image/jpeg", "image/png", "image/webp", "image/gif"), BINARY),
        404: "There is no such job or scene, or this server does not keep such a picture of it.",
    },
)
async def read_picture(call: WebCall) -> Response:
    """Send the picture of a scene that was uploaded to this server: JPEG, PNG, WebP or GIF."""
    job, name = await call.job(), str(call.request.path_params["name"])
    path = await call.queue.picture(job.id, name)
    if path is None:
        raise HTTPException(404, "this server keeps no picture of the scene")
    return await _given_file(call.request, path, name, only_pictures=True)


@Operation("POST", "/uploads", Action.UPLOAD, {201: UploadDocument, **BODY_ERRORS}, body=file_body)
async def store_upload(call: WebCall) -> Response:
    """Store the body of the request as a file for later jobs.

    The returned identifier may stand for a file in the scenes of any number of jobs. A file that
    cannot be used is stored as well, and `fault` says why.
    """
    with call.api.transfers.entered(call.owner):
        body = limited_body(call.request, call.api.rules.limits.request_bytes)
        upload = await call.queue.uploads.store(body, owner=call.owner)
        kind, facts, problem = await call.queue.uploads.check(upload)
    faults = list[dict[str, str]]()
    if problem is not None:
        fault = SceneFault("", "file", problem.found, problem.expected, problem.code)
        faults = public_faults(InvalidScenesError(faults=[fault]))[1]
    document = UploadDocument(
        id=upload.id,
        size=upload.bytes,
        kind=kind,
        seconds=facts.seconds or None if facts.length_known else None,
        fault=FaultDocument.model_validate(faults[0]) if faults else None,
    )
    return json_response(document, 201, location=f"{call.base}/uploads/{upload.id}")


@Operation(
    "GET",
    "/uploads/{id}",
    Action.READ,
    {200: {"application/octet-stream": BINARY}, **_NO_UPLOAD},
)
async def read_upload(call: WebCall) -> Response:
    """Send an uploaded file. Browsers show it if it is a JPEG, PNG, WebP or GIF picture."""
    path = await call.queue.uploads.find(str(call.request.path_params["id"]), owner=call.owner)
    if path is None:
        raise HTTPException(404, "there is no such upload")
    return await _given_file(call.request, path, path.name)


@Operation(
    "DELETE",
    "/uploads/{id}",
    Action.UPLOAD,
    {204: "It is deleted.", **_NO_UPLOAD},
)
async def delete_upload(call: WebCall) -> Response:
    """Delete an uploaded file. Jobs that were submitted with it keep the file."""
    upload = str(call.request.path_params["id"])
    if not await call.queue.uploads.remove(upload, owner=call.owner):
        raise HTTPException(404, "there is no such upload")
    return Response(status_code=204)


async def _given_file(
    request: Request, path: Path, name: str, *, only_pictures: bool = False
) -> Response:
    """Return a response with a file of a caller, which browsers show only if it is a picture.

    Raises `HTTPException` with the status 404 if there is no such file, or no picture.
    """
    media_type = await to_thread.run_sync(_picture_type, path)
    if only_pictures and media_type is None:
        raise HTTPException(404, "the file is no picture that every browser shows, or was removed")
    response = await file_response(request, path, name, media_type=media_type or UNKNOWN_TYPE)
    response.headers["content-security-policy"] = "default-src 'none'; sandbox"
    return response


def _picture_type(path: Path) -> str | None:
    """Return the media type of a file if it is a picture that every browser shows. Blocks."""
    # Imported here, in a thread: importing Pillow is slow.
    from cloudburst.inputs.media_checks import web_picture_type  # noqa: PLC0415

    with suppress(OSError), open_regular_file(path, follow_links=False) as file:
        return web_picture_type(file.read(32))
    return None
