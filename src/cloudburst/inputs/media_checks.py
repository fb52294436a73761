"""Checks of media files by their content; names and suffixes are ignored.

A check reads the start and the end of an open file without decoding it, and raises
`InvalidInputError` if the file cannot be rendered. The worker finds all other defects.
"""

from __future__ import annotations

import math
import os
import re
from array import array
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, BinaryIO, NamedTuple, cast

from PIL import ExifTags, Image, TiffImagePlugin, WebPImagePlugin
from tinytag import TinyTag

from cloudburst.errors import CloudburstError
from cloudburst.inputs.media_file import MediaFile, PartNotReadError, error_line
from cloudburst.media import font_tables, input_rules, subtitles
from cloudburst.media.heif import HEIF_START, HeifPicture, is_heif
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.limits import Limits
from cloudburst.renderer.missing_glyphs import characters_of

EXPECTED_PICTURE = "a picture: JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP or TIFF"
EXPECTED_AUDIO = "an audio file: mp3, wav, m4a, ogg, flac, aiff, caf, aac or webm"
EXPECTED_SUBTITLES = subtitles.FORMATS
EXPECTED_FONT = font_tables.EXPECTED_FONT

_REGISTERED = (TiffImagePlugin, WebPImagePlugin)  # formats that Pillow does not load by itself
_PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# Values of the EXIF orientation of pictures that are shown rotated by 90°
_ROTATIONS = range(5, 9)
# Assumed bytes per second (128 kbit/s) of audio without a length in its header. The guessed length
# is used for scheduling only
_GUESSED_BYTES_PER_SECOND = 16_000
# Assumed length of audio, in seconds, if the size of its file is unknown, too
_GUESSED_SECONDS = 60.0
# Shortest guessed length of audio, in seconds; a file for which less is guessed has room for a
# header only
_MIN_GUESSED_SECONDS = 0.05

# Maximum number of reads of one file. Pillow makes up to four reads for each chunk of a PNG, all
# in slow Python code. Usual files need dozens
_MAX_READS = 100_000
# Maximum number of bytes in a picture before its pixels, and in one read of an audio file.
# Metadata, colour profile, thumbnail and depth map together have a few MB. The file size is not
# the limit, because Pillow keeps up to five copies of these bytes in memory
_MAX_BYTES = 16 * 2**20
# Size of an audio file per additional read: tinytag reads a page of an Ogg file, of about 4 KB,
# with up to three reads
_BYTES_PER_AUDIO_READ = 1_024
# Maximum number of reads of a JPEG: 16 MB in full segments take 512. For each segment of EXIF
# data, Pillow copies all of these data
_MAX_JPEG_READS = 1_000

# Size in bytes of the shortest head of a WAV file
_WAV_HEAD_BYTES = 44
# Maximum size in bytes of a WebP that Pillow opens: it reads the whole file. Of a larger one, only
# the size of the picture is checked
_MAX_WEBP_BYTES = 8 * 2**20
# Maximum size in bytes of an Ogg file that tinytag reads: it may keep all of it in memory. An hour
# has about 58 MB at 128 kbit/s
_MAX_OGG_BYTES = 2**26
# Number of bytes at the end of a picture in which its end mark is searched first. Only a picture
# that was cut short, or to which a program has appended more, is read further
_TAIL_BYTES = 2**16
_BLOCK_BYTES = 2**20

_JPEG = "a JPEG picture"
_WAV, _OGG = "a wav file", "an ogg file"
# Kinds of audio whose length is guessed
_UNREAD = {"an aac file", "a caf file", "a webm or mkv file", "an RF64 file"}
# Marks of the ends of pictures, by Pillow's name of the format; that of a PNG is the name and the
# checksum of its last chunk
_ENDS: Mapping[str, bytes] = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


class _FileKind(NamedTuple):
    name: str
    audio: bool = False
    picture: bool = False
    lengthless: bool = False
    """True if the header of a file of this kind may lack the length of the audio."""
    web_type: str | None = None
    """Media type of a picture that every browser shows."""


