"""Protocol of the public image: what it can render, its requests and its answers."""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple, Self

import httpx
from anyio import to_thread
from pydantic import BaseModel, StringConstraints

from cloudburst.errors import (
    CloudburstError,
    EncodeError,
    KeyRefusedError,
    SceneError,
    SceneFault,
    WorkerDiskFullError,
    WorkerProtocolError,
)
from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import MAX_SUBTITLE_BYTES, read_subtitles
from cloudburst.media.subtitles.subrip_webvtt import to_subrip
from cloudburst.models import failures
from cloudburst.models.failures.connections import UNKNOWN_PROTOCOL
from cloudburst.models.file_versions import FileVersion
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import CheckedScene
from cloudburst.models.video_format import Effect
from cloudburst.text import describe_error, short_repr
from cloudburst.workers.http.response import (
    ErrorBody,
    InvalidAnswerError,
    VideoSize,
    WorkerResponse,
    key_refused_error,
    parse_json_as,
)
from cloudburst.workers.http.upload import SceneFile

# Options that the public image knows; RenderOptions describes them.
OPTIONS = frozenset(
    (
        "language",
        "effects",
        "watermark",
        "is_portrait",
        "background_box",
        "background_opacity",
        "font_size",
        "outline_color",
    )
)
# Camera movements that the public image knows.
EFFECTS = (Effect.ZOOM_IN, Effect.ZOOM_OUT, Effect.PAN_LEFT, Effect.PAN_RIGHT, Effect.RANDOM)


# Bytes of a file that are read and converted to base64 at once. A multiple of three, so that base64
# needs no padding between blocks.
BLOCK_BYTES = 3 * 64 * 1024
# Fields of Scene and RenderOptions with input files, by their names in the public image's protocol.
FIELDS = {
    "input_image": "image",
    "input_audio": "audio",
    "subtitle": "subtitle",
    "watermark": "watermark",
}


def find_unsupported(scene: CheckedScene, image: str) -> list[SceneFault]:
    """Return a fault for each option and field of a scene that the public image cannot render."""
    files = scene.files()
    changed = scene.options.model_dump(exclude_defaults=True)
    reason = f"a file on this machine, because {image} gets none from S3 and web servers"
    faults = [
        SceneFault(scene.scene.name, field, str(location), reason, "wrong_type")
        for field, location in files.items()
        if not isinstance(location, Path)
    ]
    if (seconds := scene.scene.duration) is not None:
        reason = f"an audio file, because {image} cannot render a scene without one"
        found = f"{seconds:g}"
        faults.append(SceneFault(scene.scene.name, "duration", found, reason, "contradiction"))
    if (text := scene.scene.title_card) is not None:
        reason = f"a picture, because {image} cannot render a scene without one"
        found = short_repr(text)
        faults.append(SceneFault(scene.scene.name, "title_card", found, reason, "contradiction"))
    faults += [
        _fault(scene, name, str(value), "the default", image)
        for name, value in changed.items()
        if name not in OPTIONS
    ]
    if unknown := [effect for effect in scene.options.effects if effect not in EFFECTS]:
        known = f"some of {', '.join(EFFECTS)}"
        faults.append(_fault(scene, "effects", ", ".join(unknown), known, image))
    return faults


def _fault(scene: CheckedScene, option: str, found: str, expected: str, image: str) -> SceneFault:
    reason = f"{expected}, because {image} cannot render anything else"
    return SceneFault(scene.scene.name, f"options.{option}", found, reason, "contradiction")


class SceneRequest(NamedTuple):
    """Request for one scene, whose files are read while it is sent."""

    head: bytes
    """Start of the JSON text: the options, without the closing brace."""
    files: tuple[tuple[str, SceneFile, FileVersion], ...]
    """Input files: name in the public image's protocol, file, and the version that was hashed."""

    @property
    def length(self) -> int:
        """Size of the body, in bytes."""
        fields = sum(len(f', "{name}": ""') for name, _, _ in self.files)
        base64_bytes = sum(-(-version.size // 3) * 4 for _, _, version in self.files)
        return len(self.head) + fields + base64_bytes + len("}")


class RequestBody(httpx.AsyncByteStream):
    """Body of a request: JSON with the files in base64."""

    def __init__(self, request: SceneRequest) -> None:
        self.complete = False
        """True if the last byte was possibly sent: then the worker encodes."""
        self._pieces = _pieces(request)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await to_thread.run_sync(next, self._pieces, None)
        if piece is None:
            raise StopAsyncIteration
        self.complete = piece == b"}"
        return piece


def _pieces(request: SceneRequest) -> Iterator[bytes]:
    """Yield the pieces of a body in order; without the last one, the JSON is invalid. Blocks."""
    yield request.head
    for name, file, version in request.files:
        yield f', "{name}": "'.encode("ascii")
        for offset in range(0, version.size, BLOCK_BYTES):
            try:
                block = version.read_block(offset, BLOCK_BYTES)
            except OSError as exc:
                raise file.error(describe_error(exc)) from exc
            yield binascii.b2a_base64(block, newline=False)
        yield b'"'
    yield b"}"


def convert_subtitles(version: FileVersion) -> bytes | None:
    """Return subtitles in SubRip form, the only one that the public image reads.

    The result is ``None`` for a file that has this form already, or cannot be read.
    """
    try:
        subtitles = read_subtitles(version.read_block(0, MAX_SUBTITLE_BYTES + 1))
    except InvalidInputError:  # the worker reports it
        return None
    return None if subtitles.subrip else to_subrip(subtitles.cues).encode()


def request_options(scene: str, options: RenderOptions) -> dict[str, object]:
    """Return the options of a request."""
    effect = options.effect_for(scene)
    return {
        "language": options.language,
        # One effect, chosen by the client: the image would choose again at each attempt.
        "effects": [] if effect is None else [effect.value],
        # The image never rotates a video; it chooses the style of the subtitles by this value, or
        # by the shape of the picture if it is missing.
        "is_portrait": options.is_portrait or None,
        "background_box": options.background_box,
        "background_opacity": options.background_opacity,
        "font_size": options.font_size,
        "outline_color": options.outline_color,
    }


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
    failure = failures.classify_http_status(status, context="onestep") or UNKNOWN_PROTOCOL
    kind = failure.error
    if kind is KeyRefusedError:
        return key_refused_error(status)
    if kind is WorkerDiskFullError:
        return WorkerDiskFullError(f"the worker's disk is full: {reason}")
    # The scene would fail for good, so only a reason in the protocol's form counts.
    if kind is EncodeError and ErrorBody.parse(response) is None:
        msg = f"{UNKNOWN_PROTOCOL.summary} (HTTP {status}, and no reason)"
        return WorkerProtocolError(msg)
    if kind is EncodeError:
        return EncodeError(str(reason), scene=scene)
    if issubclass(kind, SceneError):
        return kind(f"{failure.meaning}: {reason}", scene=scene)
    return kind(f"{failure.summary} (HTTP {status}: {reason})")
