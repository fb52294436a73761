"""Characters that cannot be drawn: which are refused, which are left out, and what is reported."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from unicodedata import category, name

import pytest

from cloudburst import media
from cloudburst.media.font_tables import noto_has_glyph
from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import Cue
from cloudburst.renderer import missing_glyphs
from cloudburst.renderer.fonts import find_font, font_tables
from cloudburst.renderer.missing_glyphs import (
    MAX_REPORTED_CHARACTERS,
    characters_of,
    check_characters,
    describe,
    left_out,
)


def characters(text):
    return characters_of([Cue(0, 1, text)])


@pytest.mark.parametrize(
    "text", ["ά", "مرحبا", "a שלום", "สวัสดี", "नमस्ते", "H₂O", "x\u0302", "\U0003fffd", "字\u0323"]
)
def test_letters_digits_and_accents_without_a_glyph_are_refused(text):
    with pytest.raises(InvalidInputError, match=r"characters that no font has: .*expected"):
        check_characters(characters(text), noto_has_glyph)


@pytest.mark.parametrize(
    ("text", "scripts", "families"),
    [
        ("ab نص", "Arabic ", "Noto Sans Arabic"),
        ("ສະບາຍ สวัสดี ລາວ", "Lao, Thai ", "Noto Sans Lao, Noto Sans Thai"),
        ("ά α\u0302 ž", "Greek, Combining, Latin ", "Noto Sans"),
        ("བོད", "Tibetan ", "Noto Serif Tibetan"),
        ("ߒߞߏ", "Nko ", "Noto Sans NKo"),
        ("𝓐 \U0003fffd", "", None),
    ],
)
def test_an_error_names_scripts_and_the_fonts_to_install(text, scripts, families):
    with pytest.raises(InvalidInputError) as caught:
        check_characters(characters(text), noto_has_glyph)
    missing = text.replace("ab ", "").replace(" ", "")
    few = "U+" if len(set(missing)) <= 2 or not scripts else missing[0]
    assert caught.value.found.startswith(f"{scripts}characters that no font has: {few}")
    place = "(Debian package fonts-noto-core) where the run is started, or in the folder"
    start = "" if families is None else f"{families} {place} CLOUDBURST_FONTS, or "
    assert caught.value.expected == f"{start}a font file with them: the option font (--font)"


@pytest.mark.nightly
def test_the_families_to_install_have_their_scripts():
    """With Debian's fonts-noto-core in its usual folder."""
    folder = Path("/usr/share/fonts/truetype/noto")
    if not (folder / "NotoSansVai-Regular.ttf").exists():
        pytest.skip("fonts-noto-core is not installed")
    for word, family in missing_glyphs._FAMILIES.items():
        tables = font_tables(folder / f"{family.replace(' ', '')}-Regular.ttf", 0)
        named = [chr(code) for code in range(0x20000) if name(chr(code), "").startswith(word)]
        letters = [each for each in named if category(each)[0] in "LM"]
        assert sum(map(tables.has_glyph, letters)) > 0.5 * len(letters), family


@pytest.mark.parametrize(
    "text",
    [
        "Häßliche Wörter, “quotes” — don’t… 100 % ½",
        "今天，（一二）《三》「四」……——",
        "カタカナ ひらがな 한국어 か\u3099 は\u309a",
        "<b>tags</b>\ttabs\nlines\x07\x85",
        "a\u200bb\u200dc\u2060d\ufeffe\xadf\u200eg\u202eh\u2066i",  # joiners and directions
        "字\ufe00 字\U000e0100",  # variation selectors
        "cafe\u0301 Tie\u0302\u0301ng Vie\u0323\u0302t",  # accents that NFC composes
        "a\u2009b\u202fc\xa0d\u3000e",  # spaces
        "\u200f\u200e\u2067!\u2069",  # directions without letters
    ],
)
def test_usual_texts_are_complete(text):
    check_characters(characters(text), noto_has_glyph)
    assert left_out(characters(text), noto_has_glyph) == []


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("好 😀👍🏽 <b>😀</b>", "😀👍🏽"),
        ("❤\ufe0f 1\ufe0f\u20e3", "❤"),  # a keycap is a digit
        ("👨\u200d👩", "👨👩"),
        ("\ue000 ฿ ⟨", "\ue000฿⟨"),
    ],
)
def test_symbols_and_emoji_without_a_glyph_are_left_out_and_named_once(text, missing):
    check_characters(characters(text), noto_has_glyph)
    assert left_out(characters(text), noto_has_glyph) == list(missing)


def test_characters_are_described_up_to_a_limit():
    assert describe("😀") == "U+1F600 😀 GRINNING FACE"
    assert describe("\U000105c9").startswith("U+105C9 ")
    text = describe("".join(map(chr, range(0x1F300, 0x1F300 + MAX_REPORTED_CHARACTERS + 2))))
    assert text.endswith(" and 2 more")
    assert text.count("U+") == MAX_REPORTED_CHARACTERS


def test_the_client_knows_the_characters_of_the_font():
    """Fails for another version of the package; noto_sans_cjk.json has to follow it."""
    font = find_font()
    tables = font_tables(font.path, font.face)
    has = [tables.has_glyph(chr(code)) for code in range(0x40000)]
    ends = [code for code in range(1, 0x40000) if has[code] != has[code - 1]]
    lengths = [end - start for start, end in pairwise([0, *ends])]
    stored = Path(media.__file__).with_name("noto_sans_cjk.json").read_text("utf-8")
    assert json.loads(stored) == lengths
    assert [noto_has_glyph(chr(code)) for code in range(0x40000)] == has
