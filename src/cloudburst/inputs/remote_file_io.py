"""Remote file as a file object, of which a check reads few bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from cloudburst.inputs.media_file import PartNotReadError
from cloudburst.media.input_error import InvalidInputError
from cloudburst.ports.remote_files import RangeAnswer

MAX_CHECKED_BYTES = 256 * 1024
"""Maximum number of bytes that are read of an input file, for pictures with much metadata.
Subtitles are read whole."""
BLOCK_BYTES = 16 * 1024
"""Number of bytes in a block of a file. A request reads whole blocks; the first one, of one block,
reads the header of most files."""


class RemoteFileIO(io.RawIOBase):
    """Remote file that is read in blocks, each at most once, up to `MAX_CHECKED_BYTES` in all.

    Args:
        read: Function that returns a range of the file, from a position to before another one.
    """

    def __init__(self, read: Callable[[int, int], RangeAnswer]) -> None:
        super().__init__()
        self._read = read
        self._position = 0
        self._budget = MAX_CHECKED_BYTES
        self._blocks: dict[int, bytes] = {}
        """Content of the blocks that were read, by their number."""
        answer = self._read(0, BLOCK_BYTES)
        self.size = answer.file.size
        """Size of the file in bytes; ``None`` if it is not known."""
        if self.size is None and len(answer.data) < BLOCK_BYTES:
            self.size = len(answer.data)
        self._add(answer, 0, BLOCK_BYTES)

    def readable(self) -> bool:
        """Return true."""
        return True

    def seekable(self) -> bool:
        """Return true: the blocks may be read in any order."""
        return True

    def tell(self) -> int:
        """Return the current position, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position and return it.

        Raises:
            PartNotReadError: The position is relative to the end, which is not known.
        """
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            if self.size is None:
                raise PartNotReadError
            offset += self.size
        if offset < 0:
            msg = f"negative position {offset}"
            raise ValueError(msg)
        self._position = offset
        return offset

    def readinto(self, buffer: Any, /) -> int:
        """Read bytes at the current position into a buffer, and return their number.

        Raises:
            InvalidInputError: The file cannot be read, or has changed.
            PartNotReadError: More than `MAX_CHECKED_BYTES` would be read.
        """
        view = memoryview(buffer).cast("B")
        if self.size is not None and self._position >= self.size:
            return 0
        number, offset = divmod(self._position, BLOCK_BYTES)
        if number not in self._blocks:
            # The buffer above this file asks for as much as it can hold, even for a few bytes.
            self._read_blocks(number, offset + (len(view) if len(view) > BLOCK_BYTES else 0))
        data = self._blocks[number][offset : offset + len(view)]
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _read_blocks(self, first: int, length: int) -> None:
        """Read blocks from one that is missing on, up to a length or the next known block."""
        end = first + 1
        while (end - first) * BLOCK_BYTES < length and end not in self._blocks:
            end += 1
        start, stop = first * BLOCK_BYTES, end * BLOCK_BYTES
        stop = stop if self.size is None else min(stop, self.size)
        if stop - start > self._budget:
            raise PartNotReadError
        answer = self._read(start, stop)
        if not answer.data:
            raise PartNotReadError
        self._add(answer, start, stop)

    def _add(self, answer: RangeAnswer, start: int, stop: int) -> None:
        """Add the blocks of an answer."""
        self._budget -= stop - start
        data = answer.data[: stop - start]
        if self.size is not None and len(data) < min(stop, self.size) - start:
            raise InvalidInputError("an answer that ends too early", "the whole range")
        for offset in range(0, len(data), BLOCK_BYTES):
            self._blocks[(start + offset) // BLOCK_BYTES] = data[offset : offset + BLOCK_BYTES]
        if self.size is None and len(data) < stop - start:
            self.size = start + len(data)
