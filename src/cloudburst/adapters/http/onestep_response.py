"""Responses of the public image to a request for a video: the video, or the error."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, StringConstraints

from cloudburst.adapters.http.request_body import PUBLIC_IMAGE_FIELDS
from cloudburst.adapters.http.response import (
    ErrorBody,
    InvalidAnswerError,
    VideoSize,
    WorkerResponse,
    key_refused_error,
    parse_json_as,
)
from cloudburst.errors import (
    CloudburstError,
    EncodeError,
    KeyRefusedError,
    SceneError,
    UploadError,
    WorkerDiskFullError,
    WorkerProtocolError,
)
from cloudburst.models import failures
from cloudburst.models.options import RenderOptions
from cloudburst.text import describe_error


class CreatedVideo(BaseModel):
    """Successful response to ``POST /create_video_onestep``."""

    download_endpoint: Annotated[
        str, StringConstraints(pattern=r"^/[A-Za-z0-9._~-][A-Za-z0-9._~/-]{0,200}\z")
    ]
    """URL path of the video on the worker. A full URL is refused, because it could name another
    host, which would receive the key."""
    size: VideoSize


def parse_video(response: WorkerResponse, scene: str) -> CreatedVideo:
    """Return the video of a response.

    Raises:
        EncodeError: Files or options are invalid; or, as the retryable `RenderFailedError`, the
            render service failed.
        UploadError: A file is invalid or too large.
        WorkerError: The worker refuses the key, its disk is full, or the response is invalid.
    """
    if response.status == 200:
        try:
            return parse_json_as(CreatedVideo, response.content)
        except InvalidAnswerError as exc:
            raise WorkerProtocolError(describe_error(exc)) from exc
    raise _error_of(response, scene)


def _error_of(response: WorkerResponse, scene: str) -> CloudburstError:
    status, reason = response.status, ErrorBody.from_response(response)
    failure = failures.classify_http_status(status, context="onestep") or failures.UNKNOWN_PROTOCOL
    if failure.error is KeyRefusedError:
        return key_refused_error(status)
    if failure.error is WorkerDiskFullError:
        return WorkerDiskFullError(f"the worker's disk is full: {reason}")
    kind = failure.error
    # The scene would fail for good, so only a reason in the protocol's form counts.
    final = issubclass(kind, (EncodeError, UploadError)) and not kind.retryable
    if final and ErrorBody.parse(response) is None:
        msg = f"{failures.UNKNOWN_PROTOCOL.summary} (HTTP {status}, and no reason)"
        return WorkerProtocolError(msg)
    if kind is EncodeError:
        return EncodeError(str(reason), scene=scene, field=_field(reason.error))
    if issubclass(kind, SceneError):
        return kind(f"{failure.meaning}: {reason}", scene=scene)
    return kind(f"{failure.summary} (HTTP {status}: {reason})")


def _field(error: str) -> str:
    """Return the input or option that an error names before a colon; empty if it names none.

    Our own render service names the field; the public image does not.
    """
    field, colon, _ = error.partition(":")
    field = PUBLIC_IMAGE_FIELDS.get(field, field)
    is_input = field in PUBLIC_IMAGE_FIELDS.values()
    known = is_input or field.partition(".")[0] in RenderOptions.model_fields
    return field if colon and known else ""
