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
from support.scripts import EMOJI, FONTS

SIZE = 640, 360
FILE = FONTS / "NotoColorEmoji.ttf"


def chain(file: Path = FILE) -> list[Font]:
    return [find_font(), Font(file, 0, 0, is_input=True)]


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
