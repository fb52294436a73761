"""Letters: what is kept of them, and where they are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from PIL import Image

from cloudburst.renderer import letters as module
from cloudburst.renderer.fonts import Font, find_font
from cloudburst.renderer.letters import SAMPLES, Letters
from cloudburst.renderer.text_layout import (
    NARROW_QUOTES,
    TextRun,
    TextStyle,
    layout,
    line_width,
)
from support.scripts import font_path

FONT = find_font()
PLAIN = TextStyle()
HAN = "".join(map(chr, range(0x4E00, 0x4E40)))


def width(letters: Letters, text: str) -> float:
    return sum(glyph.advance for glyph in letters.shape(text))


def drawn(letters: Letters, text: str, style: TextStyle = PLAIN, *, x: float = 20) -> Image.Image:
    mask = Image.new("L", (400 * SAMPLES, 100 * SAMPLES))
    letters.draw(mask, (TextRun(letters.shape(text), style, width(letters, text)),), x, 60, 0)
    return mask


def test_kept_shapes_have_a_limit(monkeypatch):
    monkeypatch.setattr(module, "MAX_GLYPH_BYTES", 50_000)
    letters = Letters([FONT], 75)
    first = drawn(letters, HAN[:5]).tobytes()
    for character in HAN:
        drawn(letters, character)
        assert letters._shape_bytes == sum(shape.size for shape in letters._shapes.values())
        assert letters._shape_bytes <= 50_000
    assert 4 < len(letters._shapes) < len(HAN)
    assert drawn(letters, HAN[:5]).tobytes() == first


def test_the_shapes_used_last_are_kept(monkeypatch):
    monkeypatch.setattr(module, "MAX_GLYPH_BYTES", 50_000)
    letters = Letters([FONT], 75)
    for character in HAN:
        drawn(letters, "字" + character)
    (glyph,) = letters.shape("字")
    assert glyph.number in {number for _, number, _ in letters._shapes}


def test_a_shape_larger_than_the_limit_is_drawn(monkeypatch):
    monkeypatch.setattr(module, "MAX_GLYPH_BYTES", 10)
    letters = Letters([FONT], 75)
    assert drawn(letters, "字").getbbox() is not None
    assert len(letters._shapes) == 1


def test_letters_move_by_half_a_pixel():
    letters = Letters([FONT], 75)
    left, *_ = drawn(letters, "l", x=20).getbbox()
    right, *_ = drawn(letters, "l", x=20.5).getbbox()
    assert right - left == 1  # sample


@pytest.mark.parametrize(("mark", "wide"), NARROW_QUOTES.items())
def test_narrow_quotation_marks_lie_within_their_width(mark, wide):
    letters = Letters([FONT], 75)
    left, _, right, _ = drawn(letters, mark).getbbox()
    assert 20 <= left / SAMPLES < right / SAMPLES <= 20 + width(letters, mark)
    assert width(letters, mark) < width(letters, wide) / 2


def test_an_italic_run_is_drawn_whole_wherever_it_begins():
    letters = Letters([FONT], 75)
    style = TextStyle(italic=True)
    ink = sum(drawn(letters, "fly", style, x=100).tobytes())
    assert sum(drawn(letters, "fly", style, x=10).tobytes()) == pytest.approx(ink, rel=0.01)
    assert drawn(letters, "fly", style, x=900).getbbox() is None


def test_spaces_that_the_font_lacks_have_a_width_and_draw_nothing():
    letters = Letters([FONT], 75)
    assert not letters.has_glyph("\u2009")
    assert 0 < width(letters, "\u2009") < width(letters, " ")
    assert drawn(letters, "\u2009 \u3000").getbbox() is None


def test_usual_text_does_not_read_the_font_file_into_memory():
    """Glyphs that have no character of their own need a copy of the file, of 19 MB."""
    letters = Letters([FONT], 75)
    drawn(letters, "office fly fjord AVATAR “It’s” 1/2 é\u200b\u200d\u2009 字，。（가 나が")
    assert not any("by_number" in vars(face) for face in letters._faces)


def with_script(language: str, size: float = 75) -> Letters:
    path = font_path(language)
    assert path is not None
    return Letters([FONT, Font(path, 0, 0)], size)


def places(letters: Letters, text: str, *, rtl: bool = False) -> list[int]:
    return [glyph.place for glyph in letters.shape(text, rtl=rtl)]


def test_pairs_of_letters_are_kerned():
    letters = Letters([FONT], 75)
    assert width(letters, "AV") < width(letters, "A") + width(letters, "V") - 0.5


def test_a_character_is_drawn_with_the_first_font_that_has_it():
    letters = with_script("hebrew")
    assert [glyph.face for glyph in letters.shape("a של b")] == [0, 0, 1, 1, 1, 0]
    for character in "aל":
        assert letters.has_glyph(character)
    assert not letters.has_glyph("ข")


def test_a_mark_is_drawn_with_the_font_of_its_letter():
    letters = with_script("hebrew")
    assert {glyph.face for glyph in letters.shape("שָׁלוֹם")} == {1}


def test_arabic_letters_join():
    letters = with_script("arabic")
    joined, alone = letters.shape("جميع"), [*map(letters.shape, "جميع")]
    assert len(joined) == 4
    assert not {glyph.number for glyph in joined} & {one[0].number for one in alone}
    # A joiner that is not visible separates letters.
    assert {g.number for g in letters.shape("ج\u200cم")} == {*map(number_of(letters), "جم")} | {
        glyph.number for glyph in letters.shape("\u200c")
    }


def number_of(letters):
    return lambda character: letters.shape(character)[0].number


def test_a_style_within_an_arabic_word_keeps_its_joins():
    letters = with_script("arabic")
    (plain,) = layout("جميع الناس", bold=False, room=1000, letters=letters)
    (parts,) = layout("جم<font color='red'>يع</font> الناس", bold=False, room=1000, letters=letters)
    assert (len(plain), len(parts)) == (1, 3)
    joined = [glyph.number for run in parts for glyph in run.glyphs]
    assert joined == [glyph.number for glyph in plain[0].glyphs]
    assert parts[1].style.colour == (255, 0, 0)
    assert line_width(parts) == pytest.approx(line_width(plain))


def test_the_marks_of_a_word_that_is_broken_stay_with_their_letters():
    letters = with_script("hindi")
    text = "स्वतन्त्रतास्वतन्त्रता"
    lines = layout(text, bold=False, room=60, letters=letters)
    assert len(lines) > 3
    whole = {glyph.number for glyph in letters.shape(text)}
    assert {glyph.number for line in lines for run in line for glyph in run.glyphs} <= whole


def test_a_mark_that_the_font_of_its_letter_lacks_leaves_no_box():
    letters = with_script("hebrew")
    assert letters.has_glyph("\u05b8")
    assert places(letters, "a\u05b8") == [0]


def test_a_font_with_higher_lines_is_drawn_whole():
    tall = Font(cast("Path", font_path("arabic")), 0, 0)
    alone, both = Letters([FONT], 75), Letters([FONT, tall], 75)
    assert both.overhang(1) > alone.overhang(1) + 10


def test_letters_of_an_indic_syllable_change_their_order():
    letters = with_script("hindi")
    assert letters.shape("धिक")[1].character == "ध"  # the vowel is written after it


@pytest.mark.parametrize(
    ("text", "rtl", "expected"),
    [
        ("abc", False, "abc"),
        ("אבד", True, "דבא"),
        ("אבד 12 abc", True, "abc 12 דבא"),
        ("say אבד, ok", False, "say דבא, ok"),
        ("דבא (abc) די", True, "יד )abc( אבד"),  # the brackets are mirrored
        ("abc (אב) ד", False, "abc (בא) ד"),
        ("אב!", True, "!בא"),
        ("אב 1,234.5", True, "1,234.5 בא"),
    ],
)
def test_text_in_two_directions_is_in_the_order_of_the_unicode_standard(text, rtl, expected):
    letters = with_script("hebrew")
    shown = "".join(text[place] for place in places(letters, text, rtl=rtl))
    assert shown == expected


def test_brackets_in_hebrew_are_mirrored():
    letters = with_script("hebrew")
    numbers = [glyph.number for glyph in letters.shape("(א)", rtl=True)]
    opening, closing = map(number_of(letters), "()")
    assert (numbers[0], numbers[-1]) == (opening, closing)
