"""Responses of a worker: read with limits, validated, and translated into this package's errors.

A response may come from another program, a proxy or an attacker. Therefore the functions here check
its type, its size and its values. The models of jobs and videos are in the modules of their
requests.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager
from typing import Annotated, NamedTuple, TypeVar

import anyio
import httpx
from pydantic import AfterValidator, BaseModel, Field, StringConstraints, ValidationError

from cloudburst.errors import KeyRefusedError, WorkerDiskFullError
from cloudburst.models import failures
from cloudburst.models.failures.connections import WORKER_BUSY
from cloudburst.net.session import InvalidResponseError, iter_pieces, read_up_to
from cloudburst.text import printable_line

logger = logging.getLogger(__name__)

# Maximum size of a JSON response or of a line of events, in bytes. Real workers send less than 2
# kB.
MAX_RESPONSE_BYTES = 64 * 1024
# Limit of lines in an event stream: the number allowed at its start, and the number added for each
# second since then. The render service writes at most ten lines a second.
INITIAL_LINES, LINES_PER_SECOND = 1000, 100
PrintableText = Annotated[str, AfterValidator(printable_line)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}\z")]
# Size of a video, in bytes. check_result checks that it is plausible for the length of the scene's
# audio.
VideoSize = Annotated[int, Field(ge=1, le=2**44)]

Model = TypeVar("Model", bound=BaseModel)


class UnavailableError(Exception):
    """A 5xx response, or another sign that the worker cannot serve the request now."""


class InvalidAnswerError(UnavailableError):
    """A response that does not follow the protocol, for example one from another program."""


INVALID_ANSWERS = (InvalidAnswerError, InvalidResponseError)
# Exceptions of a request that got no useful answer. ConnectionRetries decides how often such a
# request is repeated.
REQUEST_ERRORS = (httpx.RequestError, TimeoutError, UnavailableError)


class WorkerResponse(NamedTuple):
    """HTTP status and complete body of a worker's response."""

    status: int
    content: bytes

    @property
    def is_success(self) -> bool:
        """True if the status is 2xx."""
        return 200 <= self.status < 300


class ErrorBody(BaseModel):
    """JSON body of a refusal by the render service."""

    error: PrintableText = ""
    field: PrintableText | None = None
    found: PrintableText | None = None
    expected: PrintableText | None = None
    missing: Annotated[tuple[Sha256, ...], Field(max_length=16)] = ()
    """Hashes of the files that the worker does not have."""

    @classmethod
    def from_response(cls, response: WorkerResponse) -> ErrorBody:
        """Return the reason that a response states, or its HTTP status if it states none."""
        return cls.parse(response) or cls(error=f"HTTP {response.status}")

    @classmethod
    def parse(cls, response: WorkerResponse) -> ErrorBody | None:
        """Return the parsed body; ``None`` if it is invalid or states no reason."""
        try:
            body = cls.model_validate_json(response.content)
        except ValidationError:
            return None
        return body if body.error else None

    def __str__(self) -> str:
        if self.field and self.found and self.expected:
            return f"{self.field}: {self.found}; expected {self.expected}"
        return self.error


class HealthResponse(BaseModel):
    """The fields of ``GET /health`` that the client reads."""

    status: PrintableText
    error: PrintableText = ""
    """Reason why the worker cannot render; empty if it states none."""
    final: bool = True
    """False if the reason says nothing about other workers of the same image."""
    authentication: dict[str, object] = {}


def parse_json_as(model: type[Model], text: bytes) -> Model:
    """Parse JSON from a worker and validate it with a model.

    Raises:
        InvalidAnswerError: The text is not JSON, or the model does not allow one of its values.
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        position = printable_line(".".join(map(str, error["loc"])))
        reason = f"{position}: {error['msg']}" if position else f"{text[:80]!r}"
        raise InvalidAnswerError(f"an invalid answer: {reason}") from exc


def raise_for_worker_status(response: WorkerResponse) -> WorkerResponse:
    """Return the response; raise an error if its status means that the worker cannot be used now.

    Raises:
        UnavailableError: The status is 5xx, or 408, which the render service sends if a request
            body has stalled.
        WorkerDiskFullError: The status is 507.
        KeyRefusedError: The status is 401 or 403.
    """
    failure = failures.classify_http_status(response.status, context="worker")
    if failure is None:
        return response
    if failure.error is KeyRefusedError:
        raise key_refused_error(response.status)
    if failure.error is WorkerDiskFullError:
        reason = ErrorBody.from_response(response)
        raise WorkerDiskFullError(f"the worker's disk is full: {reason}")
    if failure is WORKER_BUSY:
        reason = ErrorBody.from_response(response)
        raise UnavailableError(f"HTTP {response.status}: {reason}")
    return response


def key_refused_error(status: int) -> KeyRefusedError:
    """Return the error for a response with the status 401 or 403."""
    msg = f"the worker refused the key (HTTP {status})"
    return KeyRefusedError(f"{msg}: set VIDEO_API_AUTH_KEY, or key= of endpoints(), to its key")


async def read_response(response: httpx.Response) -> WorkerResponse:
    """Read a response with a short body completely. The caller must set a deadline.

    Raises:
        InvalidAnswerError: The body is too long, or compressed.
    """
    content = await read_up_to(response, MAX_RESPONSE_BYTES + 1)
    if len(content) > MAX_RESPONSE_BYTES:
        raise InvalidAnswerError(f"an answer of more than {MAX_RESPONSE_BYTES} bytes")
    return WorkerResponse(response.status_code, content)


async def iter_lines(response: httpx.Response, *, read_timeout: float) -> AsyncGenerator[bytes]:
    """Yield the complete lines of a body; text after the last line break is left out.

    Raises:
        InvalidAnswerError: A line is too long, or lines arrive faster than any worker sends them.
        TimeoutError: No complete line arrived for ``read_timeout`` seconds.
    """
    rest, count, ended = b"", 0, False
    started_at = anyio.current_time()
    async with aclosing(iter_pieces(response)) as body:
        while not ended:
            complete: list[bytes] = []
            with fail_after(read_timeout, "no line of events"):
                while not (complete or ended):
                    chunk = await anext(body, None)
                    ended = chunk is None
                    *complete, rest = (rest + (chunk or b"")).split(b"\n")
                    if max(len(rest), *map(len, complete), 0) > MAX_RESPONSE_BYTES:
                        msg = f"a line of events of more than {MAX_RESPONSE_BYTES} bytes"
                        raise InvalidAnswerError(msg)
            for line in complete:
                count += 1
                elapsed = anyio.current_time() - started_at
                if count > INITIAL_LINES + LINES_PER_SECOND * elapsed:
                    raise InvalidAnswerError("too many lines of events")
                yield line


@contextmanager
def fail_after(seconds: float | None, message: str) -> Generator[anyio.CancelScope]:
    """Raise `TimeoutError` with a message if the ``with`` block takes longer than ``seconds``.

    ``None`` sets no limit. The ``with`` block can change the deadline of the yielded scope.
    """
    with anyio.move_on_after(seconds) as scope:
        yield scope
    if scope.cancelled_caught:
        raise TimeoutError(f"{message} within {seconds:g} s" if seconds else f"{message} in time")
