"""From the bytes of an SRT file to ASS text for libass. Pure: no file, no clock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cloudburst.models.options import RenderOptions
from cloudburst.service.job import SUBTITLE, InputFaultError

_EXPECTED = "numbered SubRip cues: 00:00:01,000 --> 00:00:02,500 and text"

_STAMP = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})(?:[,.](\d{1,3}))?"
_TIMES = re.compile(rf"\s*{_STAMP}\s*-->\s*{_STAMP}(?:\s.*)?")
_STYLE_TAG = re.compile(r"<(/?)([ibu])>", re.IGNORECASE)
_OTHER_TAG = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class Cue(NamedTuple):
    """Text from one moment to another, in milliseconds; lines end with a newline."""

    start: int
    end: int
    text: str


def decode(raw: bytes) -> str:
    """Text of the file: UTF-8, UTF-16 with or without its mark, else GB 18030."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif b"\0" in raw:  # the high bytes of digits and line ends
        encodings = ["utf-16-le" if raw[1::2].count(0) > raw[::2].count(0) else "utf-16-be"]
    else:
        encodings = ["utf-8-sig", "gb18030"]
    for encoding in encodings:
        try:
            return raw.decode(encoding)
        except UnicodeError:
            continue
    raise InputFaultError(SUBTITLE, "bytes that are no text", "UTF-8, UTF-16 or GB 18030")


def parse(text: str) -> list[Cue]:
    """The cues in the order of the file; blocks that are none are passed over.

    A file without a single cue is a fault: somebody wanted subtitles.
    """
    cues = list(_cues(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")))
    if not cues:
        found = "no cue in it" if text.strip("\ufeff \t\r\n") else "an empty file"
        raise InputFaultError(SUBTITLE, found, _EXPECTED)
    return cues


def _cues(lines: list[str]) -> Iterator[Cue]:
    heads = [(row, match) for row, line in enumerate(lines) if (match := _TIMES.fullmatch(line))]
    ends = [row for row, _ in heads[1:]] + [len(lines)]
    for (row, match), end in zip(heads, ends, strict=False):
        body: list[str] = []
        for line in lines[row + 1 : end]:
            if not line.strip():
                break
            body.append(line.strip())
        else:  # no blank line before the next cue: the last line is that one's number
            if end < len(lines) and body and body[-1].isdecimal():
                body.pop()
        start, stop = _milliseconds(match.groups()[:4]), _milliseconds(match.groups()[4:])
        if body and start < stop:
            yield Cue(start, stop, "\n".join(body))


def _milliseconds(parts: tuple[str | None, ...]) -> int:
    hours, minutes, seconds, fraction = parts
    whole = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    return whole * 1000 + int((fraction or "0").ljust(3, "0"))


def escape(text: str) -> str:
    """Text for a ``Dialogue`` line: ``<i> <b> <u>`` work, other tags go, all else is shown.

    A word joiner after a backslash keeps libass from reading an order into it.
    """
    text = _CONTROL.sub("", text.replace("\t", " "))
    text = text.replace("\\", "\\\u2060").replace("{", "\\{").replace("}", "\\}")
    # A closing tag has no number: back to what the style says, which may be bold.
    text = _STYLE_TAG.sub(lambda tag: f"{{\\{tag[2].lower()}{'' if tag[1] else 1}}}", text)
    return _OTHER_TAG.sub("", text).replace("\n", "\\N")


class Look(NamedTuple):
    """Sizes in pixels of the video, and what the options say about colours."""

    family: str
    size: float
    bold: bool
    box: str
    """``BackColour`` of the box, or empty for an outline."""
    outline: float
    outline_color: str
    padding: tuple[float, float]
    """Of the box: beside the text, and above and below it."""
    side: int
    bottom: int


def look(options: RenderOptions, width: int, height: int, family: str) -> Look:
    """Sizes on a canvas.

    A font size counts in the public image's units: 1/288 of the height of a landscape, pixels on
    1920 of a portrait. Sizes and places are near that image's, with a box that has a margin.
    """
    upright = height > width
    unit = height / 1920 if upright else height / 288
    size = (options.font_size or (60 if upright else 20)) * unit
    alpha = round(options.background_opacity * 255)
    return Look(
        family=family,
        size=size,
        bold=options.language == "chinese",
        box=f"&H{alpha:02X}000000" if options.background_box else "",
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
{bold},0,0,0,100,100,0,0,{border},{outline:.2f},{shadow:.2f},2,{side},{side},{bottom},1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def ass(cues: Iterable[Cue], style: Look, width: int, height: int, seconds: float) -> str:
    """The whole ASS file. Cues past ``seconds`` are cut; those that overlap are stacked.

    libass draws style 4 as one box behind the whole cue, larger by its "shadow".
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
        f"{padding}{escape(cue.text)}\n"
        for cue in cues
        if cue.start < end
    )
    return head + "".join(lines)


def _stamp(milliseconds: int) -> str:
    centis = (milliseconds + 5) // 10
    return (
        f"{centis // 360_000}:{centis // 6000 % 60:02d}:{centis // 100 % 60:02d}.{centis % 100:02d}"
    )
