"""Endpoints of the native protocol, which docs/internals/protocol.md specifies."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Self
from uuid import uuid4

from anyio import Lock
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    StringConstraints,
    model_validator,
)
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.film import FilmJobRequest
from cloudburst.models.options import RenderOptions
from cloudburst.models.options.subtitles import FontFamily, font_roles
from cloudburst.models.scene import (
    Duration,
    TitleCard,
    check_duration,
    check_one_of,
    validate_scene_name,
)
from cloudburst.models.transfers import FetchRequest, UploadRequest
from cloudburst.renderer.job import (
    AUDIO,
    IMAGE,
    MUSIC,
    SUBTITLE,
    VIDEO_FILE,
    WATERMARK,
    JobOptions,
    RenderJob,
)
from cloudburst.service import request_body
from cloudburst.service.content_store import MissingContentError
from cloudburst.service.http_errors import RejectedRequestError, display_value
from cloudburst.service.jobs import ServiceJob
from cloudburst.service.responses import (
    JobEventStream,
    JobFileResponse,
    finished_video,
    video_response,
)
from cloudburst.service.service import RenderService
from cloudburst.service.transfers import (
    MAX_FETCH_REQUEST_BYTES,
    MAX_UPLOAD_REQUEST_BYTES,
    InputFetch,
    ResultUpload,
    TransferStream,
)

# Largest size in bytes of the body of ``POST /jobs``: a name, hashes of files and options.
MAX_REQUEST_BYTES = 64 * 1024


_SHA256 = re.compile("[0-9a-f]{64}")
_TOKEN = re.compile("[0-9a-f]{32}")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}\z")]

# Largest size in bytes of the body of ``POST /films``: names, titles and hashes of the scenes.
MAX_FILM_REQUEST_BYTES = 16 * 1024 * 1024


def _without_files(options: RenderOptions) -> RenderOptions:
    for name in options.files():
        msg = f"{name}: a path; expected the hash of an uploaded file, beside the options"
        raise ValueError(msg)
    return options


class SceneJobRequest(BaseModel):
    """Body of ``POST /jobs``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(validate_scene_name)]
    image: Sha256 | None = None
    title_card: TitleCard | None = None
    """Text of the picture, in place of the image."""
    audio: Sha256 | None = None
    duration: Duration | None = None
    """Length of the video in seconds, in place of the audio."""
    subtitle: Sha256 | None = None
    watermark: Sha256 | None = None
    music: Sha256 | None = None
    font: tuple[FontFamily | Sha256, ...] = ()
    """Families, and hashes of font files, in place of the option ``font``."""
    seams: tuple[NonNegativeInt, NonNegativeInt] = (0, 0)
    """Number of frames at the start and the end in groups of pictures of their own."""
    subtitle_frame: NonNegativeInt = 0
    """Frame of the subtitles that is the first one of the video."""
    options: Annotated[RenderOptions, AfterValidator(_without_files)] = RenderOptions()

    @model_validator(mode="after")
    def _check_one_of_each(self) -> Self:
        check_one_of(image=self.image, title_card=self.title_card)
        check_one_of(audio=self.audio, duration=self.duration)
        return self

    def contents(self) -> Mapping[str, str]:
        """Return the hash of each input file, by the name of the file in the job's folder."""
        named = {
            IMAGE: self.image,
            AUDIO: self.audio,
            SUBTITLE: self.subtitle,
            WATERMARK: self.watermark,
            MUSIC: self.music,
        }
        return {name: sha for name, sha in named.items() if sha is not None} | self._font_files()

    def job_options(self) -> JobOptions:
        """Return the options of the job."""
        options, files = JobOptions.from_options(self.options), self._font_files()
        names = tuple(role if role in files else at for role, at in font_roles(self.font).items())
        return replace(options, font=names) if names else options

    def _font_files(self) -> dict[str, str]:
        return {role: at for role, at in font_roles(self.font).items() if _SHA256.fullmatch(at)}


