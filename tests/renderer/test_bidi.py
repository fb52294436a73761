"""Order of text in two directions, compared with that of another program."""

from __future__ import annotations

import random

import pytest
from bidi import get_display

from cloudburst.renderer.bidi import begins_right, directions


def shown(text: str, *, rtl: bool) -> str:
    parts = directions(text, rtl=rtl)
    return "".join(text[first:end][:: -1 if back else 1] for first, end, back in parts)


@pytest.mark.parametrize(
    "characters",
    [
        "abc אבג عرب   123",
        "aא ع 12 ١٢ ,.:/-+%$",  # numbers and what belongs to them
        "ab אב ع 1 ()[]«»",
        "אב ab 12 ,.()!? \u200f\u200e",  # marks that are not visible
    ],
)
@pytest.mark.parametrize("rtl", [False, True])
def test_text_has_the_order_that_unicode_bidi_gives_it(characters, rtl):
    rng = random.Random(characters)
    for _ in range(500):
        text = "".join(rng.choices(characters, k=rng.randrange(1, 30)))
        assert shown(text, rtl=rtl) == get_display(text, base_dir="LR"[rtl]), ascii(text)


@pytest.mark.parametrize(
    ("text", "rtl"),
    [
        ("", False),
        ("abc אבג", False),
        ("אבג abc", True),
        ("12 «مرحبا» abc", True),
        ("\u200f12 abc", True),
        ("\u202babc אבג\u202c", True),  # as in subtitle files of Hebrew films
    ],
)
def test_the_first_letter_decides_where_a_paragraph_begins(text, rtl):
    assert begins_right(text) is rtl


def test_a_long_line_takes_little_time():
    text = "(א[" * 300 + "])" * 300
    assert len(shown(text, rtl=True)) == len(text)
