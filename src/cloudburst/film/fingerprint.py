"""Fingerprint of a film in its file, which shows that the film need not be made again."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO

from cloudburst.files import open_regular_file

_TAG = "cloudburst film "
"""Start of the comment in the metadata of a film; the fingerprint follows."""
_FINGERPRINT = re.compile(rb"cloudburst film ([0-9a-f]{64})")
_END_BYTES = 512 * 1024
"""Bytes at the end of a film's index in which the metadata are: titles of chapters, and the
comment."""
_MAX_BOXES = 4
"""Number of boxes at the start of a film among which the index is: ``ftyp``, ``moov``, ``mdat``."""


def fingerprint_tag(fingerprint: str) -> str:
    """Return the comment that stores a fingerprint in the metadata of a film."""
    return f"{_TAG}{fingerprint}"


def read_fingerprint(path: Path) -> str | None:
    """Return the fingerprint of a film that this package has made. Blocks.

    Return ``None`` if the file does not exist, is cut short, or is not a film of this package.
    """
    try:
        with open_regular_file(path) as file:
            index = _end_of_index(file, os.fstat(file.fileno()).st_size)
    except OSError:
        return None
    found = _FINGERPRINT.findall(index)
    return found[-1].decode("ascii") if found else None


def _end_of_index(file: BinaryIO, size: int) -> bytes:
    """Return the last bytes of the box ``moov``; nothing if a box extends beyond the file.

    A box begins with its length in four bytes, or in eight after its type (ISO/IEC 14496-12, 4.2).
    """
    start, found = 0, b""
    for _ in range(_MAX_BOXES):
        file.seek(start)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4]), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16])
        end = start + length
        if length < 8 or end > size:
            return b""
        if kind == b"moov":
            file.seek(max(start, end - _END_BYTES))
            found = file.read(end - file.tell())
        if end == size:
            return found
        start = end
    return b""