_MAGIC: tuple[tuple[re.Pattern[bytes], _FileKind], ...] = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"ID3", _FileKind("an mp3 file", audio=True)),
        (rb"\xff[\xf0\xf1\xf8\xf9]", _FileKind("an aac file", audio=True, lengthless=True)),
        (rb"\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd]", _FileKind("an mp3 file", audio=True)),
        (rb"RIFF....WAVE", _FileKind(_WAV, audio=True, lengthless=True)),
        (rb"RF64....WAVE", _FileKind("an RF64 file", audio=True, lengthless=True)),
        (HEIF_START, _FileKind("a HEIC or AVIF picture", picture=True)),
        (rb"....ftyp", _FileKind("an m4a or mp4 file", audio=True, lengthless=True)),
        (rb"OggS", _FileKind(_OGG, audio=True, lengthless=True)),
        (rb"fLaC", _FileKind("a flac file", audio=True, lengthless=True)),
        (rb"\x1a\x45\xdf\xa3", _FileKind("a webm or mkv file", audio=True, lengthless=True)),
        (rb"FORM....AIF[FC]", _FileKind("an aiff file", audio=True, lengthless=True)),
        (rb"caff\x00\x01", _FileKind("a caf file", audio=True, lengthless=True)),
        (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _FileKind("a wma file")),
        (rb"\xff\xd8\xff", _FileKind(_JPEG, picture=True, web_type="image/jpeg")),
        (rb"\x89PNG\r\n\x1a\n", _FileKind("a PNG picture", picture=True, web_type="image/png")),
        (rb"GIF8[79]a", _FileKind("a GIF picture", picture=True, web_type="image/gif")),
        (rb"RIFF....WEBP", _FileKind("a WebP picture", picture=True, web_type="image/webp")),
        (rb"BM", _FileKind("a BMP picture", picture=True)),
        (rb"II\*\x00|MM\x00\*", _FileKind("a TIFF picture", picture=True)),
        (rb"%PDF-", _FileKind("a PDF document")),
        (rb"PK\x03\x04", _FileKind("a zip archive")),
        (rb"(?i:\s*<(?:!doctype )?html)", _FileKind("an HTML page")),
    )
)
_TEXT = _FileKind("a text file")
_UNKNOWN = _FileKind("data of an unknown kind")


class InputFacts(NamedTuple):
    """What a check has found out about a valid input file."""

    upright: bool = False
    """True for a picture that is taller than wide, as it is shown; false if its header is not
    read whole."""
    seconds: float = 0.0
    """Length of audio in seconds; 0 for other files."""
    length_known: bool = True
    """False for a length of audio that is guessed from the size of the file."""
    characters: str = ""
    """Each visible character of subtitles, once."""
    longest: subtitles.Cue | None = None
    """Cue of subtitles with the most text."""
    cue_starts: Sequence[int] = ()
    """Times at which the cues of subtitles begin, sorted, in milliseconds."""


class _PictureReader:
    """Picture file for Pillow's parsers, with limits on the number of reads and of bytes."""

    def __init__(self, file: BinaryIO, kind: _FileKind) -> None:
        self._file = file
        self._kind = kind
        self._reads = _MAX_JPEG_READS if kind.name == _JPEG else _MAX_READS
        self._bytes = _MAX_BYTES
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._reads -= 1
        self._bytes -= len(data)
        if self._reads < 0 or self._bytes < 0:
            found = f"{self._kind.name} in too many or too large parts"
            expected = "a picture without layers and large metadata"
            raise InvalidInputError(found, expected, "too_large")
        return data


class _AudioReader:
    """Audio file for tinytag, with limits: it would read each part of a file, however small."""

    def __init__(self, file: BinaryIO, size: int | None) -> None:
        self._file = file
        self._reads = _MAX_READS + (size or 0) // _BYTES_PER_AUDIO_READ
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        self._reads -= 1
        if self._reads < 0 or size > _MAX_BYTES:
            raise PartNotReadError
        return self._file.read(size)


