"""Widths of sentences in 17 languages, compared with those in Chromium with the same fonts."""

from __future__ import annotations

import json

import pytest

from support.chromium_text import WIDTHS, measured, width
from support.scripts import SENTENCES

STORED = json.loads(WIDTHS.read_text("utf-8"))


@pytest.mark.parametrize("language", SENTENCES)
def test_a_sentence_has_the_width_that_it_has_in_chromium(language):
    assert width(language) == pytest.approx(STORED[language], rel=0.01)


@pytest.mark.nightly
@pytest.mark.real
@pytest.mark.needs("chromium")
def test_chromium_gives_the_stored_widths():
    assert measured() == pytest.approx(STORED, rel=0.002)
