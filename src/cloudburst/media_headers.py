"""Headers of media files, read with few, short reads.

The readers of Pillow and tinytag read metadata that the check of a file does not need, and every
page of an Ogg file. The functions here do not, so that little of a remote file is read.
"""

from __future__ import annotations

import io
import os
import struct
from typing import BinaryIO, NamedTuple

_MAX_SKIPPED_PARTS = 1_000
"""Maximum number of parts of a picture before its pixels. Usual files have dozens."""
_MIN_SKIPPED_BYTES = 1_024
"""Size in bytes from which a part of a picture with metadata is skipped."""
_MAX_CHUNK_BYTES = 65_536
"""Maximum size in bytes of a chunk of a PNG that is read."""
_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8"
_OGG_TAIL_BYTES = 32 * 1024
"""Number of bytes at the end of an Ogg file in which its last page is searched. A page may have 64
kB, but programs write pages of about 4 kB, and for Opus of one second."""
_OGG_PAGE = struct.Struct("<4sBBqI")
"""Start of a page of an Ogg file: mark, version, flags, position in samples, number of the stream.
The format is that of RFC 3533."""
_OPUS_RATE = 48_000
"""Unit of positions in an Ogg file with Opus, per second, at every sample rate (RFC 7845)."""


def picture_head(file: BinaryIO) -> BinaryIO:
    """Return the start of a JPEG or PNG up to its pixels, without large parts of metadata.

    EXIF data are kept. Any other file is returned as it is. The position in the file does not
    matter. The result ends early if the file does, or if it is broken.
    """
    file.seek(0)
    start = file.read(len(_PNG_START))
    if start.startswith(_JPEG_START):
        return _jpeg_head(file)
    if start == _PNG_START:
        return _png_head(file)
    file.seek(0)
    return file


def _jpeg_head(file: BinaryIO) -> BinaryIO:
    head = io.BytesIO()
    head.write(_JPEG_START)
    file.seek(len(_JPEG_START))
    for _ in range(_MAX_SKIPPED_PARTS):
        mark = file.read(4)
        if len(mark) < 4 or mark[0] != 0xFF:
            break
        if mark[1] == 0xFF:  # padding between segments
            file.seek(-3, os.SEEK_CUR)
            continue
        length = max(0, int.from_bytes(mark[2:], "big") - 2)
        is_metadata = 0xE0 <= mark[1] <= 0xEF or mark[1] == 0xFE
        if is_metadata and length >= _MIN_SKIPPED_BYTES:
            kind = file.read(6)
            if kind != b"Exif\0\0":
                file.seek(length - len(kind), os.SEEK_CUR)
                continue
            head.write(mark + kind + file.read(length - len(kind)))
            continue
        head.write(mark + file.read(length))
        if mark[1] == 0xDA:  # start of the pixels
            break
    head.seek(0)
    return head


def _png_head(file: BinaryIO) -> BinaryIO:
    head = io.BytesIO()
    head.write(_PNG_START)
    for _ in range(_MAX_SKIPPED_PARTS):
        start = file.read(8)
        if len(start) < 8:
            break
        length, name = int.from_bytes(start[:4], "big"), start[4:]
        if name == b"IDAT":
            head.write(start)  # Pillow stops here
            break
        if length > _MAX_CHUNK_BYTES and name[:1].isupper():
            break
        # The name of a chunk that is not needed for decoding begins with a small letter.
        if name[:1].islower() and (
            length >= (_MAX_CHUNK_BYTES if name == b"eXIf" else _MIN_SKIPPED_BYTES)
        ):
            file.seek(length + 4, os.SEEK_CUR)
            continue
        head.write(start + file.read(length + 4))
    head.seek(0)
    return head


class OggAudio(NamedTuple):
    """Format and length of an Ogg file."""

    channels: int
    rate: int
    """Sample rate in Hz."""
    seconds: float


def ogg_audio(file: BinaryIO, size: int) -> OggAudio | None:
    """Return the format and length of an Ogg file with Vorbis or Opus.

    Return ``None`` if its start or end is of another form. ``size`` is that of the file, in bytes.
    """
    file.seek(0)
    start = file.read(256)
    if len(start) < 27:
        return None
    mark, _, _, _, stream = _OGG_PAGE.unpack_from(start)
    packet = start[27 + start[26] :]
    if mark != b"OggS":
        return None
    if packet.startswith(b"\x01vorbis") and len(packet) >= 16:
        channels, rate = struct.unpack_from("<BI", packet, 11)
        unit, skipped = rate, 0
    elif packet.startswith(b"OpusHead") and len(packet) >= 16:
        channels, skipped, rate = struct.unpack_from("<BHI", packet, 9)
        unit = _OPUS_RATE
    else:
        return None
    file.seek(max(0, size - _OGG_TAIL_BYTES))
    end = _last_position(file.read(_OGG_TAIL_BYTES), stream)
    if end is None or not unit:
        return None
    return OggAudio(channels, rate, max(0, end - skipped) / unit)


def _last_position(tail: bytes, stream: int) -> int | None:
    """Return the position at the end of the last page of a stream, ``None`` if there is none."""
    at = len(tail)
    page: tuple[bytes, int, int, int, int]
    while (at := tail.rfind(b"OggS", 0, at)) >= 0:
        if len(tail) - at < _OGG_PAGE.size:
            continue
        page = _OGG_PAGE.unpack_from(tail, at)
        _, version, _, position, number = page
        if version == 0 and number == stream and position >= 0:
            return position
    return None
