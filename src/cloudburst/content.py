"""What a file is, told by what is in it. Names and endings are not believed.

Each function looks at one file, quickly and without decoding it, and raises `UnfitError` for one
that cannot be rendered. What only decoding would show is left to the worker.
"""

from __future__ import annotations

import math
import os
import re
import stat
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image
from tinytag import TinyTag

from cloudburst.models.policy import Limits

PICTURE = "a picture: JPEG, PNG, WebP, GIF, BMP or TIFF"
SOUND = "a sound: mp3, wav, m4a, ogg, flac, aac or webm"
SUBTITLES = "subtitles in SubRip form (.srt), in UTF-8, UTF-16 or GB 18030"

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_GUESSED_BYTES_PER_SECOND = 16_000
"""128 kbit/s: to sort by, where a header does not tell the length."""
_SHORTEST = 0.05
"""Guessed seconds: a file that is smaller has room for a header only."""
_STAMP = r"(?:\d{1,3}:)?\d{1,2}:\d{1,2}(?:[,.]\d{1,3})?"
_TIMING = re.compile(rf"^[ \t\ufeff]*{_STAMP}[ \t]*-->[ \t]*{_STAMP}", re.MULTILINE)
_MARKS = (b"\xff\xfe", b"\xfe\xff")


class UnfitError(Exception):
    """What was found in a file, and what would be right."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found, expected)
        self.found = found
        self.expected = expected


class _Kind(NamedTuple):
    words: str
    sound: bool = False
    lengthless: bool = False
    """Whether its header may leave the length out."""


_MAGIC: tuple[tuple[re.Pattern[bytes], _Kind], ...] = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"ID3", _Kind("an mp3 sound", sound=True)),
        (rb"\xff[\xf0\xf1\xf8\xf9]", _Kind("an aac sound", sound=True, lengthless=True)),
        (rb"\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd]", _Kind("an mp3 sound", sound=True)),
        (rb"RIFF....WAVE", _Kind("a wav sound", sound=True)),
        (rb"....ftyp(avif|avis|heic|heix|mif1|msf1)", _Kind("an AVIF or HEIF picture")),
        (rb"....ftyp", _Kind("an m4a or mp4 file", sound=True, lengthless=True)),
        (rb"OggS", _Kind("an ogg sound", sound=True, lengthless=True)),
        (rb"fLaC", _Kind("a flac sound", sound=True, lengthless=True)),
        (rb"\x1a\x45\xdf\xa3", _Kind("a webm or mkv file", sound=True, lengthless=True)),
        (rb"FORM....AIF[FC]", _Kind("an aiff sound", sound=True)),
        (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _Kind("a wma sound", sound=True)),
        (rb"\xff\xd8\xff", _Kind("a JPEG picture")),
        (rb"\x89PNG\r\n\x1a\n", _Kind("a PNG picture")),
        (rb"GIF8[79]a", _Kind("a GIF picture")),
        (rb"RIFF....WEBP", _Kind("a WebP picture")),
        (rb"BM", _Kind("a BMP picture")),
        (rb"II\*\x00|MM\x00\*", _Kind("a TIFF picture")),
        (rb"%PDF-", _Kind("a PDF document")),
        (rb"PK\x03\x04", _Kind("a zip archive")),
    )
)
_TEXT = _Kind("text")
_UNKNOWN = _Kind("data of an unknown kind")


def file_size(path: Path, expected: str, limits: Limits) -> int:
    """Bytes of a regular file that can be opened, is not empty and not too large."""
    with _readable(expected):
        # stat comes first: to open a pipe would wait for its other end.
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnfitError("a folder", expected)
        if not stat.S_ISREG(status.st_mode):
            raise UnfitError("not a regular file", expected)
        path.open("rb").close()
    if not status.st_size:
        raise UnfitError("an empty file", expected)
    if status.st_size > limits.file_bytes:
        raise UnfitError(_megabytes(status.st_size), f"at most {_megabytes(limits.file_bytes)}")
    return status.st_size


def check_picture(path: Path, limits: Limits) -> None:
    """A picture that Pillow knows, whole as far as that shows cheaply, and not too large."""
    with _readable(PICTURE), path.open("rb") as file:
        kind = _kind(file.read(32))
        with _parsing(kind, PICTURE):
            picture = _opened(file)
        if picture is None:
            raise UnfitError(kind.words, PICTURE)
        width, height = picture.size
        if width * height > limits.image_pixels:
            found = f"{width}×{height} pixels, {width * height:,} in all"
            raise UnfitError(found, f"at most {limits.image_pixels:,} pixels")
        with _parsing(kind, PICTURE):
            whole = _whole(picture, file)
        if not whole:
            raise UnfitError(f"{kind.words} that ends too early", "the whole file")


def sound_seconds(path: Path, limits: Limits) -> float:
    """Seconds of sound by the header, or a guess by size where the header leaves that out."""
    with _readable(SOUND), path.open("rb") as file:
        kind = _kind(file.read(32))
        if not kind.sound:
            raise UnfitError(kind.words, SOUND)
        size = os.fstat(file.fileno()).st_size
        seconds = _header_seconds(file, kind, size)
    if seconds > limits.audio_seconds:
        raise UnfitError(f"{seconds:.0f} seconds", f"at most {limits.audio_seconds:g} seconds")
    return seconds


def check_subtitles(path: Path) -> None:
    """A text with at least one line of SubRip timing."""
    with _readable(SUBTITLES):
        data = path.read_bytes()
    text = decoded(data)
    kind = _kind(data[:32])
    if text is None:
        known = kind not in (_TEXT, _UNKNOWN)
        raise UnfitError(kind.words if known else "text in none of these encodings", SUBTITLES)
    if not text.strip():
        raise UnfitError("no text", f"{SUBTITLES}, or no subtitle at all")
    if not _TIMING.search(text):
        found = f"{kind.words} without any line of timing"
        raise UnfitError(found, "lines like 00:00:01,000 --> 00:00:02,500")


def decoded(data: bytes) -> str | None:
    """Text in UTF-16, UTF-8 or GB 18030; ``None`` when it is none of them."""
    if data.startswith(_MARKS):
        encodings = ["utf-16"]
    elif b"\0" in data:  # the high bytes of digits and line ends
        encodings = ["utf-16-le" if data[1::2].count(0) > data[::2].count(0) else "utf-16-be"]
    else:
        encodings = ["utf-8-sig", "gb18030"]
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return None


def _kind(start: bytes) -> _Kind:
    for pattern, kind in _MAGIC:
        if pattern.match(start):
            return kind
    if b"\0" in start and not start.startswith(_MARKS):
        return _UNKNOWN
    # A character may be cut at the end of what was read: up to three bytes are spared.
    for end in range(len(start), max(len(start) - 4, 0), -1):
        text = decoded(start[:end])
        if text is not None and all(char.isprintable() or char in "\r\n\t\ufeff" for char in text):
            return _TEXT
    return _UNKNOWN


def _opened(file: BinaryIO) -> Image.Image | None:
    """As ``Image.open`` for the formats we take, but without its own limit and its warnings.

    That limit is a global of the process, and so are the filters that would silence it: both
    belong to the program that uses us, not to us.
    """
    Image.init()
    file.seek(0)
    start = file.read(16)
    for name in _FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is None or accept(start) is True:
            file.seek(0)
            return factory(file, "")
    return None


def _whole(picture: Image.Image, file: BinaryIO) -> bool:
    if picture.format == "PNG":
        picture.verify()  # reads every chunk and compares its checksum
        return True
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if picture.format in {"JPEG", "MPO"}:
        return _jpeg_ends(file)
    if picture.format == "WEBP":
        (length,) = struct.unpack("<4xI", file.read(8))
        return bool(size >= length + 8)
    return True


def _jpeg_ends(file: BinaryIO) -> bool:
    """Whether an end-of-image marker follows the first scan.

    Segments before it are skipped by their length, for a preview among them has an end of its own.
    """
    file.seek(2)
    while len(head := file.read(4)) == 4 and head[0] == 0xFF:
        if head[1] == 0xFF:  # padding between segments
            file.seek(-3, os.SEEK_CUR)
            continue
        length = int.from_bytes(head[2:], "big")
        file.seek(length - 2, os.SEEK_CUR)
        if head[1] == 0xDA:
            return b"\xff\xd9" in file.read()
    return False


def _header_seconds(file: BinaryIO, kind: _Kind, size: int) -> float:
    guess = size / _GUESSED_BYTES_PER_SECOND
    if kind.words in {"an aac sound", "a webm or mkv file"}:
        return guess  # tinytag takes them for mp3, or not at all
    file.seek(0)
    with _parsing(kind, SOUND):
        tag = TinyTag.get(file_obj=file, tags=False)
    seconds = tag.duration or 0.0
    if kind.words == "a wav sound" and tag.bitrate:
        # A wav that was written to a pipe claims 4 GB: there is no more sound than bytes.
        seconds = min(seconds, size / (tag.bitrate * 125))
    if math.isfinite(seconds) and seconds > 0:
        return seconds
    if kind.lengthless and guess > _SHORTEST:
        return guess
    raise UnfitError(f"{kind.words} without any sound in it", SOUND)


@contextmanager
def _readable(expected: str) -> Generator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise UnfitError("no such file", expected) from exc
    except PermissionError as exc:
        raise UnfitError("a file that may not be read", expected) from exc
    except NotADirectoryError as exc:
        raise UnfitError("a path through something that is no folder", expected) from exc
    except (OSError, ValueError) as exc:  # ValueError: a NUL within the path
        raise UnfitError(f"unreadable: {_line(exc)}", expected) from exc


@contextmanager
def _parsing(kind: _Kind, expected: str) -> Generator[None]:
    """Foreign parsers raise whatever they stumble over: all of it means a broken file."""
    try:
        yield
    except Exception as exc:
        raise UnfitError(f"{kind.words}, broken: {_line(exc)}", expected) from exc


def _line(exc: BaseException) -> str:
    text = str(exc).strip() or type(exc).__name__
    return text.splitlines()[0][:120]


def _megabytes(size: int) -> str:
    return f"{size / 1024**2:,.1f} MB"
