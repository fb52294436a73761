"""Look of the subtitles of a video: sizes, colours and margins in pixels. Pure functions."""

from __future__ import annotations

from typing import NamedTuple

from cloudburst.renderer.colours import Yuv, bt709
from cloudburst.renderer.job import JobOptions

TEXT_COLOUR: Yuv = (235, 128, 128)
"""White, the colour of the letters."""
BOX_COLOUR: Yuv = (16, 128, 128)
"""Black, the colour of the box."""

_OUTLINE_SHARE = 0.06
_BOX_PADDING_SHARES = (0.32, 0.1)
_SIDE_SHARE = 0.08
_BOTTOM_SHARE, _PORTRAIT_BOTTOM_SHARE = 0.09, 0.18
"""Outline and padding as shares of the line height, margins as shares of width and height. The
bottom margin is larger in portrait. They are close to the sizes of the public image;
``docs/migration.md`` lists the differences."""
_PORTRAIT_RATIO = 1920 / 1080
"""Height divided by width of a video with the whole `_PORTRAIT_BOTTOM_SHARE`. Applications cover
the bottom of such videos with their own text. Between it and a square, the share is between the
two."""


class SubtitleStyle(NamedTuple):
    """Style of the subtitles of one video; sizes are in pixels of the video."""

    size: float
    """Height of a line: ascender plus descender of the font."""
    bold: bool
    """True if text without tags is bold."""
    narrow_quotes: bool
    """True if the quotation marks “”‘’ are as narrow as Latin letters."""
    box_opacity: int
    """Opacity of the box behind the text, from 0 to 255; 0: letters have an outline instead."""
    outline: float
    """Width of the outline around the letters; 0 if there is a box."""
    outline_colour: Yuv
    outline_opacity: int
    """Opacity of the outline, from 0 to 255."""
    padding: tuple[float, float]
    """Horizontal and vertical distance from the text to the edges of its box; 0 without a box."""
    side: int
    """Left and right margin."""
    bottom: int
    """Margin at the bottom, and at the top for cues at the top."""


def subtitle_style(options: JobOptions, width: int, height: int) -> SubtitleStyle:
    """Return the style of subtitles for a video of this size.

    A fully transparent box is replaced by an outline around the letters: otherwise white letters
    could not be read on a bright picture. The font size in the options has the unit of the public
    image: 1/288 of the height of a landscape video, and 1/1080 of the width of a portrait or square
    video, which is 1/1920 of the height at 9:16.
    """
    upright = height >= width
    unit = width / 1080 if upright else height / 288
    size = (options.font_size or (60 if upright else 20)) * unit
    opacity = 255 - round(options.background_opacity * 255) if options.background_box else 0
    across, down = _BOX_PADDING_SHARES
    alpha, blue, green, red = bytes.fromhex(options.outline_color[2:])
    return SubtitleStyle(
        size=size,
        bold=options.language == "chinese",
        narrow_quotes=options.language != "chinese",
        box_opacity=opacity,
        outline=0.0 if opacity else size * _OUTLINE_SHARE,
        outline_colour=bt709(red, green, blue),
        outline_opacity=255 - alpha,
        padding=(size * across, size * down) if opacity else (0.0, 0.0),
        side=round(width * _SIDE_SHARE),
        bottom=round(height * _bottom_share(height / width)),
    )


def _bottom_share(ratio: float) -> float:
    """Return the bottom margin relative to the height of a video, by its height/width."""
    part = min(1.0, max(0.0, (ratio - 1) / (_PORTRAIT_RATIO - 1)))
    return _BOTTOM_SHARE + (_PORTRAIT_BOTTOM_SHARE - _BOTTOM_SHARE) * part
