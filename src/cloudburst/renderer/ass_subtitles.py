"""Conversion of subtitle cues to the ASS subtitle format for libass; pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from cloudburst.models.subtitles import BOTTOM, Cue
from cloudburst.renderer.job import JobOptions

_STYLE_TAG = re.compile(r"<(/?)([ibu])>", re.IGNORECASE)
_OTHER_TAG = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def escape_ass(text: str) -> str:
    """Return the text of a cue, escaped for a ``Dialogue`` line of an ASS file.

    The tags ``<i> <b> <u>`` are converted, other tags are removed, and everything else is shown as
    it is. A word joiner (U+2060) after a backslash keeps libass from reading the backslash as an
    escape.
    """
    text = _CONTROL.sub("", text.replace("\t", " "))
    text = text.replace("\\", "\\\u2060").replace("{", "\\{").replace("}", "\\}")
    # A closing tag has no number: it returns to the style's own value, which may be bold.
    text = _STYLE_TAG.sub(lambda tag: f"{{\\{tag[2].lower()}{'' if tag[1] else 1}}}", text)
    return _OTHER_TAG.sub("", text).replace("\n", "\\N")


class SubtitleStyle(NamedTuple):
    """Style of the subtitles of one video; sizes are in pixels of the video."""

    family: str
    size: float
    bold: bool
    box: str
    """Colour of the box behind the text, in ASS notation; empty if the letters have an outline
    instead of a box."""
    outline: float
    outline_color: str
    padding: tuple[float, float]
    """Horizontal and vertical padding between the text and the edges of its box, in pixels."""
    side: int
    bottom: int


def subtitle_style(options: JobOptions, width: int, height: int, family: str) -> SubtitleStyle:
    """Return the style of subtitles for a video of this size.

    A fully transparent box is replaced by an outline around the letters: otherwise white letters
    could not be read on a bright picture. The font size in the options has the unit of the public
    image: 1/288 of the height of a landscape video, and 1/1920 of the height of a portrait video.
    Sizes and positions are close to those of that image, except that the box has a margin.
    """
    upright = height > width
    unit = height / 1920 if upright else height / 288
    size = (options.font_size or (60 if upright else 20)) * unit
    alpha = round(options.background_opacity * 255)
    return SubtitleStyle(
        family=family,
        size=size,
        bold=options.language == "chinese",
        box=f"&H{alpha:02X}000000" if options.background_box and alpha < 255 else "",
        outline=size * 0.06,
        outline_color=options.outline_color,
        padding=(size * 0.32, size * 0.1),
        side=round(width * 0.08),
        bottom=round(height * (0.18 if upright else 0.09)),
    )


_HEAD = """\
[Script Info]
ScriptType: v4.00+
PlayResX: {width}
PlayResY: {height}
WrapStyle: 0
ScaledBorderAndShadow: yes
YCbCr Matrix: TV.709

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, \
Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, \
Alignment, MarginL, MarginR, MarginV, Encoding
Style: Cue,{family},{size:.2f},&H00FFFFFF,&H00FFFFFF,{outline_color},{back_color},\
{bold},0,0,0,100,100,0,0,{border},{outline:.2f},{shadow:.2f},2,{side},{side},{bottom},-1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def ass_document(
    cues: Iterable[Cue], style: SubtitleStyle, width: int, height: int, seconds: float
) -> str:
    """Return the complete ASS file for the cues of a video.

    Cues are cut at ``seconds``, the video's length; overlapping cues are stacked. With border style
    4, libass draws one box behind the whole cue; the "shadow" of the style is the padding of that
    box.
    """
    beside, above = style.padding if style.box else (0.0, 0.0)
    head = _HEAD.format(
        width=width,
        height=height,
        family=style.family,
        size=style.size,
        outline_color=style.outline_color,
        back_color=style.box or "&H80000000",
        bold=-1 if style.bold else 0,
        border=4 if style.box else 1,
        outline=0 if style.box else style.outline,
        shadow=max(beside, above),
        side=style.side,
        bottom=style.bottom,
    )
    padding = f"{{\\xshad{beside:.1f}\\yshad{above:.1f}}}" if style.box else ""
    end = round(seconds * 1000)
    lines = (
        f"Dialogue: 0,{_stamp(cue.start)},{_stamp(min(cue.end, end))},Cue,,0,0,0,,"
        f"{padding}{_placed(cue)}{escape_ass(cue.text)}\n"
        for cue in cues
        if cue.start < end
    )
    return head + "".join(lines)


def _placed(cue: Cue) -> str:
    return "" if cue.position == BOTTOM else f"{{\\an{cue.position}}}"


def _stamp(milliseconds: int) -> str:
    centis = (milliseconds + 5) // 10
    return (
        f"{centis // 360_000}:{centis // 6000 % 60:02d}:{centis // 100 % 60:02d}.{centis % 100:02d}"
    )
