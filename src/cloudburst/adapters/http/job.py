"""One job at a worker: started, followed to its end, or taken back."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Literal, TypeVar, cast
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from cloudburst.adapters.http.line import BROKEN, Line, Refusal, UnableError, able, told
from cloudburst.engine.polling import insist
from cloudburst.errors import (
    GenerateError,
    Remedy,
    RenderFailedError,
    SceneError,
    WorkerError,
    WorkerStoppedError,
)
from cloudburst.models import failures
from cloudburst.models.options import RenderOptions
from cloudburst.ports import Progress

logger = logging.getLogger(__name__)

Model = TypeVar("Model", bound=BaseModel)

BEAT = 20.0
"""Seconds without a line after which a stream of events counts as dead and is opened anew: the
worker says something every 10 s."""
FORGET = 5.0
"""Seconds to take a job back: the worker kills a render before it answers."""


class JobRequest(BaseModel):
    """What ``POST /jobs`` takes; files are named by their SHA-256."""

    name: str
    image: str
    audio: str
    subtitle: str | None = None
    watermark: str | None = None
    options: RenderOptions


class Accepted(BaseModel):
    """What it answers."""

    id: str


class Done(BaseModel):
    """A finished video."""

    seconds: float
    size: int
    sha256: str


class JobState(BaseModel):
    """A line of ``GET /jobs/{id}/events``."""

    state: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
    progress: float = 0.0
    done: Done | None = None
    error: Refusal | None = None


class MissingError(Exception):
    """The worker lacks contents that the job names."""

    def __init__(self, hashes: tuple[str, ...]) -> None:
        super().__init__(", ".join(hashes))
        self.hashes = hashes


class _FullError(Exception):
    """Too many jobs wait at the worker; it says so, so it is well."""


class Job:
    """A video that a worker makes for us."""

    def __init__(self, line: Line, scene: str, request: str) -> None:
        self._line = line
        self._scene = scene
        self._request = request
        # Sent again with every try, so that a worker may know the same request for what it is.
        self._token = uuid4().hex
        self.id: str | None = None

    async def start(self) -> None:
        """Return when the worker has taken the job; wait while it has no room for it.

        Raises:
            MissingError: it lacks contents.
            GenerateError: it refused the scene.
            WorkerError: it is lost or wants another key.
        """
        patience = self._line.patience()
        while self.id is None:
            try:
                # Cut between its answer and our knowing the id, the job would have no owner.
                await insist(self._ask, seconds=self._line.timeouts.call)
            except _FullError as exc:
                patience.heard()
                await patience.bear(exc)
            except BROKEN as exc:
                await patience.bear(exc)

    async def _ask(self) -> None:
        response = able(
            await self._line.http.post(
                "/jobs",
                content=self._request,
                headers={"Content-Type": "application/json", "Idempotency-Key": self._token},
            )
        )
        match failures.of_status(response.status_code, on="job"):
            case None:
                self.id = _parsed(Accepted, response.content).id
            case failures.LACKING:
                raise MissingError(Refusal.of(response).missing)
            case failures.FULL:
                raise _FullError(str(Refusal.of(response)))
            case _:
                raise self._bad_input(Refusal.of(response))

    async def done(self, progress: Progress) -> Done:
        """Follow the job to its end; a broken line is mended as long as the worker answers.

        Raises:
            GenerateError: the scene's files or options are not right, or the render failed.
            WorkerError: the worker is lost, stops, or wants another key.
        """
        patience = self._line.patience()
        shown = 0.0

        def hear(state: JobState) -> None:
            nonlocal shown
            patience.heard()
            if state.progress > shown:
                shown = state.progress
                progress(shown)

        while True:
            try:
                if last := await self._follow(hear):
                    return self._outcome(last)
                cut: Exception = UnableError("the stream of events ended before the job")
            except BROKEN as exc:
                cut = exc
            logger.info("job %s of %s: listening again (%s)", self.id, self._scene, told(cut))
            await patience.bear(cut)

    async def _follow(self, hear: Callable[[JobState], None]) -> JobState | None:
        """The job's final state, ``None`` when the stream ends without."""
        silence = min(BEAT, self._line.timeouts.silence / 2)
        final: JobState | None = None
        async with self._line.stream(f"/jobs/{self.id}/events", silence=silence) as response:
            if failure := failures.of_status(response.status_code, on="events"):
                if failure.remedy is not Remedy.AGAIN_HERE:
                    raise WorkerStoppedError(failure.told)
                raise UnableError(f"HTTP {response.status_code}: {Refusal.of(response)}")
            async with aclosing(cast("AsyncGenerator[str]", response.aiter_lines())) as lines:
                async for line in lines:
                    if final:
                        break
                    state = _parsed(JobState, line)
                    hear(state)
                    # Read on to the stream's end, so that its connection can be used again.
                    final = None if state.state in {"queued", "running"} else state
        return final

    def _outcome(self, state: JobState) -> Done:
        error = state.error or Refusal(error="no reason given")
        match state.state:
            case "done" if state.done:
                return state.done
            case "failed" if error.field:
                raise self._bad_input(error)
            case "interrupted":
                msg = "the worker stops and gave the render up"
                raise WorkerStoppedError(msg)
            case _:
                msg = f"{state.state} by a fault of the service: {error}"
                raise RenderFailedError(msg, scene=self._scene)

    def _bad_input(self, refusal: Refusal) -> SceneError:
        return GenerateError(str(refusal), scene=self._scene, field=refusal.field or "")


async def forget(line: Line, job: str | None, *, within: float = FORGET) -> None:
    """Cancel a job that runs, delete one that is done. A failure is only logged: both expire."""
    if job is None:
        return

    async def delete() -> None:
        if line.closed:
            return  # the worker is being given back, and all its jobs with it
        try:
            response = able(await line.http.delete(f"/jobs/{job}"))
            logger.debug("job %s: deleted (HTTP %d)", job, response.status_code)
        except (*BROKEN, WorkerError) as exc:
            logger.warning("job %s may still be at its worker: %s", job, told(exc))

    try:
        await insist(delete, seconds=within)
    except TimeoutError:
        logger.warning("job %s may still be at its worker: no answer in %g s", job, within)


async def clear(line: Line) -> None:
    """Cancel all jobs of a worker.

    Raises:
        WorkerError: the worker is lost, wants another key, or cannot do that.
    """
    try:
        response = able(await line.http.delete("/jobs"))
    except BROKEN as exc:
        raise WorkerStoppedError(f"its jobs cannot be cancelled: {told(exc)}") from exc
    if not response.is_success:
        msg = f"its jobs cannot be cancelled: HTTP {response.status_code}"
        raise WorkerStoppedError(msg)


def _parsed(model: type[Model], text: str | bytes) -> Model:
    try:
        return model.model_validate_json(text)
    except ValidationError as exc:
        raise UnableError(f"an answer that makes no sense: {text[:80]!r}") from exc
