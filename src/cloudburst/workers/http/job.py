"""Jobs at a native render service: their start, progress, result and deletion."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Annotated, Literal
from uuid import uuid4

import anyio
import httpx
from pydantic import BaseModel, Field, StringConstraints

from cloudburst.concurrency import finish_despite_cancel
from cloudburst.errors import (
    EncodeError,
    Remedy,
    RenderFailedError,
    SceneError,
    WorkerError,
    WorkerProtocolError,
    WorkerStoppedError,
)
from cloudburst.models import failures
from cloudburst.models.failures import connections
from cloudburst.models.options import RenderOptions
from cloudburst.models.options.subtitles import DEFAULT_FAMILY
from cloudburst.models.scene import MAX_COVER_BYTES
from cloudburst.ports.renderer import EncodedFile, EncodedVideo, OnProgress
from cloudburst.text import describe_error
from cloudburst.workers.http.connection import HttpConnection
from cloudburst.workers.http.response import (
    REQUEST_ERRORS,
    ErrorBody,
    InvalidAnswerError,
    PrintableText,
    Sha256,
    UnavailableError,
    VideoSize,
    iter_lines,
    parse_json_as,
    raise_for_worker_status,
)

logger = logging.getLogger(__name__)

# Seconds without a line after which a stream of events counts as broken and is opened again: the
# worker sends a line at least every 10 s.
EVENT_TIMEOUT = 20.0
# Seconds to wait for the end of an event stream after the job's final state, so that the TCP
# connection can be used again.
STREAM_END_TIMEOUT = 1.0
# Seconds to cancel a job; the worker kills the job's render process before it answers.
DELETE_JOB_TIMEOUT = 5.0
# States of a job that a worker has begun.
_BEGUN = frozenset({"running", "done", "failed"})
# Maximum size of the subtitles of a film, in bytes.
MAX_FILM_SUBTITLE_BYTES = 256 * 1024 * 1024


class JobPayload(BaseModel):
    """Body of ``POST /jobs``. Files are identified by their SHA-256."""

    name: str
    image: str | None = None
    title_card: str | None = None
    audio: str | None = None
    duration: float | None = None
    subtitle: str | None = None
    watermark: str | None = None
    music: str | None = None
    font: tuple[str, ...] = (DEFAULT_FAMILY,)
    seams: tuple[int, int] = (0, 0)
    subtitle_frame: int = 0
    options: RenderOptions


class JobAccepted(BaseModel):
    """Successful response to ``POST /jobs``."""

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{1,64}\z")]
    """Identifier of the job, which its URLs contain."""


class FinishedCover(BaseModel):
    """Properties of the cover of a finished job's video."""

    size: Annotated[int, Field(ge=1, le=MAX_COVER_BYTES)]
    sha256: Sha256


class FinishedSubtitles(BaseModel):
    """Properties of the subtitles of a finished film."""

    size: Annotated[int, Field(ge=1, le=MAX_FILM_SUBTITLE_BYTES)]
    sha256: Sha256


class FinishedVideo(BaseModel):
    """Properties of the video of a finished job."""

    seconds: Annotated[float, Field(ge=0, le=10**7, allow_inf_nan=False)]
    size: VideoSize
    sha256: Sha256
    warnings: Annotated[tuple[PrintableText, ...], Field(max_length=16)] = ()
    cover: FinishedCover | None = None
    subtitles: FinishedSubtitles | None = None


class JobEvent(BaseModel):
    """State of a job, sent as a line of the response to ``GET /jobs/{id}/events``."""

    state: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
    progress: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    done: FinishedVideo | None = None
    shared_seconds: Annotated[float, Field(ge=0, le=10**7, allow_inf_nan=False)] = 0.0
    """Seconds for which other encoder slots have encoded parts of the video."""
    error: ErrorBody | None = None


class MissingFilesError(Exception):
    """Refusal of a job because the worker does not have all files that the job names."""

    def __init__(self, hashes: tuple[str, ...]) -> None:
        super().__init__(", ".join(hashes))
        self.hashes = hashes


