"""Emoji as pictures of a font: in their place, in colour, with all looks, and broken ones."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from cloudburst.media.subtitles import Cue
from cloudburst.media.subtitles.cues import Word
from cloudburst.renderer.fonts import Font, find_font
from cloudburst.renderer.frames import Frame
from cloudburst.renderer.job import InputFaultError, JobOptions
from cloudburst.renderer.letters import Letters
from cloudburst.renderer.planes import Planes, to_picture, uniform
from cloudburst.renderer.subtitle_painter import SubtitlePainter
from cloudburst.renderer.subtitle_style import subtitle_style
from support.font_files import font_of, latin_font, tables_of
from support.scripts import EMOJI, FONTS

SIZE = 640, 360
FILE = FONTS / "NotoColorEmoji.ttf"
UNITS = 1000  # about the height of a letter


def chain(file: Path = FILE) -> list[Font]:
    return [find_font(), Font(file, 0, 0, is_input=True)]


def colour_font(folder: Path, *, gradient: bool) -> Path:
    """Write Pillow's font with an A that is an O in red, or from red to green, before a blue I."""
    tables = dict(tables_of(latin_font()))
    shaper = Letters([Font(data_file(folder, latin_font()), 0, 0)], 20)
    of = {each: shaper.shape(each)[0].number for each in "AOI"}
    colours = ((0, 0, 255, 255), (0, 255, 0, 255), (255, 0, 0, 255))  # blue, green, red, alpha
    tables["CPAL"] = struct.pack(">4HIH", 0, 3, 1, 3, 14, 0) + b"".join(map(bytes, colours))
    layers = struct.pack(">3H", of["A"], 0, 2) + struct.pack(">4H", of["O"], 0, of["I"], 2)
    tables["COLR"] = struct.pack(">2H2IH", 0, 1, 14, 20, 2) + layers
    if gradient:
        line = struct.pack(">BH", 0, 2) + struct.pack(">hHh", 0, 0, 0x4000)
        line += struct.pack(">hHh", 0x4000, 1, 0x4000)
        linear = bytes((4, 0, 0, 16)) + struct.pack(">6h", 0, 0, 0, UNITS, UNITS, 0) + line
        glyph = bytes((10, 0, 0, 6)) + struct.pack(">H", of["O"]) + linear
        solid = (
            bytes((10, 0, 0, 6)) + struct.pack(">H", of["I"]) + struct.pack(">BHh", 2, 2, 0x4000)
        )
        paints = struct.pack(">3I", 2, 12, 12 + len(glyph)) + glyph + solid
        base = struct.pack(">IHI", 1, of["A"], 10) + struct.pack(">BBI", 1, 2, 0)
        head = struct.pack(">2H2IH5I", 1, 0, 0, 0, 0, 34, 34 + len(base), 0, 0, 0)
        tables["COLR"] = head + base + paints
    return data_file(folder, font_of(dict(sorted(tables.items()))))


def data_file(folder: Path, data: bytes) -> Path:
    (path := folder / "font.ttf").write_bytes(data)
    return path


def painter(text: str, words=(), file: Path = FILE, **options) -> SubtitlePainter:
    style = subtitle_style(
        JobOptions(**{"font_size": 40, "background_box": False} | options), *SIZE
    )
    return SubtitlePainter([Cue(0, 1000, text, words=words)], style, chain(file), *SIZE)


def picture(layers) -> Image.Image:
    frame = Frame(*SIZE)
    frame.fill(uniform(*SIZE, (126, 128, 128)))
    for layer in layers:
        frame.blend(layer)
    return to_picture(frame.read())


def yellow(drawn: Image.Image) -> int:
    """Return the number of pixels in the colour of faces."""
    data = drawn.tobytes()
    pixels = zip(data[::3], data[1::3], data[2::3], strict=True)
    return sum(red > 180 and green > 120 and blue < 110 for red, green, blue in pixels)


def test_each_sequence_is_one_picture():
    letters = Letters(chain(), 75)
    glyphs = letters.shape(EMOJI)
    assert len(glyphs) == 7
    assert {glyph.face for glyph in glyphs} == {1}


def test_letters_digits_and_spaces_are_those_of_other_fonts():
    faces = [glyph.face for glyph in Letters(chain(), 75).shape("a 1 😀 #*")]
    assert faces == [0, 0, 0, 0, 1, 0, 0, 0]


