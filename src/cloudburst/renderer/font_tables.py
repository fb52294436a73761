"""Tables of an OpenType or TrueType font: names, sizes, characters and widths of glyphs.

Text is laid out with these numbers and not with those of FreeType, whose widths are rounded to
pixels, depend on its version and on hinting, and do not reveal whether a character has a glyph.
The format is that of the OpenType specification 1.9.1,
https://learn.microsoft.com/typography/opentype/spec/.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cloudburst.errors import ConfigurationError

_COLLECTION = b"ttcf"
_MAX_FACES = 64
"""Largest number of faces in a font file. The collections of Noto CJK have 10."""
_MAX_TABLE_BYTES = 32 * 1024 * 1024
"""Largest size of a table that is read. The character map of Noto Sans CJK has 0.3 MB."""


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

    Raises:
        ConfigurationError: the file cannot be read, or is not a font with a Unicode character map.
    """

    def __init__(self, path: Path, index: int = 0) -> None:
        try:
            with path.open("rb") as file:
                directory = _directory(file, _face_offsets(file)[index])
                head, hhea = directory.read("head"), directory.read("hhea")
                self.metrics = _metrics(head, hhea, directory.read("OS/2"), directory.read("post"))
                self._advances = _advances(hhea, directory.read("hmtx"))
                self._starts, self._ends, self._glyphs = _character_map(directory.read("cmap"))
        except (OSError, struct.error, ValueError, LookupError) as error:
            msg = f"the font {path} cannot be read: {error}"
            raise ConfigurationError(msg) from error

    def glyph(self, character: str) -> int:
        """Return the number of the glyph of a character, 0 if the font has none."""
        code = ord(character)
        at = bisect_right(self._starts, code) - 1
        if at < 0 or code > self._ends[at]:
            return 0
        return self._glyphs[at] + code - self._starts[at]

    def advance(self, character: str) -> float:
        """Return the distance from a character to the next one, in em."""
        glyph = min(self.glyph(character), len(self._advances) - 1)  # the last width is repeated
        return self._advances[glyph] / self.metrics.units_per_em


def face_index(path: Path, family: str) -> int | None:
    """Return the index of the face with this family name in a font file.

    Return ``None`` if no face has this name, or the file is not a font.
    """
    try:
        with path.open("rb") as file:
            for index, offset in enumerate(_face_offsets(file)):
                if family in _family_names(_directory(file, offset).read("name")):
                    return index
    except (OSError, struct.error, ValueError, LookupError):
        return None
    return None


class _Directory(NamedTuple):
    """Places of the tables of one face."""

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


def _face_offsets(file: BinaryIO) -> list[int]:
    file.seek(0)
    head = file.read(12)
    if head[:4] != _COLLECTION:
        return [0]
    count = min(struct.unpack(">I", head[8:])[0], _MAX_FACES)
    return list(struct.unpack(f">{count}I", file.read(4 * count)))


def _directory(file: BinaryIO, offset: int) -> _Directory:
    file.seek(offset + 4)
    (count,) = struct.unpack(">H6x", file.read(8))
    places = struct.iter_unpack(">4s4xII", file.read(16 * count))
    return _Directory(file, {tag.decode("latin-1"): (at, size) for tag, at, size in places})


def _family_names(table: bytes) -> Iterator[str]:
    """Yield the family names (1: family, 16: typographic family) of a ``name`` table."""
    _, count, texts = struct.unpack_from(">3H", table)
    for platform, _, _, name, size, at in struct.iter_unpack(">6H", table[6 : 6 + 12 * count]):
        if name in {1, 16} and platform in {0, 3}:  # 0: Unicode, 3: Windows
            yield table[texts + at : texts + at + size].decode("utf-16-be", "replace")


def _metrics(head: bytes, hhea: bytes, os2: bytes, post: bytes) -> FontMetrics:
    (units,) = struct.unpack_from(">H", head, 18)
    # libass takes the sizes for Windows, from which the present look of subtitles comes.
    ascender, descender = struct.unpack_from(">2H", os2, 74) if len(os2) >= 78 else (0, 0)
    if ascender + descender == 0:
        ascender, below = struct.unpack_from(">2h", hhea, 4)
        descender = -below
    underline, thickness = struct.unpack_from(">2h", post, 8)
    if not (units > 0 and 0 < ascender + descender <= 8 * units):
        msg = f"its sizes are {ascender}, {descender} and {units}"
        raise ValueError(msg)
    strike_height, strike = struct.unpack_from(">2h", os2, 26) if len(os2) >= 30 else (0, 0)
    if strike <= 0:
        strike_height, strike = thickness, ascender // 3  # through the small letters
    return FontMetrics(
        units, ascender, descender, -underline, max(1, thickness), strike, max(1, strike_height)
    )


def _advances(hhea: bytes, hmtx: bytes) -> array[int]:
    (count,) = struct.unpack_from(">H", hhea, 34)
    pairs = _big_endian("H", hmtx[: 4 * count])  # width and left bearing of each glyph
    if not pairs:
        msg = "it has no widths"
        raise ValueError(msg)
    return pairs[::2]


def _character_map(table: bytes) -> tuple[array[int], array[int], array[int]]:
    """Return the first characters, last characters and first glyphs of ranges of characters.

    The ranges are sorted. Within a range, glyph numbers rise with characters.
    """
    (count,) = struct.unpack_from(">H", table, 2)
    subtables: dict[int, int] = {}  # offset of a Unicode subtable of each format
    for platform, encoding, offset in struct.iter_unpack(">HHI", table[4 : 4 + 8 * count]):
        if platform == 0 or (platform == 3 and encoding in {1, 10}):
            subtables[struct.unpack_from(">H", table, offset)[0]] = offset
    if (offset := subtables.get(12, -1)) >= 0:
        (groups,) = struct.unpack_from(">I", table, offset + 12)
        content = table[offset + 16 : offset + 16 + 12 * groups]
        numbers = _big_endian("I", content[: len(content) // 12 * 12])
        return numbers[::3], numbers[1::3], numbers[2::3]
    if (offset := subtables.get(4, -1)) >= 0:
        return _ranges_of_segments(table[offset:])
    msg = "it has no Unicode character map of format 4 or 12"
    raise ValueError(msg)


def _ranges_of_segments(table: bytes) -> tuple[array[int], array[int], array[int]]:
    """Return the ranges of a character map of format 4, which covers U+0000 to U+FFFF."""
    segments = struct.unpack_from(">H", table, 6)[0] // 2
    size = 2 * segments
    ends, starts, deltas, offsets = (
        _big_endian("H", table[at : at + size])
        for at in (14, 16 + size, 16 + 2 * size, 16 + 3 * size)
    )
    words = _big_endian("H", table[16 + 3 * size : len(table) & ~1])  # offsets count from here
    ranges: tuple[array[int], array[int], array[int]] = array("I"), array("I"), array("I")
    for segment, (start, end, delta, offset) in enumerate(
        zip(starts, ends, deltas, offsets, strict=True)
    ):
        for code in range(start, min(end, 0xFFFE) + 1):
            glyph = words[segment + offset // 2 + code - start] if offset else code
            if glyph and (glyph := (glyph + delta) & 0xFFFF):
                for numbers, number in zip(ranges, (code, code, glyph), strict=True):
                    numbers.append(number)
    return ranges


def _big_endian(kind: str, data: bytes) -> array[int]:
    numbers: array[int] = array(kind)
    numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers
