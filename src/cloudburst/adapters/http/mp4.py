"""Whether an MP4 can be played from its first bytes on, told from its outermost boxes.

A box is a length of four bytes, a type of four, and so much content; length 1 means that the
real one follows in eight bytes, and 0 that the box goes on to the end (ISO/IEC 14496-12, 4.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

_TYPES_SHOWN = 8


def unplayable(file: BinaryIO, size: int) -> str | None:
    """What is wrong with a video of so many bytes; ``None`` when nothing is.

    It begins with ``ftyp``, holds a whole ``moov`` (the index) before its ``mdat`` (the pictures
    and the sound), and no box reaches beyond its end.
    """
    types: list[bytes] = []
    for kind, end in _boxes(file, size):
        types.append(kind)
        if end > size:
            return f"its {_name(kind)} box ends {end - size} bytes after the file"
        if types[0] != b"ftyp":
            return "it does not begin with ftyp: it is no MP4"
        if kind == b"mdat" and b"moov" not in types:
            return "its index (moov) does not come before its content (mdat)"
    if b"moov" not in types or b"mdat" not in types:
        return f"it lacks moov or mdat: {', '.join(map(_name, types[:_TYPES_SHOWN])) or 'empty'}"
    return None


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """Type and end of each outermost box."""
    at = 0
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
