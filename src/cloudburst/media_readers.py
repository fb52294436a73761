"""Files for third-party parsers, with limits on what the parsers read."""

from __future__ import annotations

from typing import BinaryIO

from cloudburst.media_file import PartNotReadError
from cloudburst.models.input_error import InvalidInputError

_JPEG_HEADER_BYTES = 16 * 2**20
"""Maximum number of bytes in a JPEG before its pixels. Metadata, colour profile, thumbnail and
depth map together have a few MB. The file size is not used as the limit, because Pillow keeps all
these bytes in memory."""
_MAX_READS = 100_000
"""Maximum number of reads of one file. Pillow makes one or two reads for each segment of a JPEG,
one for each byte of padding before a segment, and up to four for each chunk of a PNG, all in slow
Python code. Usual files need dozens."""
_BYTES_PER_READ = 256
"""File size in bytes per additional read: the larger a file, the more reads beyond `_MAX_READS` are
allowed, except in a JPEG. Programs write the pixels of a PNG in chunks of 4 KB or more, each with
up to four reads."""
_BYTES_PER_AUDIO_READ = 1_024
"""Size of an audio file in bytes per additional read. tinytag reads a page of an Ogg file, of about
4 KB, with up to three reads."""
_REREAD_BYTES = 2**20
"""Number of bytes that Pillow may read in addition to the size of a file."""


class PictureReader:
    """Picture file for Pillow's parsers, with limits on the number of reads and of bytes.

    Args:
        file: The file.
        size: Size of the file in bytes; ``None`` if it is not known.
        name: Description of the kind of file, for errors.
        is_jpeg: True for a JPEG, of which only the header is read.
    """

    def __init__(self, file: BinaryIO, size: int | None, *, name: str, is_jpeg: bool) -> None:
        size = size or 0
        self._file = file
        self._name = name
        self._reads = _MAX_READS + (0 if is_jpeg else size // _BYTES_PER_READ)
        # Other formats are read once, and Pillow reads their first bytes again.
        self._bytes = _JPEG_HEADER_BYTES if is_jpeg else size + _REREAD_BYTES
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """Read bytes from the file; raise `InvalidInputError` if a limit is exceeded."""
        data = self._file.read(size)
        self._reads -= 1
        self._bytes -= len(data)
        if self._reads < 0 or self._bytes < 0:
            found = f"{self._name} in too many or too large parts"
            raise InvalidInputError(found, "the picture as an image editor saves it")
        return data


class AudioReader:
    """Audio file for tinytag, with a limit on the number of reads.

    tinytag reads every part of a file, however small: gigabytes of zeros are parts of eight bytes.
    """

    def __init__(self, file: BinaryIO, size: int | None) -> None:
        self._file = file
        self._reads = _MAX_READS + (size or 0) // _BYTES_PER_AUDIO_READ
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """Read bytes from the file; raise `PartNotReadError` if the limit is exceeded."""
        self._reads -= 1
        if self._reads < 0:
            raise PartNotReadError
        return self._file.read(size)
