"""The public image as a `Renderer`: one long POST makes a video of a scene."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import anyio
import httpx
from anyio import create_task_group
from anyio.abc import TaskGroup
from pydantic import BaseModel, Field, ValidationError

from cloudburst.adapters.http.body import FIELDS, Body
from cloudburst.adapters.http.line import (
    BROKEN,
    Line,
    Refusal,
    open_line,
    refused_key,
    told,
)
from cloudburst.adapters.http.post import VIDEO, HeldTooLongError, Post
from cloudburst.adapters.http.video import Source, fetch
from cloudburst.engine.groups import unwrapped
from cloudburst.errors import (
    CloudburstError,
    GenerateError,
    RenderFailedError,
    SceneError,
    WorkerStoppedError,
)
from cloudburst.models import failures
from cloudburst.models.options import RenderOptions
from cloudburst.models.policy import Timeouts
from cloudburst.models.scene import Scene
from cloudburst.models.task import Secrets
from cloudburst.ports import Arrived, Download, Output, Progress, Upload

logger = logging.getLogger(__name__)

SLOWNESS = 10.0
"""Seconds that the public image may need for each second of sound: it encodes up to four times
over, and moves the camera in Python."""


class Made(BaseModel):
    """The answer that tells of a video."""

    download_endpoint: str = Field(pattern="^/[^/]")
    """A path: another host would get the key."""
    size: int = Field(ge=1)


@asynccontextmanager
async def connect(
    address: str,
    *,
    secrets: Secrets,
    timeouts: Timeouts,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncGenerator[OnestepRenderer]:
    """The line to the worker at a base URL.

    Args:
        address: ``http://host:port`` or ``https://``; the worker need not be there yet.
        secrets: What the worker was started with; an empty key is for one that wants none.
        timeouts: ``silence`` counts here; how long an encode may take is for the caller to say.
        transport: In place of the network, for tests.

    Raises:
        ConfigurationError: the address, the key or the certificate is nothing for HTTP.
    """
    with unwrapped():
        async with (
            open_line(
                address, secrets=secrets, timeouts=timeouts, transport=transport, reuse=False
            ) as line,
            create_task_group() as tasks,
        ):
            renderer = OnestepRenderer(line, tasks, keyed=bool(secrets.key))
            try:
                yield renderer
            finally:
                renderer.close()


class OnestepRenderer:
    """One worker. While it encodes a scene, the next one travels, but for its last bytes."""

    def __init__(self, line: Line, tasks: TaskGroup, *, keyed: bool) -> None:
        self._line = line
        self._tasks = tasks
        self._keyed = keyed
        self._bodies: dict[str, Body] = {}
        self._posts: dict[str, Post] = {}
        self._turn = anyio.Lock()
        self._proven = False
        self._abandoned = False
        self._closed = False

    @property
    def abandoned(self) -> bool:
        """Whether it encodes a scene whose answer will not be heard; the image cannot be told."""
        return self._abandoned

    async def healthy(self) -> bool:
        """Whether the service answers that it is well."""
        answer = await self._line.health()
        if answer and self._keyed and answer.authentication.get("mode") == "default":
            logger.warning("the worker was given a key and asks for none: it is open to all")
        return answer is not None

    async def clear(self) -> None:
        """Nothing: what the image encodes cannot be dropped."""

    async def upload(self, scene: Scene, options: RenderOptions) -> Upload:
        """Send a scene but for its last bytes.

        Only a worker of which we know that it takes our key gets something in advance; to another
        one the scene travels with `generate`.

        Raises:
            UploadError: a file cannot be read, or changes.
            WorkerError: the worker wants another key.
        """
        async with self._turn:
            if not self._proven:
                self._proven = await self._takes_our_key()
        token, body = uuid4().hex, await Body.of(scene, options)
        self._bodies[token] = body
        sent = 0
        if self._proven:
            post = self._posts[token] = self._begin(body)
            try:
                sent = await post.held()
            except BaseException:
                post.kill()
                raise
        return Upload(scene=scene.name, token=token, sent=sent)

    async def _takes_our_key(self) -> bool:
        """Ask for a video of nothing: that is refused as such, or before that for the key."""
        try:
            response = await self._line.http.post(
                VIDEO,
                content=b"{}",
                headers={"Content-Type": "application/json"},
                timeout=self._line.timeouts.call,
            )
        except BROKEN:
            return False
        if failures.of_status(response.status_code, on="onestep") is failures.KEY:
            raise refused_key(response.status_code)
        return response.status_code == 400

    async def generate(self, upload: Upload, *, progress: Progress) -> Output:
        """Make the video. Cancelled after the last byte has left, it leaves the worker at it.

        Raises:
            GenerateError: files or options are not right; `RenderFailedError` is retryable.
            UploadError: a file cannot be read, has changed or is too large.
            WorkerError: the worker is lost, wants another key, or speaks another protocol.
        """
        body = self._bodies.pop(upload.token)
        post = self._posts.pop(upload.token, None)
        progress(0.0)
        response = await self._answer(body, post)
        made = _made(response, upload.scene)
        self._proven = True
        progress(1.0)
        return Output(
            scene=upload.scene,
            token=made.download_endpoint,
            size=made.size,
            sha256=None,
            seconds=0.0,
        )

    async def _answer(self, body: Body, post: Post | None) -> httpx.Response:
        """The answer to the one request that is complete; one that is cut before is repeated."""
        patience = self._line.patience()
        while True:
            post = post or self._begin(body)
            try:
                response = await post.answer()
            except BROKEN as exc:
                if post.complete:
                    msg = f"the line broke while the worker encoded ({told(exc)})"
                    raise WorkerStoppedError(msg) from exc
                if not isinstance(exc, HeldTooLongError):
                    await patience.bear(exc)
                post = None
            else:
                failure = failures.of_status(response.status_code, on="onestep")
                self._abandoned = self._abandoned or failure is failures.LOST
                return response
            finally:
                if post is not None and post.unanswered:
                    self._abandoned = True

    def close(self) -> None:
        """End all requests and begin no more: the worker is being given back."""
        self._closed = True
        self._tasks.cancel_scope.cancel()

    def _begin(self, body: Body) -> Post:
        if self._closed:
            msg = "the worker is given back"
            raise WorkerStoppedError(msg)
        post = Post(self._line, body)
        self._tasks.start_soon(post.run, name=f"cloudburst post of {body.scene}")
        return post

    async def download(
        self, output: Output, to: Path, *, arrived: Arrived | None = None
    ) -> Download:
        """Fetch the video; the worker deletes it in an hour.

        Raises:
            DownloadError: it is not there or does not arrive whole.
            OutputWriteError: this machine cannot write it.
            WorkerError: the worker is lost or wants another key.
        """
        # The image writes the index last when it has drawn subtitles or moved the camera.
        source = Source(output=output, path=output.token, at_once=False)
        return await fetch(self._line, source, to, arrived=arrived)


def _made(response: httpx.Response, scene: str) -> Made:
    status = response.status_code
    if status == 200:
        try:
            return Made.model_validate_json(response.content)
        except ValidationError as exc:
            msg = f"an answer that makes no sense: {response.content[:80]!r}"
            raise RenderFailedError(msg, scene=scene) from exc
    raise _error(status, Refusal.of(response), scene)


def _error(status: int, refusal: Refusal, scene: str) -> CloudburstError:
    failure = failures.of_status(status, on="onestep") or failures.STRANGER
    if failure is failures.KEY:
        return refused_key(status)
    kind = failure.error
    if kind is GenerateError:
        return GenerateError(str(refusal), scene=scene, field=_field(refusal.error))
    if issubclass(kind, SceneError):
        return kind(f"{failure.means}: {refusal}", scene=scene)
    return kind(f"{failure.told} (HTTP {status}: {refusal})")


def _field(error: str) -> str:
    """What our own service puts before a colon; the public image names no fields."""
    field, colon, _ = error.partition(":")
    field = FIELDS.get(field, field)
    known = field in FIELDS.values() or field.partition(".")[0] in RenderOptions.model_fields
    return field if colon and known else ""
