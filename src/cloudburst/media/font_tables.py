"""Tables of an OpenType or TrueType font: names, sizes and characters.

The format is that of the OpenType specification 1.9.1,
https://learn.microsoft.com/typography/opentype/spec/.

A font may come from a caller: every count and every offset is checked before it is used.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cloudburst.media.input_error import InvalidInputError

EXPECTED_FONT = "a TrueType or OpenType font: .ttf, .otf or .ttc"
# Largest size of a caller's font file. The collection of Noto Sans CJK has 19 MB.
MAX_FONT_BYTES = 32 * 1024 * 1024

_COLLECTION = b"ttcf"
# First bytes of a face: TrueType outlines, CFF outlines, TrueType outlines of Apple.
_FACE_STARTS = frozenset((b"\0\1\0\0", b"OTTO", b"true"))
# Names of formats that are not supported, by their first bytes.
_OTHER_FONTS = {
    b"wOFF": "a WOFF font for web pages",
    b"wOF2": "a WOFF2 font for web pages",
    b"%!PS": "a PostScript font",
    b"%!Fo": "a PostScript font",
    b"\x80\1\0\0": "a PostScript font",
    b"STAR": "a bitmap font",
    b"\1fcp": "a bitmap font",
}
# Largest number of faces in a font file. The collections of Noto CJK have 10.
_MAX_FACES = 64
# Largest number of tables of a face. Usual fonts have 10 to 30.
_MAX_TABLES = 128
# Largest size of a table that is read. The character map of Noto Sans CJK has 0.3 MB.
_MAX_TABLE_BYTES = 32 * 1024 * 1024
# Number in the table ``head`` of every font.
_MAGIC = 0x5F0F3CF5
# Smallest and largest number of units in an em that the specification allows.
_MIN_EM, _MAX_EM = 16, 16_384
# Smallest and largest sum of ascender and descender, in em. Usual fonts have 1 to 2. Letters are
# scaled so that this sum is the height of a line: a smaller one would make them huge.
_MIN_HEIGHT, _MAX_HEIGHT = 0.25, 8


class FontMetrics(NamedTuple):
    """Vertical sizes of a font, in font units; depths below the baseline are positive."""

    units_per_em: int
    ascender: int
    descender: int
    underline_centre: int
    """Distance from the baseline down to the middle of an underline, as libass reads the table."""
    underline_height: int
    strike_centre: int
    """Distance from the baseline up to the middle of the line through letters that are struck."""
    strike_height: int


class FontTables:
    """Tables of one face of a font file.

    Raises `InvalidInputError` for a file that is not a font with a Unicode character map.
    """

    def __init__(self, file: BinaryIO, index: int = 0) -> None:
        with _translated_errors():
            directory = _directory(file, _face_offsets(file)[index])
            self.metrics = _metrics(*map(directory.read, ("head", "hhea", "OS/2", "post")))
            self._starts, self._ends, self._glyphs = _character_map(directory.read("cmap"))

    def glyph(self, character: str) -> int:
        """Return the number of the glyph of a character, 0 if the font has none."""
        code = ord(character)
        at = bisect_right(self._starts, code) - 1
        if at < 0 or code > self._ends[at]:
            return 0
        return self._glyphs[at] + code - self._starts[at]

    def has_glyph(self, character: str) -> bool:
        """Return whether the font can draw a character."""
        return self.glyph(character) != 0


def noto_has_glyph(character: str) -> bool:
    """Return whether the fonts Noto Sans CJK, which need not be on this machine, have a glyph."""
    return bisect_right(_noto_ranges(), ord(character)) % 2 == 1


@cache
def _noto_ranges() -> list[int]:
    # The first character of each range that the font has, and the first one after it.
    file = Path(__file__).with_name("noto_sans_cjk.json")
    return list(accumulate(json.loads(file.read_text("utf-8"))))


def check_font(file: BinaryIO) -> None:
    """Check that the first face of a caller's font file can be used for subtitles.

    Outlines are not read: errors in them show when letters are drawn. Raises `InvalidInputError`.
    """
    size = file.seek(0, os.SEEK_END)
    if size > MAX_FONT_BYTES:
        limit = f"{MAX_FONT_BYTES // 1024**2} MB"
        raise InvalidInputError(f"a font of more than {limit}", f"at most {limit}", "too_large")
    file.seek(0)
    start = file.read(4)
    if start not in _FACE_STARTS and start != _COLLECTION:
        found = _OTHER_FONTS.get(start, "not a font")
        raise InvalidInputError(found, EXPECTED_FONT, "wrong_type")
    FontTables(file)
    with _translated_errors():
        directory = _directory(file, _face_offsets(file)[0])
        _check_glyphs(directory)
    if not directory.is_scalable():
        raise InvalidInputError("a font of bitmaps, without outlines", EXPECTED_FONT, "wrong_type")


def face_index(file: BinaryIO, family: str) -> int | None:
    """Return the index of the face with this family name in a font file, or ``None``."""
    try:
        for index, offset in enumerate(_face_offsets(file)):
            if family in _family_names(_directory(file, offset).read("name")):
                return index
    except (OSError, struct.error, ValueError, LookupError):
        return None
    return None


class _Directory(NamedTuple):
    file: BinaryIO
    places: dict[str, tuple[int, int]]
    """Offset and size in bytes of each table."""

    def read(self, name: str) -> bytes:
        """Return the content of a table; it is empty if the font has no such table."""
        offset, size = self.places.get(name, (0, 0))
        if size > _MAX_TABLE_BYTES:
            msg = f"its table {name} has {size} bytes"
            raise ValueError(msg)
        self.file.seek(offset)
        return self.file.read(size)

    def is_scalable(self) -> bool:
        """Return whether glyphs are outlines, or pictures that are scaled, as those of emoji."""
        kinds = ({"glyf", "loca"}, {"CFF "}, {"CFF2"}, {"CBDT", "CBLC"}, {"sbix"})
        return any(kind <= self.places.keys() for kind in kinds)


@contextmanager
def _translated_errors() -> Generator[None]:
    try:
        yield
    except (struct.error, ValueError, LookupError) as error:
        raise InvalidInputError(f"a broken font: {error}", EXPECTED_FONT) from error


def _face_offsets(file: BinaryIO) -> list[int]:
    file.seek(0)
    head = file.read(12)
    if head[:4] != _COLLECTION:
        return [0]
    count = min(struct.unpack(">I", head[8:])[0], _MAX_FACES)
    return list(struct.unpack(f">{count}I", file.read(4 * count)))


def _directory(file: BinaryIO, offset: int) -> _Directory:
    end = file.seek(0, os.SEEK_END)
    file.seek(offset)
    start, count = struct.unpack(">4sH6x", file.read(12))
    if start not in _FACE_STARTS or count > _MAX_TABLES:
        msg = f"it has no face at byte {offset}"
        raise ValueError(msg)
    places: dict[str, tuple[int, int]] = {}
    for tag, at, size in struct.iter_unpack(">4s4xII", file.read(16 * count)):
        name = tag.decode("latin-1")
        if at + size > end:
            msg = f"its table {name.strip()!r} ends after the end of the file"
            raise ValueError(msg)
        places.setdefault(name, (at, size))
    return _Directory(file, places)


def _check_glyphs(directory: _Directory) -> None:
    _, glyphs = struct.unpack_from(">IH", directory.read("maxp"))
    (widths,) = struct.unpack_from(">H", directory.read("hhea"), 34)
    _, size = directory.places.get("hmtx", (0, 0))
    if not 0 < widths <= min(glyphs, size // 4):
        msg = f"it has {widths} widths of {glyphs} glyphs in {size} bytes"
        raise ValueError(msg)
    if "glyf" in directory.places:
        (is_long,) = struct.unpack_from(">h", directory.read("head"), 50)
        _, size = directory.places.get("loca", (0, 0))
        if size < (glyphs + 1) * (4 if is_long else 2):
            msg = f"its table loca is too short for {glyphs} glyphs"
            raise ValueError(msg)


def _family_names(table: bytes) -> Iterator[str]:
    """Yield the family names (1: family, 16: typographic family) of a ``name`` table."""
    _, count, texts = struct.unpack_from(">3H", table)
    for platform, _, _, name, size, at in struct.iter_unpack(">6H", table[6 : 6 + 12 * count]):
        if name in {1, 16} and platform in {0, 3}:  # 0: Unicode, 3: Windows
            yield table[texts + at : texts + at + size].decode("utf-16-be", "replace")


def _metrics(head: bytes, hhea: bytes, os2: bytes, post: bytes) -> FontMetrics:
    magic, _, units = struct.unpack_from(">IHH", head, 12)
    # libass takes the sizes for Windows, from which the present look of subtitles comes.
    ascender, descender = struct.unpack_from(">2H", os2, 74) if len(os2) >= 78 else (0, 0)
    if ascender + descender == 0:
        ascender, below = struct.unpack_from(">2h", hhea, 4)
        descender = -below
    is_possible = magic == _MAGIC and _MIN_EM <= units <= _MAX_EM
    if not (is_possible and _MIN_HEIGHT * units <= ascender + descender <= _MAX_HEIGHT * units):
        msg = f"its sizes are {ascender}, {descender} and {units}"
        raise ValueError(msg)
    underline, thickness = -units // 10, units // 20  # usual values, for fonts without the table
    if len(post) >= 12:
        underline, thickness = struct.unpack_from(">2h", post, 8)
    strike_height, strike = struct.unpack_from(">2h", os2, 26) if len(os2) >= 30 else (0, 0)
    if strike <= 0:
        strike_height, strike = thickness, ascender // 3  # through the small letters
    return FontMetrics(
        units, ascender, descender, -underline, max(1, thickness), strike, max(1, strike_height)
    )


def _character_map(table: bytes) -> tuple[array[int], array[int], array[int]]:
    # The ranges are sorted. Within a range, glyph numbers rise with characters.
    (count,) = struct.unpack_from(">H", table, 2)
    subtables: dict[int, int] = {}  # offset of a Unicode subtable of each format
    for platform, encoding, offset in struct.iter_unpack(">HHI", table[4 : 4 + 8 * count]):
        if platform == 0 or (platform == 3 and encoding in {1, 10}):
            subtables[struct.unpack_from(">H", table, offset)[0]] = offset
    if (offset := subtables.get(12, -1)) >= 0:
        (groups,) = struct.unpack_from(">I", table, offset + 12)
        content = table[offset + 16 : offset + 16 + 12 * groups]
        if len(content) < 12 * groups:
            msg = f"its character map is too short for {groups} ranges"
            raise ValueError(msg)
        numbers = _big_endian("I", content)
        return numbers[::3], numbers[1::3], numbers[2::3]
    if (offset := subtables.get(4, -1)) >= 0:
        return _ranges_of_segments(table[offset:])
    msg = "it has no Unicode character map of format 4 or 12"
    raise ValueError(msg)


def _ranges_of_segments(table: bytes) -> tuple[array[int], array[int], array[int]]:
    """Return the ranges of a character map of format 4, which covers U+0000 to U+FFFF."""
    # Each character is read once: the segments of a valid map are in order.
    segments = struct.unpack_from(">H", table, 6)[0] // 2
    size = 2 * segments
    ends, starts, deltas, offsets = (
        _big_endian("H", table[at : at + size])
        for at in (14, 16 + size, 16 + 2 * size, 16 + 3 * size)
    )
    words = _big_endian("H", table[16 + 3 * size : len(table) & ~1])  # offsets count from here
    ranges: tuple[array[int], array[int], array[int]] = array("I"), array("I"), array("I")
    first = 0  # first character that no segment before has covered
    for segment, (start, end, delta, offset) in enumerate(
        zip(starts, ends, deltas, offsets, strict=True)
    ):
        for code in range(max(start, first), min(end, 0xFFFE) + 1):
            at = segment + offset // 2 + code - start
            glyph = code if not offset else words[at] if at < len(words) else 0
            if glyph and (glyph := (glyph + delta) & 0xFFFF):
                for numbers, number in zip(ranges, (code, code, glyph), strict=True):
                    numbers.append(number)
        first = max(first, end + 1)
    return ranges


def _big_endian(kind: str, data: bytes) -> array[int]:
    numbers: array[int] = array(kind)
    numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers
