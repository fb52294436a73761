"""Check of the checksums in a PNG file while the file is read in blocks."""

from __future__ import annotations

import re
import zlib

from cloudburst.models.input_error import InvalidInputError

PNG_START = b"\x89PNG\r\n\x1a\n"
"""Signature of a PNG file."""
_HEAD_BYTES = 8
"""Size of the signature of a file, and of the length and name at the start of a chunk, in bytes."""
_CHECKSUM_BYTES = 4
_NAME = re.compile(rb"[A-Za-z0-9_]{4}")
"""Pattern of the name of a chunk, as Pillow accepts it; the specification allows letters only."""
_MAX_CHUNKS = 25_000
"""Maximum number of chunks. Usual files have a few thousand."""
_BYTES_PER_CHUNK = 1_024
"""File size in bytes per additional chunk: the larger a file, the more chunks beyond `_MAX_CHUNKS`
are allowed. Programs write the pixels in chunks of 4 KB or more."""


class PngChecksums:
    """Check of a PNG file: its chunks, their checksums, and its end.

    The layout is that of "Portable Network Graphics (PNG) Specification", chapter 5 (W3C, 2025).
    The content of chunks is not decoded.

    Args:
        size: Size of the file, in bytes.
    """

    def __init__(self, size: int) -> None:
        self.ended = False
        """True once the last chunk was read. Bytes behind it are ignored."""
        self._chunks_left = _MAX_CHUNKS + size // _BYTES_PER_CHUNK
        self._pending = bytearray()
        """Bytes of a part that continues in the next block: checksum of a chunk and head of the
        next one, or signature and head of the first one."""
        self._wanted = 2 * _HEAD_BYTES
        """Number of bytes of that part."""
        self._name = b""
        """Name of the current chunk; empty before the first one."""
        self._content_left = 0
        """Number of bytes of the current chunk's content that follow."""
        self._checksum = 0

    def feed(self, block: memoryview) -> None:
        """Check the next block of the file.

        Raises:
            InvalidInputError: The file is broken, or has too many chunks.
        """
        at = 0
        while at < len(block) and not self.ended:
            if self._content_left:
                content = block[at : at + self._content_left]
                self._checksum = zlib.crc32(content, self._checksum)
                self._content_left -= len(content)
                at += len(content)
                continue
            part = block[at : at + self._wanted - len(self._pending)]
            self._pending += part
            at += len(part)
            if len(self._pending) == self._wanted:
                self._end_part(bytes(self._pending))
                self._pending.clear()

    def _end_part(self, part: bytes) -> None:
        if self._name and int.from_bytes(part[:_CHECKSUM_BYTES], "big") != self._checksum:
            name = self._name.decode("ascii")
            found = f"a PNG picture with a wrong checksum in a part of type {name}"
            raise InvalidInputError(found, "a picture that was copied without changes")
        if self._name == b"IEND":
            self.ended = True
            return
        length, self._name = int.from_bytes(part[-8:-4], "big"), part[-4:]
        if not _NAME.fullmatch(self._name):
            raise InvalidInputError("a PNG picture, broken", "a picture that an image editor opens")
        self._chunks_left -= 1
        if self._chunks_left < 0:
            found = "a PNG picture in too many or too large parts"
            raise InvalidInputError(found, "the picture as an image editor saves it")
        self._content_left = length
        self._checksum = zlib.crc32(self._name)
        last = self._name == b"IEND"
        self._wanted = _CHECKSUM_BYTES if last else _CHECKSUM_BYTES + _HEAD_BYTES
