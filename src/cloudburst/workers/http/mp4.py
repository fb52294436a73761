"""Playability check and length of MP4 files, both read from the boxes of the file.

A box consists of its length (four bytes), its type (four bytes) and its content. A length of 1
means that the real length follows the type in eight bytes, and a length of 0 that the box extends
to the end of the file (ISO/IEC 14496-12, 4.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

_MAX_TYPES_SHOWN = 8
# Maximum number of boxes that are read on one level. Videos have about four; reading millions of
# empty boxes would take minutes.
MAX_BOXES = 10_000


def find_playback_problem(file: BinaryIO, size: int, *, fast_start: bool = True) -> str | None:
    """Return why a video of ``size`` bytes cannot be played; ``None`` if it can.

    A playable video begins with the box ``ftyp`` and contains ``moov`` (the index) and ``mdat``
    (pictures and audio), and no box extends beyond the end of the file. With ``fast_start``, the
    index must come before ``mdat``, so that the video is playable before it has arrived completely.
    """
    types: list[bytes] = []
    for kind, end in _boxes(file, size):
        types.append(kind)
        if len(types) > MAX_BOXES:
            return f"it has more than {MAX_BOXES} boxes"
        if end > size:
            return f"its {_name(kind)} box ends {end - size} bytes after the file"
        if types[0] != b"ftyp":
            return "it does not begin with ftyp, so it is not an MP4"
        if fast_start and kind == b"mdat" and b"moov" not in types:
            return "its index (moov) does not come before its content (mdat)"
    if b"moov" not in types or b"mdat" not in types:
        found = ", ".join(map(_name, types[:_MAX_TYPES_SHOWN])) or "empty"
        return f"it lacks moov or mdat: {found}"
    return None


def video_seconds(file: BinaryIO, size: int) -> float | None:
    """Return the length of a video in seconds; ``None`` if its movie header does not state it.

    The movie header is the box ``mvhd`` (ISO/IEC 14496-12, 8.2.2).
    """
    start = 0
    for kind, end in islice(_boxes(file, size), MAX_BOXES):
        if kind == b"moov":
            return _movie_seconds(file, start, end)
        start = end
    return None


def _movie_seconds(file: BinaryIO, start: int, end: int) -> float | None:
    file.seek(start)
    position = start + (16 if int.from_bytes(file.read(4)) == 1 else 8)
    for kind, next_position in islice(_boxes(file, end, position), MAX_BOXES):
        if kind == b"mvhd":
            file.seek(position + 8)  # a small box, so its own length has four bytes
            body = file.read(32)
            # Version 1 has 8-byte times: created, modified, time scale, duration.
            skip, width = (20, 8) if body[:1] == b"\x01" else (12, 4)
            scale = int.from_bytes(body[skip : skip + 4])
            duration = int.from_bytes(body[skip + 4 : skip + 4 + width])
            unknown = not scale or duration == (1 << 8 * width) - 1
            return None if unknown else duration / scale
        position = next_position
    return None


def _boxes(file: BinaryIO, size: int, position: int = 0) -> Iterator[tuple[bytes, int]]:
    """Yield the type and the end position of each box from ``position`` up to ``size``."""
    while position < size:
        file.seek(position)
        head = file.read(16)
        length, kind, min_length = int.from_bytes(head[:4]), head[4:8], 8
        if length == 1:
            length, min_length = int.from_bytes(head[8:16]), 16
        elif length == 0:
            length = size - position
        position += max(length, min_length)
        yield kind, position


def _name(kind: bytes) -> str:
    return kind.decode("ascii", "backslashreplace")
