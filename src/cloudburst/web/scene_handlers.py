"""Responses of the routes of `Jobs` to requests about the scenes of a job."""

from __future__ import annotations

from urllib.parse import quote

from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cloudburst.jobs import Job
from cloudburst.jobs.folder import JobFolder
from cloudburst.jobs.job_scenes import JobScene
from cloudburst.web.access import Action
from cloudburst.web.file_handlers import given_file_response, picture_type
from cloudburst.web.job_api import Operation, WebCall
from cloudburst.web.job_documents import (
    BINARY,
    UNKNOWN_JOB,
    Document,
    VideoDocument,
    json_response,
)


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
    is_shown = image is not None and picture_type(image) is not None
    place = f"{base}/jobs/{job.id}/scenes/{quote(scene.scene, safe='')}/picture"
    return SceneDocument(
        **dict(scene),
        url=video and video.url,
        cover_url=video and video.cover_url,
        picture_url=place if is_shown else None,
    )


@Operation("GET", "/jobs/{id}/scenes", Action.READ, {200: SceneListDocument, **UNKNOWN_JOB})
async def list_scenes(call: WebCall) -> Response:
    """Return what each scene of a job waits for, its progress, its worker, its video or its error.

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
    return await given_file_response(call.request, path, name, only_pictures=True)
