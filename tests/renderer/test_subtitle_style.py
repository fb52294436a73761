"""Sizes and margins of subtitles in videos of every shape."""

from __future__ import annotations

import pytest

from cloudburst.models.options import RenderOptions
from cloudburst.renderer.job import JobOptions
from cloudburst.renderer.subtitle_style import subtitle_style


@pytest.mark.parametrize(
    ("size", "font_size", "line", "side", "bottom"),
    [
        ((1920, 1080), None, 75, 154, 97),
        ((1280, 720), None, 50, 102, 65),
        ((3840, 2160), 20, 150, 307, 194),
        ((1440, 1080), 20, 75, 115, 97),
        ((4096, 240), None, 240 * 20 / 288, 328, 22),
        ((1080, 1920), None, 60, 86, 346),
        ((1080, 1920), 39, 39, 86, 346),
        ((720, 1280), None, 40, 58, 230),
        ((1080, 1080), None, 60, 86, 97),
        ((1080, 1350), None, 60, 86, 161),  # between the shares of 1:1 and 9:16
        ((240, 4096), None, 240 * 60 / 1080, 19, 737),  # letters fit the width
    ],
)
def test_line_height_and_margins(
    size: tuple[int, int], font_size: int | None, line: float, side: int, bottom: int
) -> None:
    options = JobOptions.from_options(RenderOptions(font_size=font_size))
    style = subtitle_style(options, *size)
    assert style.size == pytest.approx(line)
    assert (style.side, style.bottom) == (side, bottom)


@pytest.mark.parametrize(
    ("size", "side", "bottom"),
    [((1920, 1080), 154, 97), ((1080, 1080), 86, 97), ((1080, 1920), 130, 480)],
)
def test_a_few_words_in_portrait_keep_off_the_text_and_buttons_of_applications(size, side, bottom):
    style = subtitle_style(JobOptions(words_at_once=3), *size)
    assert (style.side, style.bottom) == (side, bottom)