class NativeApi:
    """Endpoints of the native protocol."""

    def __init__(self, service: RenderService) -> None:
        self._service = service
        self._settings = service.settings
        self._posting = Lock()

    async def head_file(self, request: Request) -> Response:
        """Answer 200 if a file is in the store, otherwise 404."""
        return Response(status_code=200 if self._service.store.contains(_sha256(request)) else 404)

    async def put_file(self, request: Request) -> Response:
        """Store an uploaded file under its hash."""
        sha, store = _sha256(request), self._service.store
        limit, stall = self._settings.body_bytes, self._settings.stall_seconds
        if store.contains(sha):
            await request_body.discard(request, limit=limit, stall=stall)
            return JSONResponse({"sha256": sha}, 200)
        async with store.partial() as path:
            received = await request_body.read_to_file(
                request, path, store, limit=limit, stall=stall
            )
            if received.sha256 != sha:
                raise RejectedRequestError(
                    400, "the content has another hash", sha256=received.sha256
                )
            fresh = await store.add(path, sha)
        return JSONResponse({"sha256": sha}, 201 if fresh else 200)

    async def post_job(self, request: Request) -> Response:
        """Create a job for a scene and add it to the queue."""
        asked = await request_body.read_model(
            request, SceneJobRequest, limit=MAX_REQUEST_BYTES, stall=self._settings.stall_seconds
        )

        async def submitted(ident: str) -> ServiceJob:
            self._service.jobs.check_accepts()
            self._check_duration(asked)
            async with self._drafted(ident, asked.contents()) as job:
                description = RenderJob(
                    name=asked.name,
                    options=asked.job_options(),
                    duration=asked.duration,
                    title_card=asked.title_card,
                    seams=asked.seams,
                    subtitle_frame=asked.subtitle_frame,
                )
                await self._service.submit(job, description)
            return job

        return await self._accepted(request, submitted)

    async def post_film(self, request: Request) -> Response:
        """Create a job for a film of stored videos and add it to the queue."""
        asked = await request_body.read_model(
            request,
            FilmJobRequest,
            limit=MAX_FILM_REQUEST_BYTES,
            stall=self._settings.stall_seconds,
        )

        async def submitted(ident: str) -> ServiceJob:
            self._service.jobs.check_accepts()
            async with self._drafted(ident, film_contents(asked), is_film=True) as job:
                await self._service.submit_text(job, film_description(asked))
            return job

        return await self._accepted(request, submitted)

    async def _accepted(
        self, request: Request, submitted: Callable[[str], Awaitable[ServiceJob]]
    ) -> Response:
        ident = _idempotency_key(request) or uuid4().hex
        async with self._posting:  # a repeated request must find the job of the first one
            if (job := self._service.jobs.get(ident)) is not None:
                return _named(job, 200)
            return _named(await submitted(ident), 201)

    @asynccontextmanager
    async def _drafted(
        self, ident: str, contents: Mapping[str, str], *, is_film: bool = False
    ) -> AsyncGenerator[ServiceJob]:
        await self._service.store.ensure_room(0)
        async with self._service.draft_job(ident, is_film=is_film) as job:
            try:
                await self._service.store.link(contents, job.folder)
            except MissingContentError as error:
                raise RejectedRequestError(
                    409, "upload these contents first", missing=error.missing
                ) from None
            yield job

    def _check_duration(self, asked: SceneJobRequest) -> None:
        try:
            check_duration(asked.duration, self._settings.audio_seconds)
        except InvalidInputError as exc:
            raise RejectedRequestError(
                400,
                f"duration: expected {exc.expected}",
                field="duration",
                found=exc.found,
                expected=exc.expected,
            ) from exc

    async def get_job(self, request: Request) -> Response:
        """Return the state of a job."""
        return JSONResponse(self._job(request).snapshot())

    async def get_events(self, request: Request) -> Response:
        """Return a stream of a job's states until it has ended."""
        return JobEventStream(self._job(request), self._settings)

    async def get_video(self, request: Request) -> Response:
        """Return the finished video of a job."""
        return video_response(self._job(request), stall=self._settings.stall_seconds)

    async def get_cover(self, request: Request) -> Response:
        """Return the cover of a job's finished video."""
        job = self._job(request)
        done = finished_video(job)
        if done.cover is None:
            raise RejectedRequestError(404, "there is no cover: the job has no option cover")
        stall = self._settings.stall_seconds
        return JobFileResponse(job.cover, done.cover, stall=stall, media_type="image/jpeg")

    async def post_fetch(self, request: Request) -> Response:
        """Get a file from a URL and store it, with a stream of its progress."""
        stall = self._settings.stall_seconds
        fetch = InputFetch(
            self._service.transfers,
            self._service.store,
            await request_body.read_model(
                request, FetchRequest, limit=MAX_FETCH_REQUEST_BYTES, stall=stall, secret=True
            ),
            self._settings.body_bytes,
        )
        return TransferStream(fetch, self._settings)

    async def post_upload(self, request: Request) -> Response:
        """Write a result of a job to S3, with a stream of its progress."""
        job, stall = self._job(request), self._settings.stall_seconds
        asked = await request_body.read_model(
            request, UploadRequest, limit=MAX_UPLOAD_REQUEST_BYTES, stall=stall, secret=True
        )
        upload = ResultUpload(self._service.transfers, job, finished_video(job), asked)
        return TransferStream(upload, self._settings)

    async def delete_job(self, request: Request) -> Response:
        """Cancel a job that has not ended, or delete a job that has ended."""
        job = self._job(request)
        if job.ended.is_set():
            await self._service.jobs.delete(job)
        else:
            await self._service.jobs.cancel(job)
        return Response(status_code=204)

    async def delete_jobs(self, request: Request) -> Response:  # noqa: ARG002
        """Cancel and delete all jobs."""
        async with self._posting:  # no job may be added in between
            await self._service.jobs.delete_all()
        return Response(status_code=204)

    def _job(self, request: Request) -> ServiceJob:
        job = self._service.jobs.get(request.path_params["id"])
        if job is None:
            raise RejectedRequestError(404, "no such job")
        return job


