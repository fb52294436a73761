"""Whether an MP4 can be played, and for how long, told from its boxes.

A box is a length of four bytes, a type of four, and so much content; length 1 means that the
real one follows in eight bytes, and 0 that the box goes on to the end (ISO/IEC 14496-12, 4.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

_TYPES_SHOWN = 8


def unplayable(file: BinaryIO, size: int, *, at_once: bool = True) -> str | None:
    """What is wrong with a video of so many bytes; ``None`` when nothing is.

    It begins with ``ftyp``, holds a whole ``moov`` (the index) and ``mdat`` (the pictures and the
    sound), and no box reaches beyond its end. To be played ``at_once``, from its first bytes on,
    the index comes first.
    """
    types: list[bytes] = []
    for kind, end in _boxes(file, size):
        types.append(kind)
        if end > size:
            return f"its {_name(kind)} box ends {end - size} bytes after the file"
        if types[0] != b"ftyp":
            return "it does not begin with ftyp: it is no MP4"
        if at_once and kind == b"mdat" and b"moov" not in types:
            return "its index (moov) does not come before its content (mdat)"
    if b"moov" not in types or b"mdat" not in types:
        return f"it lacks moov or mdat: {', '.join(map(_name, types[:_TYPES_SHOWN])) or 'empty'}"
    return None


def seconds(file: BinaryIO, size: int) -> float | None:
    """How long a playable video is by its movie header (8.2.2); ``None`` when it does not say."""
    at = 0
    for kind, end in _boxes(file, size):
        if kind == b"moov":
            return _movie_seconds(file, at, end)
        at = end
    return None


def _movie_seconds(file: BinaryIO, at: int, end: int) -> float | None:
    file.seek(at)
    inside = at + (16 if int.from_bytes(file.read(4)) == 1 else 8)
    for kind, after in _boxes(file, end, inside):
        if kind == b"mvhd":
            file.seek(inside + 8)  # it is small: its own length has four bytes
            body = file.read(32)
            # Version 1 has longer times: created, modified, time scale, duration.
            skip, long = (20, 8) if body[:1] == b"\x01" else (12, 4)
            scale = int.from_bytes(body[skip : skip + 4])
            duration = int.from_bytes(body[skip + 4 : skip + 4 + long])
            unknown = not scale or duration == (1 << 8 * long) - 1
            return None if unknown else duration / scale
        inside = after
    return None


def _boxes(file: BinaryIO, size: int, at: int = 0) -> Iterator[tuple[bytes, int]]:
    """Type and end of each box from there on, up to the end of what holds them."""
    while at < size:
        file.seek(at)
        head = file.read(16)
        length, kind, least = int.from_bytes(head[:4]), head[4:8], 8
        if length == 1:
            length, least = int.from_bytes(head[8:16]), 16
        elif length == 0:
            length = size - at
        at += max(length, least)
        yield kind, at


def _name(kind: bytes) -> str:
    return kind.decode("ascii", "backslashreplace")
