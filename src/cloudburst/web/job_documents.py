"""JSON documents that the routes of `Jobs` receive and send, as the page ``/docs`` shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from cloudburst.errors import FaultCode
from cloudburst.jobs import Job, JobChanges, JobMonth, JobRequest
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import Video
from cloudburst.web.forms import FORM_FIELD

UNKNOWN_JOB = {404: "There is no such job, or it has another owner."}
BODY_ERRORS = {
    408: "The body arrives too slowly.",
    413: "The request is too large.",
    429: "A limit of the caller is reached. `Retry-After` has the seconds to wait.",
    507: "The server has no room for more files now.",
}
SUBMIT_ERRORS = {
    400: "Nothing is done: each problem has scene, field, found and expected.",
    415: "The body is neither JSON nor a form.",
    **BODY_ERRORS,
}
BINARY = {"schema": {"type": "string", "format": "binary"}}
_SCENE = (
    "Picture or title card, audio or duration in seconds, and optional subtitles: one video. A "
    "file is the identifier of an upload, the name of a file of the form, an https:// URL, or an "
    "s3:// object in a permitted folder."
)
_EXAMPLE = {
    "scenes": [
        {
            "name": "intro",
            "image": "https://example.com/intro.jpg",
            "audio": "https://example.com/intro.mp3",
        }
    ],
    "options": {"size": "1080p", "effects": ["zoom_in"]},
    "metadata": {"order": 17},
}
"""Job that the page ``/docs`` proposes for a first request."""


class Document(BaseModel):
    """JSON document, or parameters of a request, whose texts are on the page ``/docs``."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class JobLinks(Document):
    """URLs of a job, without scheme and host."""

    job: str
    """State of the job."""
    events: str
    """Events of the job, as a stream."""
    videos: str
    """List of the finished videos."""
    report: str
    """Report of the finished job."""
    film: str | None
    """Film; null if none was requested."""
    cancel: str
    """Target of the request that cancels the job."""
    scenes: str | None
    """Target of requests that add scenes; null if the job is not open."""
    close: str | None
    """Target of the request after which the job takes no scenes; null if it is not open."""

    @classmethod
    def of(cls, job: str, base: str, *, film: bool, is_open: bool) -> JobLinks:
        """Return the URLs of a job, which begin with ``base``."""
        place = f"{base}/jobs/{job}"
        return cls(
            job=place,
            events=f"{place}/events",
            videos=f"{place}/videos",
            report=f"{place}/report",
            film=f"{place}/film" if film else None,
            cancel=f"{place}/cancel",
            scenes=f"{place}/scenes" if is_open else None,
            close=f"{place}/close" if is_open else None,
        )


