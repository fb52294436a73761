"""Ends of pictures: whether a file was cut short, and whether its content is as it was written."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from cloudburst.models.input_error import InvalidInputError
from cloudburst.png_checksums import PNG_START, PngChecksums

_BLOCK = 2**20
"""Number of bytes that are read from a file at once."""
_MAX_SEGMENTS = 100_000
"""Maximum number of segments and of bytes of padding before the pixels of a JPEG. Usual files have
dozens of segments."""
_TAIL_BYTES = 2**16
"""Number of bytes at the end of a picture in which its end mark is searched first. Only a picture
that was cut short, or to which a program has appended more, is read further."""
_JPEG_END = b"\xff\xd9"
_PNG_END = b"IEND\xaeB`\x82"
"""Name and checksum of the last chunk of a PNG."""


def has_end(picture_format: str, file: BinaryIO) -> bool:
    """Return whether a picture has its end; read no more of it than is needed to find that.

    Args:
        picture_format: Format of the picture, as Pillow names it. The end is searched for in
            JPEG, PNG and WebP only.
        file: File of the picture.

    Raises:
        InvalidInputError: The picture is broken.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if picture_format == "PNG":
        return _png_ends(file, size)
    if picture_format in {"JPEG", "MPO"}:
        return _jpeg_ends(file, size)
    if picture_format == "WEBP":
        (length,) = struct.unpack("<4xI", file.read(8))
        return bool(size >= length + 8)
    return True


def _png_ends(file: BinaryIO, size: int) -> bool:
    if size > _TAIL_BYTES and _PNG_END in _read_tail(file, size, 0):
        return True
    file.seek(0)
    checksums = PngChecksums(size)
    while not checksums.ended and (block := file.read(_BLOCK)):
        checksums.feed(memoryview(block))
    return checksums.ended


def _jpeg_ends(file: BinaryIO, size: int) -> bool:
    """Return whether a JPEG has an end-of-image marker after the header of its first scan.

    Segments before the scan are skipped by their length, because a preview in a segment has its own
    marker.
    """
    file.seek(2)
    for _ in range(_MAX_SEGMENTS):
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return False
        if head[1] == 0xFF:  # padding between segments
            file.seek(-3, os.SEEK_CUR)
            continue
        length = int.from_bytes(head[2:], "big")
        scan = file.seek(length - 2, os.SEEK_CUR)
        if head[1] == 0xDA:
            if _JPEG_END in _read_tail(file, size, scan):
                return True
            file.seek(scan)
            return _contains(file, _JPEG_END)
    return False


def _read_tail(file: BinaryIO, size: int, start: int) -> bytes:
    """Return the last bytes of a file, but none before ``start``."""
    file.seek(max(size - _TAIL_BYTES, start))
    return file.read(_TAIL_BYTES)


def _contains(file: BinaryIO, mark: bytes) -> bool:
    """Return whether the rest of a file contains ``mark``, a marker of two bytes."""
    last = b""
    while block := file.read(_BLOCK):
        if mark in last + block:
            return True
        last = block[-1:]
    return False


class PictureContent:
    """Check of the content of a picture while it is read, after the check of its start and end.

    Only a PNG has checksums. Errors in other pictures are found when they are decoded.

    Args:
        size: Size of the file, in bytes.
    """

    def __init__(self, size: int) -> None:
        self._png: PngChecksums | None = PngChecksums(size)
        self._started = False

    def feed(self, block: memoryview) -> None:
        """Check the next block of the file. Raises `InvalidInputError` if it is broken."""
        if not self._started:
            self._started = True
            if bytes(block[: len(PNG_START)]) != PNG_START:
                self._png = None
        if self._png is not None:
            self._png.feed(block)

    def finish(self) -> None:
        """Raise `InvalidInputError` if the end of the picture is missing."""
        if self._png is not None and not self._png.ended:
            raise InvalidInputError("a PNG picture that ends too early", "the whole file")