class _JobLimitError(Exception):
    """Refusal of a job because too many jobs wait at the worker, which itself works normally."""


class WorkerJob:
    """Client of one job at a worker: starts the job and waits for its end."""

    def __init__(
        self, connection: HttpConnection, scene: str, payload: str, *, path: str = "/jobs"
    ) -> None:
        self._connection = connection
        self._scene = scene
        self._payload = payload
        self._path = path
        # The same for each attempt, so that the worker recognizes a repeated request.
        self._idempotency_key = uuid4().hex
        self.id: str | None = None
        self._may_exist = False
        """True if a start request was sent and no answer has ruled out that the job exists."""
        self.is_starting = False
        """True while a start request has no answer."""

    @property
    def id_at_worker(self) -> str | None:
        """Identifier of the job that the worker has or may have; ``None`` if it has no job."""
        # The service uses the idempotency key of a request as the identifier of its job.
        return self.id or (self._idempotency_key if self._may_exist else None)

    async def start(self) -> None:
        """Start the job; repeat the request while too many jobs wait at the worker.

        Raises:
            MissingFilesError: The worker does not have all files.
            EncodeError: The worker refused the scene.
            WorkerError: The worker has stopped, refuses the key, or sends invalid answers.
        """
        retries = self._connection.new_retries()
        while self.id is None:
            try:
                # Cancelled between the worker's answer and our reading of the id, the job would
                # have no owner.
                await finish_despite_cancel(
                    self._request_start, seconds=self._connection.timeouts.call
                )
            except _JobLimitError as exc:
                retries.reset()
                await retries.wait(exc)
            except REQUEST_ERRORS as exc:
                await retries.wait(exc)

    async def _request_start(self) -> None:
        headers = {"Content-Type": "application/json", "Idempotency-Key": self._idempotency_key}
        could_exist, self._may_exist = self._may_exist, True
        self.is_starting = True
        try:
            response = await self._connection.request(
                "POST", self._path, content=self._payload, headers=headers
            )
        except (httpx.ConnectError, httpx.ConnectTimeout):
            self._may_exist = could_exist  # nothing was sent
            raise
        finally:
            self.is_starting = False
        response = raise_for_worker_status(response)
        if not response.is_success and ErrorBody.parse(response) is not None:
            self._may_exist = False
        match failures.classify_http_status(response.status, context="job"):
            case None:
                self.id = parse_json_as(JobAccepted, response.content).id
            case connections.FILES_MISSING:
                raise MissingFilesError(ErrorBody.from_response(response).missing)
            case connections.JOB_LIMIT_REACHED:
                raise _JobLimitError(str(ErrorBody.from_response(response)))
            case failure if failure.error is WorkerProtocolError:
                raise WorkerProtocolError(f"{failure.summary} (HTTP {response.status})")
            case _:
                # The scene would fail for good, so only a reason in the protocol's form counts.
                if (reason := ErrorBody.parse(response)) is None:
                    msg = f"HTTP {response.status} to a job, and no reason"
                    raise InvalidAnswerError(msg)
                raise self._encode_error(reason)

    async def wait_until_done(self, progress: OnProgress) -> EncodedVideo:
        """Wait for the end of the job and report progress; reconnect if the connection breaks."""
        retries = self._connection.new_retries()
        reported: float | None = None

        def on_event(event: JobEvent) -> None:
            nonlocal reported
            retries.reset()
            if event.state in _BEGUN and (reported is None or event.progress > reported):
                reported = event.progress
                progress(reported)

        while True:
            try:
                if final := await self._read_events(on_event):
                    return await self._result(final, has_begun=reported is not None)
                error: Exception = UnavailableError("the stream of events ended before the job")
            except REQUEST_ERRORS as exc:
                error = exc
            logger.info(
                "job %s of %s: reconnecting (%s)", self.id, self._scene, describe_error(error)
            )
            await retries.wait(error)

    async def _read_events(self, on_event: Callable[[JobEvent], None]) -> JobEvent | None:
        read_timeout = min(EVENT_TIMEOUT, self._connection.timeouts.silence / 2)
        final: JobEvent | None = None
        path = f"/jobs/{self.id}/events"
        async with self._connection.stream(path, read_timeout=read_timeout) as (response, failed):
            if failed and (
                failure := failures.classify_http_status(failed.status, context="events")
            ):
                if failure.remedy is not Remedy.REPEAT_REQUEST:
                    raise WorkerStoppedError(failure.summary)
                reason = ErrorBody.from_response(failed)
                raise InvalidAnswerError(f"HTTP {failed.status}: {reason}")
            async with aclosing(iter_lines(response, read_timeout=read_timeout)) as lines:
                async for line in lines:
                    event = parse_json_as(JobEvent, line)
                    on_event(event)
                    if event.state not in {"queued", "running"}:
                        final = event
                        break
                if final is not None:
                    with anyio.move_on_after(STREAM_END_TIMEOUT), suppress(*REQUEST_ERRORS):
                        await anext(lines, None)
        return final

    async def _result(self, event: JobEvent, *, has_begun: bool) -> EncodedVideo:
        error = event.error or ErrorBody(error="no reason given")
        match event.state:
            case "done" if event.done:
                done, cover, subtitles = event.done, event.done.cover, event.done.subtitles
                return EncodedVideo(
                    scene=self._scene,
                    reference=str(self.id),
                    size=done.size,
                    sha256=done.sha256,
                    seconds=done.seconds,
                    warnings=done.warnings,
                    shared_seconds=event.shared_seconds,
                    cover=None if cover is None else EncodedFile(**cover.model_dump()),
                    subtitles=None if subtitles is None else EncodedFile(**subtitles.model_dump()),
                )
            case "done":
                msg = "the worker reports the job as done, but no video"
                raise WorkerProtocolError(msg)
            case "failed" if error.field:
                raise self._encode_error(error)
            case "interrupted":
                msg = "the worker is stopping and has interrupted the job"
                raise WorkerStoppedError(msg, draining=not has_begun)
            case _:
                await self._connection.check_health()  # raises if it cannot render at all
                msg = f"{event.state} because of an error of the render service: {error}"
                raise RenderFailedError(msg, scene=self._scene)

    def _encode_error(self, reason: ErrorBody) -> SceneError:
        return EncodeError(str(reason), scene=self._scene, field=reason.field or "")