def _sha256(request: Request) -> str:
    sha: str = request.path_params["sha256"]
    if not _SHA256.fullmatch(sha):
        raise RejectedRequestError(
            400,
            "files are named by their SHA-256",
            field="sha256",
            found=display_value(sha),
            expected="64 digits of lower-case hexadecimal",
        )
    return sha


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _TOKEN.fullmatch(key):
        raise RejectedRequestError(
            400,
            "the Idempotency-Key is used as the id of the job",
            field="Idempotency-Key",
            found=display_value(key),
            expected="32 digits of lower-case hexadecimal",
        )
    return key


def _named(job: ServiceJob, status: int) -> Response:
    location = {"Location": f"/jobs/{job.id}"}
    return JSONResponse({"id": job.id, "state": job.state}, status, location)


def film_contents(asked: FilmJobRequest) -> Mapping[str, str]:
    """Return the hash of each input file, by the name of the file in the job's folder."""
    videos = {_video(number): scene.video for number, scene in enumerate(asked.scenes)}
    subtitles = {
        _subtitle(number): scene.subtitle
        for number, scene in enumerate(asked.scenes)
        if scene.subtitle is not None
    }
    return videos | subtitles | {str(name): sha256 for name, sha256 in asked.files.items()}


def film_description(asked: FilmJobRequest) -> str:
    """Return the content of ``job.json``: a `cloudburst.film.plan.FilmPlan` as JSON."""
    scenes = [
        {
            "name": scene.name,
            "title": scene.title,
            "video": _video(number),
            "sha256": scene.video,
            "subtitle": None if scene.subtitle is None else _subtitle(number),
            "subtitle_sha256": scene.subtitle or "",
            "transition": scene.transition,
        }
        for number, scene in enumerate(asked.scenes)
    ]
    how = asked.model_dump(mode="json", exclude={"scenes": True, "sound": {"music"}})
    how["files"] = {name: (name, sha256) for name, sha256 in asked.files.items()}
    return json.dumps({"path": VIDEO_FILE, "scenes": scenes, **how})


def _video(number: int) -> str:
    return f"scene-{number}.mp4"


def _subtitle(number: int) -> str:
    return f"scene-{number}.subtitle"
