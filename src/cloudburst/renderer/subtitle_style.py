"""Look of the subtitles of a video: sizes, colours and margins in pixels. Pure functions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from unicodedata import east_asian_width

from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import Cue
from cloudburst.media.subtitles.cues import timestamp
from cloudburst.renderer.planes import Rgba, Yuv, bt709
from cloudburst.renderer.text_layout import TAG

if TYPE_CHECKING:
    from cloudburst.models.options import RenderOptions
    from cloudburst.models.options.subtitles import HighlightMode
    from cloudburst.renderer.job import JobOptions

    _Options: TypeAlias = JobOptions | RenderOptions

# Names of positions, in the order of a numeric keypad.
_POSITIONS = (
    *("bottom-left", "bottom", "bottom-right"),
    *("left", "center", "right"),
    *("top-left", "top", "top-right"),
)
# Outline as a share of the line height, margins as shares of width and height. They are close to
# the sizes of the public image; ``docs/reference/old-calls.md`` lists the differences.
_OUTLINE_SHARE = 0.06
_MARGINS = 0.08, 0.09
# Margins in portrait, of sentences and of a few words at a time. Applications cover the bottom of
# such videos with their own text, and the right side with buttons.
_PORTRAIT_MARGINS, _PORTRAIT_MARGINS_OF_WORDS = (0.08, 0.18), (0.12, 0.25)
# Height divided by width of a video with these margins. Between it and a square, they are between
# the two.
_PORTRAIT_RATIO = 1920 / 1080
# Distance from a highlighted word to the left and right edges of its box, and from the top of its
# line to that of the box, as shares of the line height: capital letters are in the middle. On
# the left and right, it is at least this number of widths of the outline.
WORD_BOX_PADDING_SHARE, WORD_BOX_INSET_SHARE, WORD_BOX_OUTLINES = 0.08, 0.1, 1.5
# Default colours of the current word, and of the box behind it: yellow on a dark box, and blue
# behind white letters.
_HIGHLIGHT_COLOURS = {"color": "#ffd60a", "grow": "#ffd60a", "box": "#1f6feb"}
# Width that is added between words if the current word grows, as a share of the line height.
_GROWTH_SPACING = 0.12
# Default font sizes of landscape and other videos: of sentences, and of a few words at a time. On
# a phone, whose screen is about 360 points wide, the letters of a portrait video then have an em of
# 19 and 30 points.
_FONT_SIZES, _FONT_SIZES_OF_WORDS = (20, 84), (36, 132)

# Height of a line of Noto Sans CJK, in em.
_LINE_EM = 1.448
# What is expected of texts that leave the picture.
EXPECTED_ROOM = "a smaller font_size, a larger subtitle_width, less text or fewer cues at once"
_WORD = re.compile("[A-Za-z0-9]+")


class Highlight(NamedTuple):
    """Look of the current word."""

    mode: HighlightMode
    colour: Yuv
    opacity: int


class SubtitleStyle(NamedTuple):
    """Style of the subtitles of one video; sizes in its pixels, opacities from 0 to 255."""

    size: float
    """Height of a line: ascender plus descender of the font."""
    bold: bool
    """True if text without tags is bold."""
    text_colour: Yuv
    text_opacity: int
    box_colour: Yuv
    box_opacity: int
    """With 0, letters have an outline instead of a box."""
    outline: float
    outline_colour: Yuv
    outline_opacity: int
    shadow: float
    """Distance to the right and down."""
    shadow_blur: float
    """Width of the soft edge."""
    shadow_colour: Yuv
    shadow_opacity: int
    padding: tuple[float, float]
    """Horizontal and vertical distance from the text to the edges of its box."""
    radius: float
    """Radius of the corners of boxes."""
    position: int
    """Position of cues that have none, as in `Cue.position`."""
    room: float
    """Maximum width of a line."""
    side: int
    """Left and right margin."""
    bottom: int
    """Margin at the bottom, and at the top for cues at the top."""
    lines: int
    """Lines of the parts into which long cues are divided; 0 for no division."""
    words_at_once: int
    """Words that are shown at a time; 0 for whole cues."""
    pops: bool
    """True if cues grow into their place."""
    word_spacing: float
    """Width that is added between words, into which the current one grows."""
    highlight: Highlight | None = None
    """Look of the current word, if it is another one."""


def subtitle_style(options: _Options, width: int, height: int) -> SubtitleStyle:
    """Return the style of subtitles for a video of this size."""
    # A fully transparent box is replaced by an outline: otherwise white letters could not be read
    # on a bright picture. The font size of the options has the unit of the public image: 1/288 of
    # the height of a landscape video, and 1/1080 of the width of another one, which is 1/1920 of
    # the height at 9:16.
    upright = height >= width
    unit = width / 1080 if upright else height / 288
    sizes = _FONT_SIZES_OF_WORDS if options.words_at_once else _FONT_SIZES
    size = (options.font_size or sizes[upright]) * unit
    text, box, shadow = map(
        Rgba.parse, (options.text_color, options.box_color, options.shadow_color)
    )
    opacity = _box_opacity(options, box)
    outline = options.outline_width
    if outline is None:
        outline = 0.0 if opacity else _OUTLINE_SHARE
    pad_across, pad_down = options.box_padding
    across, down = options.subtitle_margin or _margins(options, height / width)
    side = round(width * across)
    share = options.subtitle_width
    room = width - 2 * side if share is None else width * share
    alpha, blue, green, red = bytes.fromhex(options.outline_color[2:])
    return SubtitleStyle(
        size=size,
        bold=options.language == "chinese" if options.bold is None else options.bold,
        text_colour=text.yuv,
        text_opacity=text.alpha,
        box_colour=box.yuv,
        box_opacity=opacity,
        outline=size * outline,
        outline_colour=bt709(red, green, blue),
        outline_opacity=255 - alpha,
        shadow=size * options.shadow,
        shadow_blur=size * options.shadow_blur,
        shadow_colour=shadow.yuv,
        shadow_opacity=shadow.alpha,
        padding=(size * pad_across, size * pad_down) if opacity else (0.0, 0.0),
        radius=size * options.box_radius,
        position=_POSITIONS.index(options.subtitle_position) + 1,
        room=room,
        side=side,
        bottom=round(height * down),
        lines=options.subtitle_lines,
        words_at_once=options.words_at_once,
        pops=options.animation == "pop",
        word_spacing=size * _GROWTH_SPACING if options.highlight == "grow" else 0.0,
        highlight=_highlight(options),
    )


def check_room(cue: Cue, style: SubtitleStyle, height: int) -> None:
    """Raise `InvalidInputError` for a cue that is sure to leave a picture of this height.

    The widths of letters are the least ones of Noto Sans CJK, which need not be on this machine.
    """
    parts = TAG.sub("", cue.text).split("\n")
    if style.lines or style.words_at_once:  # only a word is sure to be shown at once
        parts = [max(_WORD.findall(cue.text), key=len, default="")]
    widths = [sum(map(_min_width, part)) * style.size / _LINE_EM for part in parts]
    lines = sum(max(1, math.ceil(width / style.room)) for width in widths)
    if any(widths) and lines * style.size > height:
        found = f"text that would leave the picture at {timestamp(cue.start)}: {lines} or more"
        found += f" lines of {style.size:.0f} pixels"
        raise InvalidInputError(found, EXPECTED_ROOM, "too_large")


def _min_width(letter: str) -> float:
    """Return a width in em that a letter of Noto Sans CJK has at least."""
    if east_asian_width(letter) in "WF":
        return float(letter.isalnum())
    return 0.45 * (letter.isascii() and letter.isalnum() and letter not in "fijlrtIJ")


def _box_opacity(options: _Options, box: Rgba) -> int:
    if not options.background_box:
        return 0
    if len(options.box_color) == len("#rrggbbaa"):
        return box.alpha
    return 255 - round(options.background_opacity * 255)


def _margins(options: _Options, ratio: float) -> Iterator[float]:
    """Yield the default margins of a video, by its height/width."""
    part = min(1.0, max(0.0, (ratio - 1) / (_PORTRAIT_RATIO - 1)))
    upright = _PORTRAIT_MARGINS_OF_WORDS if options.words_at_once else _PORTRAIT_MARGINS
    for least, most in zip(_MARGINS, upright, strict=True):
        yield least + (most - least) * part


def _highlight(options: _Options) -> Highlight | None:
    if options.highlight == "none":
        return None
    colour = Rgba.parse(options.highlight_color or _HIGHLIGHT_COLOURS[options.highlight])
    return Highlight(options.highlight, colour.yuv, colour.alpha)
