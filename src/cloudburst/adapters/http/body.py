"""The body of ``POST /create_video_onestep``: JSON with files in base64, made while it leaves."""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from anyio import to_thread

from cloudburst.adapters.http.files import Stamp
from cloudburst.adapters.http.upload import Part, told_of
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import Scene

BLOCK = 3 * 128 * 1024
"""Bytes that one trip to a thread reads and codes; threes become fours without a rest."""

FIELDS = {
    "input_image": "image",
    "input_audio": "audio",
    "subtitle": "subtitle",
    "watermark": "watermark",
}
"""What the public image calls our fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A piece of a file."""

    part: Part
    stamp: Stamp
    at: int

    async def coded(self) -> bytes:
        """It in base64.

        Raises:
            UploadError: the file cannot be read, or has changed.
        """

        def code() -> bytes:
            return binascii.b2a_base64(self.stamp.read(self.at, BLOCK), newline=False)

        try:
            return await to_thread.run_sync(code)
        except OSError as exc:
            raise self.part.error(told_of(exc)) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A scene as the public image takes it. Its length is known before any of it is read."""

    scene: str
    head: str
    """JSON of the options, without its last brace."""
    files: tuple[tuple[str, Part, Stamp], ...]
    """The image's field, our part, and the file as it was."""

    @classmethod
    async def of(cls, scene: Scene, options: RenderOptions) -> Self:
        """Look at the files; their contents are read as the body leaves.

        Raises:
            UploadError: one is not there.
        """
        files: list[tuple[str, Part, Stamp]] = []
        for field, name in FIELDS.items():
            owner = options if name == "watermark" else scene
            if (path := getattr(owner, name)) is not None:
                part = Part(scene=scene.name, field=name, path=path)
                try:
                    files.append((field, part, await to_thread.run_sync(Stamp.of, path)))
                except OSError as exc:
                    raise part.error(told_of(exc)) from exc
        head = json.dumps(_options(scene.name, options)).removesuffix("}")
        return cls(scene=scene.name, head=head, files=tuple(files))

    @property
    def length(self) -> int:
        """Bytes of the whole."""
        coded = sum(-(-stamp.size // 3) * 4 for _, _, stamp in self.files)
        return coded + sum(len(piece) for piece in self.pieces() if isinstance(piece, bytes))

    def pieces(self) -> Iterator[bytes | Block]:
        """What it consists of, in order. Without the last piece it is no JSON."""
        yield self.head.encode("ascii")
        for field, part, stamp in self.files:
            yield f', "{field}": "'.encode("ascii")
            for at in range(0, stamp.size, BLOCK):
                yield Block(part=part, stamp=stamp, at=at)
            yield b'"'
        yield b"}"


def _options(scene: str, options: RenderOptions) -> dict[str, object]:
    effect = options.effect_for(scene)
    return {
        "language": options.language,
        # One, drawn by us: the image would draw anew at each attempt.
        "effects": [] if effect is None else [effect.value],
        # It never turns a video; without a picture's own shape it chooses the subtitles' style.
        "is_portrait": options.is_portrait or None,
        "background_box": options.background_box,
        "background_opacity": options.background_opacity,
        "font_size": options.font_size,
        "outline_color": options.outline_color,
    }
