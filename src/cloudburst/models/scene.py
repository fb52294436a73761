"""What goes in and what comes out. No I/O here."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

NAME_BYTES = 200
"""A name leaves room for ``.mp4.part`` within the 255 bytes that file systems allow."""

_FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?", re.IGNORECASE)


def checked_name(name: str) -> str:
    """The name in NFC, or a ``ValueError`` that says what a file could not be called.

    Any Unicode letters will do. Refused: separators and the characters that Windows refuses,
    control characters, a leading dot, a trailing dot or space, Windows' device names, and more
    than 200 bytes of UTF-8.
    """
    name = unicodedata.normalize("NFC", name)
    if not name.strip():
        msg = "a name that is not empty"
    elif found := _FORBIDDEN.search(name):
        msg = f"a name without {found.group()!r}: it becomes a file name"
    elif name.startswith((".", " ")) or name.endswith((".", " ")):
        msg = "a name that neither starts nor ends with a dot or a space"
    elif _RESERVED.fullmatch(name):
        msg = "a name that Windows does not reserve for a device"
    elif len(name.encode("utf-8", "replace")) > NAME_BYTES:
        msg = f"a name of at most {NAME_BYTES} bytes in UTF-8"
    elif any(unicodedata.category(char) in {"Cs", "Co", "Cn"} for char in name):
        msg = "a name of assigned Unicode characters"
    else:
        return name
    raise ValueError(msg)


def folded(name: str) -> str:
    """What a file system that folds case makes of a name: equal ones would be one file there."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _none_if_blank(value: object) -> object:
    return None if value == "" else value


class Scene(BaseModel):
    """One video to make: a picture and a sound, with or without subtitles.

    The dictionaries that ``cloudburst-fargate`` took validate as they are
    (``scene_name``, ``image_path``, ``audio_path``, ``subtitle_path``); a subtitle that is
    absent, ``None`` or ``""`` means none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    name: Annotated[
        str,
        AfterValidator(checked_name),
        Field(validation_alias=AliasChoices("name", "scene_name")),
    ]
    """Unique within a run; the video becomes ``<name>.mp4``."""
    image: Path = Field(validation_alias=AliasChoices("image", "image_path"))
    """JPEG, PNG, WebP… told by content, not by ending."""
    audio: Path = Field(validation_alias=AliasChoices("audio", "audio_path"))
    """mp3, wav, m4a, ogg or flac; its decoded length is the length of the video."""
    subtitle: Annotated[Path | None, BeforeValidator(_none_if_blank)] = Field(
        default=None, validation_alias=AliasChoices("subtitle", "subtitle_path")
    )
    """SRT in UTF-8, UTF-16 or GB 18030."""


class CheckedScene(BaseModel):
    """A scene whose files were read and found right."""

    model_config = ConfigDict(frozen=True)

    scene: Scene
    seconds: float
    """Length of the sound, as its header says: good enough to sort by."""
    bytes: int
    """Of all its files."""
    fingerprint: str = ""
    """Of all that its video depends on: the contents of its files, and the options."""


class Video(BaseModel):
    """One finished scene."""

    model_config = ConfigDict(frozen=True)

    scene: str
    path: Path
    task: str
    """The worker that rendered it."""
    size: int
    """Bytes."""
    sha256: str
    """Hash of the file as it lies on disk, in hexadecimal."""
    seconds: float
    """Length of the video."""