def check_picture(media: MediaFile, limits: Limits) -> InputFacts:
    """Check that Pillow can read the picture, and that it has an end and is not too large.

    A picture of which only a part may be read is not checked for its end, and if the part is too
    small for its header, only its kind is checked.
    """
    start = media.file.read(32)
    kind = _kind(start)
    input_rules.check_webp(start, limits.image_pixels)
    if size := input_rules.webp_size(start):
        if not media.is_whole or media.size is None or media.size > _MAX_WEBP_BYTES:
            return InputFacts(upright=size[0] < size[1])
        if media.size < 8 + int.from_bytes(start[4:8], "little"):
            raise _cut_short(kind)
    try:
        picture = _read_header(media.file, kind)
    except PartNotReadError:
        if kind.picture:
            return InputFacts()
        raise InvalidInputError(kind.name, EXPECTED_PICTURE, "wrong_type") from None
    input_rules.check_picture(picture, limits.image_pixels)
    end = _ENDS.get(str(picture.format))
    # Pillow has read the file up to its pixels. A preview before them has an end of its own.
    if end is not None and media.is_whole and not _contains_end(media.file, end):
        raise _cut_short(kind)
    if isinstance(picture, HeifPicture) and media.size is not None and media.size < picture.end:
        raise _cut_short(kind)
    width, height = picture.size
    return InputFacts(upright=height < width if _is_turned(picture) else width < height)


def _contains_end(file: BinaryIO, mark: bytes) -> bool:
    """Return whether the rest of a file contains a mark; its last bytes are searched first."""
    start = file.tell()
    file.seek(max(file.seek(0, os.SEEK_END) - _TAIL_BYTES, start))
    if mark in file.read(_TAIL_BYTES):
        return True
    file.seek(start)
    last = b""
    while block := file.read(_BLOCK_BYTES):
        if mark in last + block:
            return True
        last = block[1 - len(mark) :]
    return False


def _cut_short(kind: _FileKind) -> InvalidInputError:
    return InvalidInputError(f"{kind.name} that ends too early", "the whole file")


def _read_header(file: BinaryIO, kind: _FileKind) -> Image.Image:
    with _translated_parser_errors(kind, EXPECTED_PICTURE):
        picture = _open_picture(_PictureReader(file, kind))
    if picture is None:
        raise InvalidInputError(kind.name, EXPECTED_PICTURE, "wrong_type")
    return picture


def _is_turned(picture: Image.Image) -> bool:
    """Return whether EXIF data rotate a picture by 90°; false if they are broken."""
    if picture.format == "TIFF":
        return False  # Pillow has exchanged width and height
    with suppress(Exception):  # Pillow raises many types; the renderer ignores them, too
        # Not PngImageFile.getexif, which decodes the picture to find EXIF data after it.
        exif = Image.Image.getexif(picture)
        return exif.get(ExifTags.Base.Orientation, 1) in _ROTATIONS
    return False


def check_audio(media: MediaFile, limits: Limits) -> InputFacts:
    """Check audio, whose length is guessed if the header lacks it."""
    kind = _kind(media.file.read(32))
    if not kind.audio:
        raise InvalidInputError(kind.name, EXPECTED_AUDIO, "wrong_type")
    try:
        facts = _header_length(media, kind)
    except PartNotReadError:
        facts = _guessed_length(media.size)
    if facts.length_known and facts.seconds > limits.audio_seconds:
        expected = f"at most {limits.audio_seconds:g} seconds"
        raise InvalidInputError(f"{facts.seconds:.0f} seconds", expected, "too_long")
    return facts


def check_subtitles(media: MediaFile, _limits: Limits) -> InputFacts:
    """Check that the subtitles have a supported format and never show too much text at once."""
    data = media.file.read(subtitles.MAX_SUBTITLE_BYTES + 1)
    try:
        cues = subtitles.read_subtitles(data).cues
        # An array, which has a fifth of the size of a list.
        starts = array("q", sorted(cue.start for cue in cues))
        longest = max(cues, key=lambda cue: len(cue.text) + 20 * cue.text.count("\n"))
        return InputFacts(characters=characters_of(cues), longest=longest, cue_starts=starts)
    except InvalidInputError:
        kind = _kind(data[:32])
        if kind not in (_TEXT, _UNKNOWN):
            raise InvalidInputError(kind.name, EXPECTED_SUBTITLES, "wrong_type") from None
        raise


def check_subtitle_kind(media: MediaFile) -> None:
    """Check that a file does not start like one of another kind."""
    kind = _kind(media.file.read(32))
    if kind not in (_TEXT, _UNKNOWN):
        raise InvalidInputError(kind.name, EXPECTED_SUBTITLES, "wrong_type")


