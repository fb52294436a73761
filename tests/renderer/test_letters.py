"""Letters: what is kept of them, and where they are drawn."""

from __future__ import annotations

import pytest
from PIL import Image

from cloudburst.renderer import letters as module
from cloudburst.renderer.fonts import find_font
from cloudburst.renderer.letters import SAMPLES, Letters
from cloudburst.renderer.text_layout import NARROW_QUOTES, TextRun, TextStyle

FONT = find_font()
PLAIN = TextStyle()
HAN = "".join(map(chr, range(0x4E00, 0x4E40)))


def drawn(letters: Letters, text: str, style: TextStyle = PLAIN, *, x: float = 20) -> Image.Image:
    mask = Image.new("L", (400 * SAMPLES, 100 * SAMPLES))
    width = sum(map(letters.advance, text))
    letters.draw(mask, (TextRun(text, style, width),), x, 60, 0)
    return mask


def test_kept_shapes_have_a_limit(monkeypatch):
    monkeypatch.setattr(module, "MAX_GLYPH_BYTES", 50_000)
    letters = Letters(FONT, 75)
    first = drawn(letters, HAN[:5]).tobytes()
    for character in HAN:
        drawn(letters, character)
        assert letters._glyph_bytes == sum(glyph.size for glyph in letters._glyphs.values())
        assert letters._glyph_bytes <= 50_000
    assert 4 < len(letters._glyphs) < len(HAN)
    assert drawn(letters, HAN[:5]).tobytes() == first


def test_the_shapes_used_last_are_kept(monkeypatch):
    monkeypatch.setattr(module, "MAX_GLYPH_BYTES", 50_000)
    letters = Letters(FONT, 75)
    for character in HAN:
        drawn(letters, "字" + character)
    assert "字" in {character for character, _ in letters._glyphs}


def test_a_shape_larger_than_the_limit_is_drawn(monkeypatch):
    monkeypatch.setattr(module, "MAX_GLYPH_BYTES", 10)
    letters = Letters(FONT, 75)
    assert drawn(letters, "字").getbbox() is not None
    assert len(letters._glyphs) == 1


def test_letters_move_by_half_a_pixel():
    letters = Letters(FONT, 75)
    left, *_ = drawn(letters, "l", x=20).getbbox()
    right, *_ = drawn(letters, "l", x=20.5).getbbox()
    assert right - left == 1  # sample


@pytest.mark.parametrize(("mark", "wide"), NARROW_QUOTES.items())
def test_narrow_quotation_marks_lie_within_their_width(mark, wide):
    letters = Letters(FONT, 75)
    left, _, right, _ = drawn(letters, mark).getbbox()
    assert 20 <= left / SAMPLES < right / SAMPLES <= 20 + letters.advance(mark)
    assert letters.advance(mark) < letters.advance(wide) / 2


def test_an_italic_run_is_drawn_whole_wherever_it_begins():
    letters = Letters(FONT, 75)
    style = TextStyle(italic=True)
    ink = sum(drawn(letters, "fly", style, x=100).tobytes())
    assert sum(drawn(letters, "fly", style, x=10).tobytes()) == pytest.approx(ink, rel=0.01)
    assert drawn(letters, "fly", style, x=900).getbbox() is None


def test_spaces_that_the_font_lacks_have_the_width_of_a_space():
    letters = Letters(FONT, 75)
    assert not letters.has_glyph("\u2009")
    assert letters.advance("\u2009") == letters.advance(" ")
    assert drawn(letters, "\u2009 \u3000").getbbox() is None
