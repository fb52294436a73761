"""Exchange of encoded GOPs between the processes that encode one video.

The processes share a folder. A process claims a GOP by locking a file, encodes it, and stores the
result in another file. The kernel releases the lock of a process that has ended, so a GOP that a
killed process has left behind can be claimed again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cloudburst.renderer.encoder import EncodedPicture

_COUNT = struct.Struct("<I")
"""Format of the number of pictures in a result."""
_PICTURE = struct.Struct("<II")
"""Format of size and position of each picture in a result; the data of all pictures follow."""


class GopExchange:
    """Files in a folder through which processes share the GOPs of one video."""

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self._folder = folder
        self._prefix = prefix

    @contextmanager
    def claimed(self, index: int) -> Generator[bool]:
        """Claim a GOP for the block; false if it is finished or claimed by another process."""
        claim = os.open(self._path(index, "claim"), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield not self._result(index).exists()
        finally:
            os.close(claim)

    def store(self, index: int, pictures: Sequence[EncodedPicture]) -> None:
        """Store the pictures of a GOP. Other processes find all of them or nothing."""
        partial = self._path(index, "part")
        with partial.open("wb") as file:
            file.write(_COUNT.pack(len(pictures)))
            for picture in pictures:
                file.write(_PICTURE.pack(len(picture.data), picture.position))
            for picture in pictures:
                file.write(picture.data)
        partial.replace(self._result(index))

    def finish(self, index: int) -> None:
        """Record that a GOP is finished without storing its pictures here."""
        self._result(index).touch()

    def take(self, index: int) -> list[EncodedPicture] | None:
        """Return the stored pictures of a GOP once, or ``None``; their space is freed."""
        path = self._result(index)
        with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
            if not (head := file.read(_COUNT.size)):
                return None  # taken before, or finished without being stored
            (count,) = _COUNT.unpack(head)
            heads = [_PICTURE.unpack(file.read(_PICTURE.size)) for _ in range(count)]
            pictures = [EncodedPicture(file.read(size), position) for size, position in heads]
            file.truncate(0)  # the name stays, so that no process encodes the GOP again
            return pictures
        return None

    def _result(self, index: int) -> Path:
        return self._path(index, "gop")

    def _path(self, index: int, kind: str) -> Path:
        return self._folder / f"{self._prefix}{index}.{kind}"