def check_font(media: MediaFile, _limits: Limits) -> InputFacts:
    """Check that a font is complete and has outlines, as far as it may be read."""
    kind = _kind(media.file.read(32))
    if kind not in (_TEXT, _UNKNOWN):
        raise InvalidInputError(kind.name, EXPECTED_FONT, "wrong_type")
    with suppress(PartNotReadError):
        font_tables.check_font(media.file)
    return InputFacts()


def media_kind(start: bytes) -> str:
    """Return ``picture``, ``sound``, ``subtitle`` or ``other`` for the first 32 bytes of a file."""
    kind = _kind(start)
    if kind.picture or kind.audio:
        return "picture" if kind.picture else "sound"
    return "subtitle" if kind is _TEXT else "other"


def web_picture_type(start: bytes) -> str | None:
    """Return the media type of a picture that every browser shows, from its first 32 bytes."""
    return _kind(start).web_type


def _kind(start: bytes) -> _FileKind:
    for pattern, kind in _MAGIC:
        if pattern.match(start):
            return kind
    if b"\0" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _UNKNOWN
    # The last character may be incomplete: up to three bytes are left out.
    for end in range(len(start), max(len(start) - 4, 0), -1):
        text = subtitles.decode_text(start[:end])
        if text is not None and all(char.isprintable() or char in "\r\n\t\ufeff" for char in text):
            return _TEXT
    return _UNKNOWN


def _open_picture(file: _PictureReader) -> Image.Image | None:
    # Not Image.open: its pixel limit and its warnings depend on global settings of the process,
    # which belong to the program that uses this package.
    Image.preinit()  # `Image.init` would import 50 modules for other formats
    file.seek(0)
    start = file.read(16)
    if is_heif(start):
        return HeifPicture(cast("IO[bytes]", file), "")
    for name in _PICTURE_FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is None or accept(start) is True:
            file.seek(0)
            return factory(cast("IO[bytes]", file), "")
    return None


def _header_length(media: MediaFile, kind: _FileKind) -> InputFacts:
    size = media.size
    # tinytag reads some as mp3, or not at all, and every page of an Ogg file.
    if kind.name in _UNREAD or (
        kind.name == _OGG and not (media.is_whole and size and size <= _MAX_OGG_BYTES)
    ):
        return _guessed_length(size)
    with _translated_parser_errors(kind, EXPECTED_AUDIO):
        seconds = _tag_seconds(media.file, size, is_wav=kind.name == _WAV)
    if math.isfinite(seconds) and seconds > 0:
        return InputFacts(seconds=seconds)
    guess = _guessed_length(size)
    if kind.lengthless and guess.seconds > _MIN_GUESSED_SECONDS:
        return guess
    raise InvalidInputError(f"{kind.name} without any audio in it", EXPECTED_AUDIO)


def _tag_seconds(file: BinaryIO, size: int | None, *, is_wav: bool) -> float:
    file.seek(0)
    reader = _AudioReader(file, size)
    tag = TinyTag.get(file_obj=cast("BinaryIO", reader), tags=False)
    if tag.channels and tag.samplerate:
        input_rules.check_audio_format(tag.channels, tag.samplerate)
    seconds = tag.duration or 0.0
    if is_wav and tag.bitrate and size is not None:
        # A program that writes to a pipe does not know the length: it leaves 4 GB there.
        seconds = min(seconds, (size - _WAV_HEAD_BYTES) * 8 / (1000 * tag.bitrate))
    return seconds


def _guessed_length(size: int | None) -> InputFacts:
    seconds = _GUESSED_SECONDS if size is None else size / _GUESSED_BYTES_PER_SECOND
    return InputFacts(seconds=seconds, length_known=False)


@contextmanager
def _translated_parser_errors(kind: _FileKind, expected: str) -> Generator[None]:
    """Raise every error of a parser as `InvalidInputError`, but not those of reading the file."""
    try:
        yield
    except (InvalidInputError, PartNotReadError, CloudburstError):
        raise
    except Exception as exc:
        if isinstance(exc.__cause__, InvalidInputError | PartNotReadError | CloudburstError):
            raise exc.__cause__ from None  # tinytag wraps the errors of the file
        raise InvalidInputError(f"{kind.name}, broken: {error_line(exc)}", expected) from exc
