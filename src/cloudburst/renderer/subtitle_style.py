"""Look of the subtitles of a video: sizes, colours and margins in pixels. Pure functions."""

from __future__ import annotations

from typing import NamedTuple

from cloudburst.renderer.job import JobOptions
from cloudburst.renderer.planes import Rgba, Yuv, bt709

# Names of positions, in the order of a numeric keypad.
_POSITIONS = (
    *("bottom-left", "bottom", "bottom-right"),
    *("left", "center", "right"),
    *("top-left", "top", "top-right"),
)
_OUTLINE_SHARE = 0.06
_SIDE_SHARE = 0.08
# Outline as a share of the line height, margins as shares of width and height. The bottom margin
# is larger in portrait. They are close to the sizes of the public image; ``docs/migration.md``
# lists the differences.
_BOTTOM_SHARE, _PORTRAIT_BOTTOM_SHARE = 0.09, 0.18
# Height divided by width of a video with the whole `_PORTRAIT_BOTTOM_SHARE`. Applications cover
# the bottom of such videos with their own text. Between it and a square, the share is between the
# two.
_PORTRAIT_RATIO = 1920 / 1080


# Horizontal and vertical distance from a highlighted word to the edges of its box, as shares of
# the line height.
WORD_BOX_PADDING_SHARES = (0.06, 0.0)
# Default colours of the current word, and of the box behind it: yellow on a dark box, and blue
# behind white letters.
_HIGHLIGHT_COLOURS = {"color": "#ffd60a", "box": "#1f6feb"}


class Highlight(NamedTuple):
    """Look of the current word."""

    box: bool
    """True for a box behind the word, false for letters in another colour."""
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
    shadow_colour: Yuv
    shadow_opacity: int
    padding: tuple[float, float]
    """Horizontal and vertical distance from the text to the edges of its box."""
    position: int
    """Position of cues that have none, as in `Cue.position`."""
    room: float
    """Maximum width of a line."""
    side: int
    """Left and right margin."""
    bottom: int
    """Margin at the bottom, and at the top for cues at the top."""
    highlight: Highlight | None = None
    """Look of the current word, if it is another one."""


def subtitle_style(options: JobOptions, width: int, height: int) -> SubtitleStyle:
    """Return the style of subtitles for a video of this size."""
    # A fully transparent box is replaced by an outline: otherwise white letters could not be read
    # on a bright picture. The font size of the options has the unit of the public image: 1/288 of
    # the height of a landscape video, and 1/1080 of the width of another one, which is 1/1920 of
    # the height at 9:16.
    upright = height >= width
    unit = width / 1080 if upright else height / 288
    size = (options.font_size or (60 if upright else 20)) * unit
    text, box, shadow = map(
        Rgba.parse, (options.text_color, options.box_color, options.shadow_color)
    )
    opacity = _box_opacity(options, box)
    outline = options.outline_width
    if outline is None:
        outline = 0.0 if opacity else _OUTLINE_SHARE
    pad_across, pad_down = options.box_padding
    across, down = options.subtitle_margin or (_SIDE_SHARE, _bottom_share(height / width))
    side = round(width * across)
    share = options.subtitle_width
    room = width - 2 * side if share is None else width * share
    alpha, blue, green, red = bytes.fromhex(options.outline_color[2:])
    return SubtitleStyle(
        size=size,
        bold=options.language == "chinese",
        text_colour=text.yuv,
        text_opacity=text.alpha,
        box_colour=box.yuv,
        box_opacity=opacity,
        outline=size * outline,
        outline_colour=bt709(red, green, blue),
        outline_opacity=255 - alpha,
        shadow=size * options.shadow,
        shadow_colour=shadow.yuv,
        shadow_opacity=shadow.alpha,
        padding=(size * pad_across, size * pad_down) if opacity else (0.0, 0.0),
        position=_POSITIONS.index(options.subtitle_position) + 1,
        room=room,
        side=side,
        bottom=round(height * down),
        highlight=_highlight(options),
    )


def _box_opacity(options: JobOptions, box: Rgba) -> int:
    if not options.background_box:
        return 0
    if len(options.box_color) == len("#rrggbbaa"):
        return box.alpha
    return 255 - round(options.background_opacity * 255)


def _bottom_share(ratio: float) -> float:
    """Return the bottom margin relative to the height of a video, by its height/width."""
    part = min(1.0, max(0.0, (ratio - 1) / (_PORTRAIT_RATIO - 1)))
    return _BOTTOM_SHARE + (_PORTRAIT_BOTTOM_SHARE - _BOTTOM_SHARE) * part


def _highlight(options: JobOptions) -> Highlight | None:
    if options.highlight == "none":
        return None
    colour = Rgba.parse(options.highlight_color or _HIGHLIGHT_COLOURS[options.highlight])
    return Highlight(options.highlight == "box", colour.yuv, colour.alpha)
