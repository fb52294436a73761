"""Body of ``POST /create_video_onestep``: JSON with base64 files, produced while it is sent."""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from anyio import to_thread

from cloudburst.adapters.http.upload_files import FileHasher, SceneFile
from cloudburst.file_versions import FileVersion
from cloudburst.models.input_error import InvalidInputError
from cloudburst.models.locations import require_path
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import Scene
from cloudburst.models.subtitles import MAX_SUBTITLE_BYTES, read_subtitles
from cloudburst.models.subtitles.subrip_writer import to_subrip
from cloudburst.text import describe_error

BLOCK_BYTES = 3 * 16 * 1024
"""Bytes of a file that one call in a thread reads and converts to base64. Several copies of each
block are in memory for each upload. A multiple of three, so that base64 needs no padding between
blocks."""

PUBLIC_IMAGE_FIELDS = {
    "input_image": "image",
    "input_audio": "audio",
    "subtitle": "subtitle",
    "watermark": "watermark",
}
"""Fields of `Scene` and `RenderOptions` with input files, by their names in the public image's
protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBlock:
    """A block of a file in a request body."""

    file: SceneFile
    version: FileVersion
    offset: int

    async def to_base64(self) -> bytes:
        """Read the block and return it in base64.

        Raises:
            UploadError: The file cannot be read, or was changed.
        """

        def read() -> bytes:
            block = self.version.read_block(self.offset, BLOCK_BYTES)
            return binascii.b2a_base64(block, newline=False)

        try:
            return await to_thread.run_sync(read)
        except OSError as exc:
            raise self.file.error(describe_error(exc)) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class OnestepBody:
    """Request body for one scene, whose files are read while it is sent.

    The files were hashed before, so the length of the body is known, and a change of a file since
    then is an error.
    """

    scene: str
    head: str
    """Start of the JSON text: the options, without the closing brace."""
    files: tuple[tuple[str, SceneFile, FileVersion], ...]
    """Input files: name in the public image's protocol, file, and the version that was hashed."""
    texts: tuple[tuple[str, bytes], ...]
    """Files that are sent in another form: name in the public image's protocol, and content."""
    input_hashes: Mapping[str, str]
    """SHA-256 of each input file, by `SceneFile.field`."""

    @classmethod
    async def create(cls, scene: Scene, options: RenderOptions, hasher: FileHasher) -> Self:
        """Hash the files of a scene; return a body that reads them again while it is sent.

        Raises:
            UploadError: A file cannot be read, or was changed while it was read.
        """
        files: list[tuple[str, SceneFile, FileVersion]] = []
        texts: list[tuple[str, bytes]] = []
        input_hashes: dict[str, str] = {}
        files_of_scene = scene.files() | options.files()
        for image_field, field in PUBLIC_IMAGE_FIELDS.items():
            if (location := files_of_scene.get(field)) is not None:
                path = require_path(location, field)
                file = SceneFile(scene=scene.name, field=field, path=path)
                try:
                    content = await hasher.hash_file(path)
                    text = None
                    if field == "subtitle":
                        text = await to_thread.run_sync(_convert_subtitles, content.version)
                except OSError as exc:
                    raise file.error(describe_error(exc)) from exc
                if text is None:
                    files.append((image_field, file, content.version))
                else:
                    texts.append((image_field, text))
                input_hashes[field] = content.sha256
        head = json.dumps(_options(scene.name, options)).removesuffix("}")
        return cls(
            scene=scene.name,
            head=head,
            files=tuple(files),
            texts=tuple(texts),
            input_hashes=input_hashes,
        )

    @property
    def length(self) -> int:
        """Size of the complete body, in bytes."""
        base64_bytes = sum(-(-version.size // 3) * 4 for _, _, version in self.files)
        return base64_bytes + sum(len(piece) for piece in self.pieces() if isinstance(piece, bytes))

    def pieces(self) -> Iterator[bytes | FileBlock]:
        """Yield the pieces of the body in order; without the last one, the JSON is invalid."""
        yield self.head.encode("ascii")
        for image_field, file, version in self.files:
            yield f', "{image_field}": "'.encode("ascii")
            for offset in range(0, version.size, BLOCK_BYTES):
                yield FileBlock(file=file, version=version, offset=offset)
            yield b'"'
        for image_field, text in self.texts:
            content = binascii.b2a_base64(text, newline=False).decode("ascii")
            yield f', "{image_field}": "{content}"'.encode("ascii")
        yield b"}"


def _convert_subtitles(version: FileVersion) -> bytes | None:
    """Return subtitles in SubRip form, the only one that the public image reads.

    The result is ``None`` for a file that has this form already, or cannot be read.
    """
    try:
        subtitles = read_subtitles(version.read_block(0, MAX_SUBTITLE_BYTES + 1))
    except InvalidInputError:  # the worker reports it
        return None
    return None if subtitles.subrip else to_subrip(subtitles.cues).encode()


def _options(scene: str, options: RenderOptions) -> dict[str, object]:
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
