"""Headers of media files, read with few, short reads.

The readers of Pillow and tinytag read metadata that the check of a file does not need, and every
page of an Ogg file. The functions here do not, so that little of a remote file is read.
"""

from __future__ import annotations

import io
import os
import struct
from typing import BinaryIO, NamedTuple

from cloudburst.models import picture_rules

_MAX_SKIPPED_PARTS = 1_000
"""Maximum number of parts of a picture before its pixels. Usual files have dozens."""
_MIN_SKIPPED_BYTES = 1_024
"""Size in bytes from which a part of a picture with metadata is skipped."""
_MAX_CHUNK_BYTES = 65_536
"""Maximum size in bytes of a chunk of a PNG that is read."""
_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8"
_MAX_WEBP_CHUNKS = 10_000
"""Maximum number of chunks of a WebP that are looked at. An animation has one for each frame, and
its EXIF data are behind them."""
_WEBP_HEAD_BYTES = 14
"""Number of bytes at the start of a chunk that are read: name, length, and start of the content."""
_MAX_EXIF_BYTES = 2**20
"""Maximum size in bytes of EXIF data of a WebP that are read. Usual data have less than 64 kB."""
_OGG_TAIL_BYTES = 32 * 1024
"""Number of bytes at the end of an Ogg file in which its last page is searched. A page may have 64
kB, but programs write pages of about 4 kB, and for Opus of one second."""
_OGG_PAGE = struct.Struct("<4sBBqI")
"""Start of a page of an Ogg file: mark, version, flags, position in samples, number of the stream.
The format is that of RFC 3533."""
_OPEN_END = 0xFFFFFFFF
"""Length of the samples in a WAV file that is longer than 4 GB, or was written to a pipe."""
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


class WebpHead(NamedTuple):
    """Size of a WebP picture, and its metadata."""

    width: int
    height: int
    exif: bytes
    """EXIF data; empty if there are none."""


def webp_head(file: BinaryIO) -> WebpHead | None:
    """Return the head of a WebP, without its pixels; ``None`` if the file is no WebP or is broken.

    Pillow would read the whole file, and allocate memory for all pixels. The layout is that of
    developers.google.com/speed/webp/docs/riff_container (2026-11).
    """
    file.seek(0)
    start = file.read(30)
    size = picture_rules.webp_size(start)
    if size is None:
        return None
    exif, has_pixels = b"", False
    end = 8 + int.from_bytes(start[4:8], "little")
    at = 12
    for _ in range(_MAX_WEBP_CHUNKS):
        file.seek(at)
        head = file.read(_WEBP_HEAD_BYTES)
        name, length = head[:4], int.from_bytes(head[4:8], "little")
        if at + 8 > end or len(head) < 8:
            break
        if at + 8 + length > end or not _is_webp_chunk(name, head[8:]):
            return None
        has_pixels |= name in {b"VP8 ", b"VP8L", b"ANMF"}
        if name == b"EXIF" and length <= _MAX_EXIF_BYTES:
            file.seek(at + 8)
            exif = file.read(length)
        at += 8 + length + length % 2
    return WebpHead(*size, exif) if has_pixels else None


def _is_webp_chunk(name: bytes, content: bytes) -> bool:
    """Return whether the content of a chunk begins as that of a chunk with this name does."""
    match name:
        case b"VP8 ":  # a key frame: its first bit is 0, and three bytes mark its start
            return len(content) >= 6 and not content[0] & 1 and content[3:6] == b"\x9d\x01\x2a"
        case b"VP8L":
            return content[:1] == b"\x2f"
        case _:
            return name.isascii()


class AudioHead(NamedTuple):
    """Format and length of an audio file."""

    channels: int
    rate: int
    """Sample rate in Hz."""
    seconds: float


def ogg_audio(file: BinaryIO, size: int) -> AudioHead | None:
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
    return AudioHead(channels, rate, max(0, end - skipped) / unit)


def wav_audio(file: BinaryIO, size: int | None) -> AudioHead | None:
    """Return the format and length of a WAV or RF64 file; ``None`` if it has none of both.

    ``size`` is that of the file, in bytes; ``None`` if it is not known.
    """
    at, channels, rate, byte_rate, bits = 12, 0, 0, 0, 0
    for _ in range(_MAX_SKIPPED_PARTS):
        file.seek(at)
        head = file.read(24)
        if len(head) < 8:
            break
        name, length = head[:4], int.from_bytes(head[4:8], "little")
        at += 8
        if name == b"data" and channels:
            # A program that writes to a pipe does not know the length: it leaves 0 or 4 GB there.
            known = min(length or _OPEN_END, _OPEN_END if size is None else max(0, size - at))
            per_second = channels * rate * bits // 8 if bits >= 8 else byte_rate
            return AudioHead(channels, rate, known / (per_second or 1))
        if name == b"fmt " and len(head) == 24:
            channels, rate, byte_rate, _, bits = struct.unpack_from("<2xHIIHH", head, 8)
        at += length + length % 2
    return None


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
