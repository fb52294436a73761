"""Characters that the font lacks: what is drawn, and what is reported."""

from __future__ import annotations

import pytest

from cloudburst.renderer.fonts import find_font, font_tables
from cloudburst.renderer.missing_glyphs import (
    MAX_REPORTED_CHARACTERS,
    is_shown,
    missing_characters,
)


@pytest.fixture(scope="module")
def has_glyph():
    font = find_font([])
    tables = font_tables(font.path, font.face)
    return lambda character: tables.glyph(character) != 0


def test_missing_characters_are_named_once_in_order(has_glyph):
    cues = ["好 ก <i>😀</i>", "😀 ก ח 字"]
    assert missing_characters(cues, has_glyph) == (
        "U+0E01 ก THAI CHARACTER KO KAI",
        "U+1F600 😀 GRINNING FACE",
        "U+05D7 ח HEBREW LETTER HET",
    )


@pytest.mark.parametrize(
    "text",
    [
        "Häßliche Wörter, “quotes” — don’t… 100 % ½",
        "今天，（一二）《三》「四」……——",
        "カタカナ ひらがな 한국어",
        "<b>tags</b>\ttabs\nlines\x07\x85",
        "a\u200bb\u200dc\u2060d\ufeffe\xadf\u200eg\u202eh\u2066i",  # joiners and directions
        "字\ufe00 字\U000e0100 ❤\ufe0f",  # variation selectors
        "cafe\u0301 x\u0302",  # combining marks, one of which the font lacks
        "a\u2009b\u202fc\xa0d\u3000e",  # spaces
    ],
)
def test_nothing_is_missing(has_glyph, text):
    found = missing_characters([text], has_glyph)
    assert [one for one in found if "❤" not in one] == []


def test_the_report_is_bounded(has_glyph):
    text = "".join(map(chr, range(0x1F300, 0x1F600)))
    found = missing_characters([text], has_glyph)
    assert len(found) == MAX_REPORTED_CHARACTERS


def test_a_character_without_a_name_is_reported():
    (found,) = missing_characters(["\U000105c9"], lambda _: False)
    assert found.startswith("U+105C9 ")


@pytest.mark.parametrize(
    ("characters", "shown"),
    [
        ("a字🀄️"[:2], True),
        ("ก\u05d7٣\U0003fffd", True),  # letters and digits: a box
        ("😀👍🏽🇨\ufffe\ue000", False),  # symbols and private characters: nothing
        ("\u200d\ufe0f\U000e0100\u3164", False),
        ("\u0302\u20e3", False),  # marks
        (" \u2009\u3000", True),
    ],
)
def test_letters_without_a_glyph_are_boxes_and_symbols_are_left_out(has_glyph, characters, shown):
    for character in characters:
        assert is_shown(character, has_glyph) == shown, hex(ord(character))
