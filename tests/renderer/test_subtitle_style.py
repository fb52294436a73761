"""Sizes and margins of subtitles in videos of every shape."""

from __future__ import annotations

import pytest

from cloudburst.models.options import RenderOptions
from cloudburst.renderer.fonts import find_font
from cloudburst.renderer.job import JobOptions
from cloudburst.renderer.letters import Letters
from cloudburst.renderer.subtitle_style import subtitle_style


@pytest.mark.parametrize(
    ("size", "font_size", "line", "side", "bottom"),
    [
        ((1920, 1080), None, 75, 154, 97),
        ((1280, 720), None, 50, 102, 65),
        ((3840, 2160), 20, 150, 307, 194),
        ((1440, 1080), 20, 75, 115, 97),
        ((4096, 240), None, 240 * 20 / 288, 328, 22),
        ((1080, 1920), None, 84, 86, 346),
        ((1080, 1920), 39, 39, 86, 346),
        ((720, 1280), None, 56, 58, 230),
        ((1080, 1080), None, 84, 86, 97),
        ((1080, 1350), None, 84, 86, 161),  # between the shares of 1:1 and 9:16
        ((240, 4096), None, 240 * 84 / 1080, 19, 737),  # letters fit the width
    ],
)
def test_line_height_and_margins(
    size: tuple[int, int], font_size: int | None, line: float, side: int, bottom: int
) -> None:
    options = JobOptions.from_options(RenderOptions(font_size=font_size))
    style = subtitle_style(options, *size)
    assert style.size == pytest.approx(line)
    assert (style.side, style.bottom) == (side, bottom)


@pytest.mark.parametrize("language", ["chinese", "english"])
@pytest.mark.parametrize(("caption", "least"), [("classic", 18), ("karaoke", 18), ("pop", 28)])
@pytest.mark.parametrize("size", [(1080, 1920), (1080, 1080)])
def test_letters_are_large_enough_on_a_phone_in_each_language(size, caption, least, language):
    options = RenderOptions(caption=caption, language=language)
    em = Letters([find_font()], subtitle_style(JobOptions.from_options(options), *size).size).em
    assert least <= em * 360 / 1080 <= 1.2 * least


@pytest.mark.parametrize(
    ("size", "side", "bottom"),
    [((1920, 1080), 154, 97), ((1080, 1080), 86, 97), ((1080, 1920), 130, 480)],
)
def test_a_few_words_in_portrait_keep_off_the_text_and_buttons_of_applications(size, side, bottom):
    style = subtitle_style(JobOptions(words_at_once=3), *size)
    assert (style.side, style.bottom) == (side, bottom)
