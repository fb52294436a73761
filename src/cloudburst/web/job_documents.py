"""JSON documents that the routes of `Jobs` send. Their texts are the texts of the OpenAPI page."""

from __future__ import annotations

from urllib.parse import quote

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from cloudburst.jobs import Job
from cloudburst.models.scene import Video


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

    @classmethod
    def of(cls, job: str, base: str, *, film: bool) -> JobLinks:
        """Return the URLs of a job, which begin with ``base``."""
        place = f"{base}/jobs/{job}"
        return cls(
            job=place,
            events=f"{place}/events",
            videos=f"{place}/videos",
            report=f"{place}/report",
            film=f"{place}/film" if film else None,
            cancel=f"{place}/cancel",
        )


class JobDocument(Job):
    """State of a job."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    links: JobLinks
    """URLs of the job."""

    @classmethod
    def of(cls, job: Job, base: str) -> JobDocument:
        """Return the document of a job, whose URLs begin with ``base``."""
        return cls(**dict(job), links=JobLinks.of(job.id, base, film=job.film))


class JobListDocument(Document):
    """Part of the list of jobs, the newest first."""

    jobs: list[JobDocument]
    """Jobs of this part."""
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


class UploadDocument(Document):
    """Uploaded file."""

    id: str
    """Identifier, which a scene may have in place of a file."""
    size: int
    """Size in bytes."""


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


class ErrorDocument(Document):
    """Error of a request."""

    error: str
    """Kind of the error."""
    message: str
    """Description of the error, and of what is expected."""
    faults: list[FaultDocument] | None = None
    """Problems of the scenes, at most 100, if they are invalid."""


def json_response(document: BaseModel, status: int = 200, **headers: str) -> Response:
    """Return a response with a JSON document."""
    text = document.model_dump_json()
    return Response(text, status, headers, media_type="application/json")
