"""Files for third-party parsers, with limits on what the parsers read."""

from __future__ import annotations

from typing import BinaryIO

from cloudburst.inputs.media_file import PartNotReadError
from cloudburst.media.input_error import InvalidInputError

_MAX_READS = 100_000
"""Maximum number of reads of one file. Pillow makes up to four reads for each chunk of a PNG, all
in slow Python code. Usual files need dozens."""
_MAX_BYTES = 16 * 2**20
"""Maximum number of bytes in a picture before its pixels, and in one read of an audio file.
Metadata, colour profile, thumbnail and depth map together have a few MB. The file size is not used
as the limit, because Pillow keeps up to five copies of these bytes in memory."""
_BYTES_PER_AUDIO_READ = 1_024
"""Size of an audio file in bytes per additional read. tinytag reads a page of an Ogg file, of about
4 KB, with up to three reads."""
_MAX_JPEG_READS = 1_000
"""Maximum number of reads of a JPEG: 16 MB in full segments take 512. For each segment of EXIF
data, Pillow copies all of these data."""


class PictureReader:
    """Picture file for Pillow's parsers, with limits on the number of reads and of bytes.

    Args:
        file: The file.
        name: Description of the kind of file, for errors.
        is_jpeg: True for a JPEG.
    """

    def __init__(self, file: BinaryIO, *, name: str, is_jpeg: bool) -> None:
        self._file = file
        self._name = name
        self._reads = _MAX_JPEG_READS if is_jpeg else _MAX_READS
        self._bytes = _MAX_BYTES
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """Read bytes from the file; raise `InvalidInputError` if a limit is exceeded."""
        data = self._file.read(size)
        self._reads -= 1
        self._bytes -= len(data)
        if self._reads < 0 or self._bytes < 0:
            found = f"{self._name} in too many or too large parts"
            raise InvalidInputError(found, "a picture without layers and large metadata")
        return data


class AudioReader:
    """Audio file for tinytag, with limits on the number of reads and the size of each.

    tinytag reads every part of a file, however small: gigabytes of zeros are parts of eight bytes.
    """

    def __init__(self, file: BinaryIO, size: int | None) -> None:
        self._file = file
        self._reads = _MAX_READS + (size or 0) // _BYTES_PER_AUDIO_READ
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """Read bytes from the file; raise `PartNotReadError` if a limit is exceeded."""
        self._reads -= 1
        if self._reads < 0 or size > _MAX_BYTES:
            raise PartNotReadError
        return self._file.read(size)