class JobDocument(Job):
    """State of a job."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    links: JobLinks
    """URLs of the job."""

    @classmethod
    def of(cls, job: Job, base: str) -> JobDocument:
        """Return the document of a job, whose URLs begin with ``base``."""
        links = JobLinks.of(job.id, base, film=job.film, is_open=job.open)
        return cls(**dict(job), links=links)


class JobListDocument(Document):
    """Part of the list of jobs, the newest first."""

    jobs: list[JobDocument]
    """Jobs of this part."""
    months: list[JobMonth]
    """Numbers and bills of all jobs of the caller, of the last twelve months with jobs."""
    next: str | None
    """Parameter ``cursor`` for the next part; null if this part is the last one."""


class VideoDocument(Document):
    """Finished video of a scene."""

    scene: str
    """Name of the scene."""
    url: str
    """URL of the video. If it is in S3, the response redirects there."""
    cover_url: str | None
    """URL of the cover; null if there is none."""
    location: str | None
    """Location of the video in S3; null if this server has it."""
    size: int
    """Size in bytes."""
    seconds: float
    """Length in seconds."""
    sha256: str
    """SHA-256 of the file, in hexadecimal."""
    warnings: list[str]
    """Differences of the video from its inputs."""

    @classmethod
    def of(cls, video: Video, job: Job, base: str) -> VideoDocument:
        """Return the document of a video of a job; URLs begin with ``base``."""
        folder = f"{base}/jobs/{job.id}/videos"

        def url(name: str) -> str:
            return f"{folder}/{quote(name, safe='')}"

        return cls(
            scene=video.scene,
            url=url(video.path.name),
            cover_url=None if video.cover is None else url(video.cover.name),
            location=f"{job.destination}{video.path.name}" if job.destination else None,
            size=video.size,
            seconds=video.seconds,
            sha256=video.sha256,
            warnings=list(video.warnings),
        )


class VideoListDocument(Document):
    """Finished videos of a job."""

    videos: list[VideoDocument]
    """Videos in the order in which they were finished."""


class FaultDocument(Document):
    """Problem of one scene."""

    scene: str
    """Name of the scene, or its place, such as scenes[3]."""
    field: str
    """Name of the field."""
    found: str
    """Description of the value that was found."""
    expected: str
    """Description of a valid value."""
    code: FaultCode
    """Kind of the problem, for programs."""
    fix: str
    """Command or step that removes the problem."""


class UploadDocument(Document):
    """Uploaded file."""

    id: str
    """Identifier, which a scene may have in place of a file."""
    size: int
    """Size in bytes."""
    kind: str
    """Use of the file in a scene: picture, sound, subtitle, font, or other, which is none."""
    seconds: float | None
    """Length of a sound; null if its header does not have it."""
    fault: FaultDocument | None
    """Problem because of which no scene can use the file; null if none was found."""


class ErrorDocument(Document):
    """Error of a request."""

    error: str
    """Kind of the error."""
    message: str
    """Description of the error, and of what is expected."""
    code: str
    """Kind of the error, for programs, such as `job_limit` or `not_found`."""
    fix: str
    """Command or step that may help; empty if the message says all."""
    faults: list[FaultDocument] | None = None
    """Problems of the scenes, at most 100, if they are invalid."""


def json_response(document: BaseModel, status: int = 200, **headers: str) -> Response:
    """Return a response with a JSON document."""
    text = document.model_dump_json()
    return Response(text, status, headers, media_type="application/json")


def job_body(*fields: str) -> dict[str, Any]:
    """Return the description of the body of a request with these fields of a job, or with all."""
    job, example = schema_of(JobRequest), dict(_EXAMPLE)
    if fields:
        job["properties"] = {name: job["properties"][name] for name in fields}
        example = {name: example[name] for name in fields}
    job["properties"]["scenes"]["items"]["description"] = _SCENE
    job["properties"]["scenes"]["items"]["properties"]["options"] = schema_of(RenderOptions)
    return _json_or_form(job, example, required=True)


def changes_body() -> dict[str, Any]:
    """Return the description of the body of a request that resumes a job."""
    example = {"scenes": [{"name": "intro", "image": "https://example.com/other.jpg"}]}
    return _json_or_form(schema_of(JobChanges), example, required=False)


def _json_or_form(
    schema: Mapping[str, Any], example: Mapping[str, Any], *, required: bool
) -> dict[str, Any]:
    form = {
        "type": "object",
        "required": [FORM_FIELD],
        "properties": {
            FORM_FIELD: {
                "type": "string",
                "description": "The same as a body of JSON.",
                "example": json.dumps(example),
            },
            "files": {
                "type": "array",
                "items": BINARY["schema"],
                "description": "Files, which scenes name by their file names.",
            },
        },
    }
    return {
        "required": required,
        "content": {
            "application/json": {"schema": schema, "example": example},
            "multipart/form-data": {"schema": form},
        },
    }


def model_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the description of the body of a request with this JSON document."""
    return {"required": True, "content": {"application/json": {"schema": schema_of(model)}}}


def file_body() -> dict[str, Any]:
    """Return the description of the body of a request that uploads a file."""
    return {"required": True, "content": {"application/octet-stream": BINARY}}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a model with definitions in place of the references to them."""
    schema = model.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs", {})

    def inline(value: Any) -> Any:
        match value:
            case {"$ref": str(reference), **others}:
                return inline({**definitions[reference.rpartition("/")[2]], **others})
            case dict():
                fields = cast("dict[str, Any]", value)
                return {name: inline(item) for name, item in fields.items() if name != "default"}
            case list():
                return [inline(item) for item in cast("Sequence[Any]", value)]
            case _:
                return value

    inlined: dict[str, Any] = inline(schema)
    return inlined