async def delete_job(
    connection: HttpConnection, job: str | None, *, seconds: float = DELETE_JOB_TIMEOUT
) -> None:
    """Cancel a running job, or delete a finished one, within ``seconds``.

    A failure is only logged, and is no warning: the service deletes its jobs after a while, and a
    worker that is being stopped breaks the connection. Nothing is done if
    ``job`` is ``None``.
    """
    if job is None:
        return

    async def delete() -> None:
        if connection.closed:
            return  # the worker is being stopped, and all its jobs with it
        try:
            response = raise_for_worker_status(
                await connection.request("DELETE", f"/jobs/{job}", answer_timeout=seconds)
            )
            logger.debug("job %s: deleted (HTTP %d)", job, response.status)
        except (*REQUEST_ERRORS, WorkerError) as exc:
            logger.info("job %s may still exist on its worker: %s", job, describe_error(exc))

    try:
        await finish_despite_cancel(delete, seconds=seconds)
    except TimeoutError:
        logger.info("job %s may still exist on its worker: no answer in %g s", job, seconds)


async def cancel_all_jobs(connection: HttpConnection) -> None:
    """Cancel all jobs of a worker."""
    try:
        response = raise_for_worker_status(await connection.request("DELETE", "/jobs"))
    except REQUEST_ERRORS as exc:
        msg = f"the worker's jobs cannot be cancelled: {describe_error(exc)}"
        raise WorkerStoppedError(msg) from exc
    if not response.is_success:
        msg = f"the worker's jobs cannot be cancelled: HTTP {response.status}"
        raise WorkerStoppedError(msg)