def test_a_picture_has_its_colours_and_its_place():
    (*_, layer) = painter("😀").paint([0])
    assert isinstance(layer.colour, Planes)
    assert 0.8 < layer.width / layer.height < 1.2
    assert layer.x + layer.width / 2 == pytest.approx(SIZE[0] / 2, abs=3)
    assert yellow(picture([layer])) > 300
    alone = picture(painter("a 😀").paint([0]))
    assert yellow(alone) == pytest.approx(yellow(picture([layer])), rel=0.1)


@pytest.mark.parametrize("gradient", [False, True], ids=["layers", "gradient"])
def test_a_glyph_with_colours_has_them_and_others_have_that_of_the_text(tmp_path, gradient):
    file = colour_font(tmp_path, gradient=gradient)
    style = subtitle_style(JobOptions(font_size=100, background_box=False), *SIZE)
    look = SubtitlePainter([Cue(0, 9, "AB")], style, [Font(file, 0, 0, is_input=True)], *SIZE)
    look.check_font()
    drawn = picture(look.paint([0]))
    colours = {colour for _, colour in drawn.getcolors(1 << 20)}

    def has(red, green, blue):
        return any(
            max(abs(one - other) for one, other in zip(found, (red, green, blue), strict=True)) < 40
            for found in colours
        )

    assert has(0, 0, 255)
    assert has(255, 0, 0)
    assert has(255, 255, 255)
    assert has(128, 128, 0) == gradient


def test_text_without_emoji_has_no_layer_with_a_picture():
    assert not any(isinstance(layer.colour, Planes) for layer in painter("abc 字").paint([0]))


@pytest.mark.parametrize(
    "options",
    [
        {"background_box": True},
        {"shadow": 0.1, "outline_width": 0.1},
        {"text_color": "#ffffff40"},
        {"bold": True},
    ],
)
def test_looks_of_letters_leave_pictures_as_they_are(options):
    plain = yellow(picture(painter("😀").paint([0])))
    changed = yellow(picture(painter("<i><u>😀</u></i>", **options).paint([0])))
    assert changed == pytest.approx(plain, rel=0.05)
    assert plain > 300


def test_pictures_grow_with_their_word_and_their_cue():
    words = (Word(0, 500, 0, 1), Word(500, 1000, 1, 2))
    one = painter("😀😀", words, highlight="grow")
    normal = yellow(picture(one.paint([0])))
    assert yellow(picture(one.paint([0], [0]))) > 1.05 * normal
    assert 0.2 < yellow(picture(one.paint([0], [-1], [0.5]))) / normal < 0.3


@pytest.mark.parametrize("at", [8, 16, 24, 60, 400])
def test_a_broken_picture_is_a_fault(tmp_path, at):
    data = bytearray(FILE.read_bytes())
    start = 0
    while (start := data.find(b"\x89PNG", start + 1)) > 0:
        struct.pack_into(">4s", data, start + at, b"\xff" * 4)
    file = tmp_path / "broken.ttf"
    file.write_bytes(data)
    broken = painter("😀👍🏽", file=file)
    with pytest.raises(InputFaultError):
        broken.check_font()
    with pytest.raises(InputFaultError):
        broken.paint([0])


def test_an_empty_chunk_after_a_picture_is_a_fault(tmp_path):
    end, empty = (kind + struct.pack(">I", zlib.crc32(kind)) for kind in (b"IEND", b"iCCP"))
    file = tmp_path / "broken.ttf"
    file.write_bytes(FILE.read_bytes().replace(end, empty))
    with pytest.raises(InputFaultError):
        painter("😀", file=file).check_font()


def test_a_huge_picture_is_a_fault(tmp_path):
    data = bytearray(FILE.read_bytes())
    start = 0
    while (start := data.find(b"IHDR", start + 1)) > 0:
        struct.pack_into(">2I", data, start + 4, 60_000, 60_000)
        struct.pack_into(">I", data, start + 17, zlib.crc32(data[start : start + 17]))
    file = tmp_path / "huge.ttf"
    file.write_bytes(data)
    with pytest.raises(InputFaultError, match="60000x60000"):
        painter("😀", file=file).check_font()
