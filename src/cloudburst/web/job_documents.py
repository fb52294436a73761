"""JSON documents that the routes of `Jobs` send. Their texts are the texts of the OpenAPI page."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from cloudburst.jobs import Job, JobCost, JobFailure, JobState
from cloudburst.models.scene import Video


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class JobLinks(_Document):
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


class JobDocument(_Document):
    """State of a job."""

    id: str
    """Identifier of the job."""
    state: JobState
    """queued and running: not finished; complete: every scene has its video; partial: some scenes
    failed; failed: no scene has a video; budget: scenes were not rendered because of a budget;
    cancelled: the job was cancelled."""
    cancel_requested: bool
    """True if the job was to be cancelled before it was finished. Until its tasks are stopped, its
    state stays as it is."""
    metadata: dict[str, JsonValue]
    """Metadata of the submission."""
    created_at: datetime
    """Time of the submission."""
    started_at: datetime | None
    """Time of the start; null if the job has not started."""
    finished_at: datetime | None
    """Time of the end; null if the job is not finished."""
    scenes: int
    """Number of scenes."""
    completed: int
    """Number of scenes with a video."""
    failed: int
    """Number of scenes that failed."""
    progress: float
    """Finished share of the job, from 0 to 1."""
    cost: JobCost | None
    """Bill so far; null if nothing is billed."""
    error: JobFailure | None
    """Error because of which the job failed as a whole; errors of scenes are in the report."""
    last_event: int
    """Number of the newest event."""
    destination: str | None
    """Folder in S3 with the videos and the film; null if this server has them."""
    links: JobLinks
    """URLs of the job."""

    @classmethod
    def of(cls, job: Job, base: str) -> JobDocument:
        """Return the document of a job, whose URLs begin with ``base``."""
        links = JobLinks.of(job.id, base, film=job.film)
        return cls(**{name: getattr(job, name) for name in _JOB_FIELDS}, links=links)


_JOB_FIELDS = sorted(JobDocument.model_fields.keys() - {"links"})


class JobListDocument(_Document):
    """Part of the list of jobs, the newest first."""

    jobs: list[JobDocument]
    """Jobs of this part."""
    next: str | None
    """Parameter ``cursor`` for the next part; null if this part is the last one."""


class VideoDocument(_Document):
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


class VideoListDocument(_Document):
    """Finished videos of a job."""

    videos: list[VideoDocument]
    """Videos in the order in which they were finished."""


class UploadDocument(_Document):
    """Uploaded file."""

    id: str
    """Identifier, which a scene may have in place of a file."""
    size: int
    """Size in bytes."""


class FaultDocument(_Document):
    """Problem of one scene."""

    scene: str
    """Name of the scene, or its place, such as scenes[3]."""
    field: str
    """Name of the field."""
    found: str
    """Description of the value that was found."""
    expected: str
    """Description of a valid value."""


class ErrorDocument(_Document):
    """Error of a request."""

    error: str
    """Kind of the error."""
    message: str
    """Description of the error, and of what is expected."""
    faults: list[FaultDocument] | None = Field(default=None)
    """Problems of the scenes, at most 100, if they are invalid."""
