"""Search for the font, and its tables compared with FreeType's view of them."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import noto_cjk_sans_otc
import pytest
from PIL import ImageFont

from cloudburst.errors import ConfigurationError
from cloudburst.media.font_tables import _ranges_of_segments
from cloudburst.media.font_tables import face_index as index_in
from cloudburst.renderer import fonts
from cloudburst.renderer.fonts import check_font_package, find_font, font_tables

FILE = Path(str(noto_cjk_sans_otc.FONT_PATH))
FAMILY = "Noto Sans CJK SC"
ABSENT = "a_package_that_is_not_installed"


@pytest.fixture(scope="module")
def tables():
    font = find_font()
    return font_tables(font.path, font.face)


def face_index(path: Path, family: str) -> int | None:
    with path.open("rb") as file:
        return index_in(file, family)


def test_the_font_is_that_of_the_package():
    font = find_font()
    assert font.path == FILE
    assert font.face == 2


@pytest.mark.parametrize(
    ("family", "face"), [("Noto Sans CJK JP", 0), (FAMILY, 2), ("Noto Sans Mono CJK SC", 7)]
)
def test_the_face_has_the_name(family, face):
    assert face_index(FILE, family) == face
    assert ImageFont.truetype(FILE, 20, face).getname()[0] == family


def test_the_font_of_the_package_has_the_noted_bytes():
    check_font_package()


def test_another_file_in_place_of_the_font_is_an_error_that_names_both_hashes(
    tmp_path, monkeypatch
):
    other = tmp_path / FILE.name
    content = bytearray(FILE.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    font = find_font()
    monkeypatch.setattr(fonts, "find_font", lambda: font._replace(path=other))
    with pytest.raises(ConfigurationError, match=rf"{other} .*expected {fonts.FONT_SHA256}: pip"):
        check_font_package.__wrapped__()


@pytest.mark.parametrize("options", [{"package": ABSENT}, {"family": "Noto Sans"}])
def test_a_font_that_is_not_there_is_an_error_that_says_what_to_install(options):
    with pytest.raises(
        ConfigurationError, match=r"no font Noto .* install cloudburst-sdk\[local\]"
    ):
        find_font(**options)


def test_sizes_are_those_that_freetype_reads(tables):
    units = tables.metrics.units_per_em
    font = ImageFont.truetype(FILE, units, 2)
    assert (tables.metrics.ascender, tables.metrics.descender) == font.getmetrics()


def test_characters_without_a_glyph_are_recognised(tables):
    """FreeType draws the same box for them, and for no other character."""
    font = ImageFont.truetype(FILE, 40, 2, layout_engine=ImageFont.Layout.BASIC)
    box = bytes(font.getmask("\uffff"))
    rng = random.Random(4)
    characters = [
        chr(rng.choice([rng.randint(33, 0xD7FF), rng.randint(0xE000, 0x2FFFF)])) for _ in range(600)
    ]
    missing = {character for character in characters if not tables.glyph(character)}
    assert 100 < len(missing) < 500
    for character in set(characters):
        assert (bytes(font.getmask(character)) == box) == (character in missing), hex(
            ord(character)
        )


def test_both_formats_of_character_maps_give_the_same_glyphs(tables):
    """The font has a map of format 4 beside that of format 12."""
    data = FILE.read_bytes()
    (face,) = struct.unpack_from(">I", data, 12 + 4 * 2)
    (count,) = struct.unpack_from(">H", data, face + 4)
    places = {
        tag: offset
        for tag, _, offset, _ in struct.iter_unpack(
            ">4s3I", data[face + 12 : face + 12 + 16 * count]
        )
    }
    cmap = places[b"cmap"]
    (count,) = struct.unpack_from(">H", data, cmap + 2)
    subtables = [
        data[cmap + offset :]
        for _, _, offset in struct.iter_unpack(">HHI", data[cmap + 4 : cmap + 4 + 8 * count])
    ]
    segments = next(table for table in subtables if table[:2] == b"\0\4")
    size = struct.unpack_from(">H", segments, 2)[0]
    starts, _, glyphs = _ranges_of_segments(segments[: max(size, 1 << 17)])
    assert len(starts) > 20_000
    for code, glyph in zip(starts, glyphs, strict=True):
        assert tables.glyph(chr(code)) == glyph


@pytest.mark.parametrize("size", [0, 3, 11, 12, 50, 200, 4000, 20_000])
def test_a_cut_font_is_refused(tmp_path, size):
    (tmp_path / "cut.ttc").write_bytes(FILE.read_bytes()[:size])
    with pytest.raises(ConfigurationError, match=r"the font .* cannot be read"):
        font_tables(tmp_path / "cut.ttc", 2)
    assert face_index(tmp_path / "cut.ttc", "none of this name") is None


def test_a_face_that_is_not_there_is_refused():
    with pytest.raises(ConfigurationError, match="cannot be read"):
        font_tables(FILE, 10)
