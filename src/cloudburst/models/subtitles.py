"""Parser and limits for subtitle files in SubRip (.srt) and WebVTT (.vtt) format.

The client reads a file with these functions before anything is started; the render service reads it
again with the same functions. No I/O.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from cloudburst.models.input_error import InvalidInputError

FORMATS = "subtitles in SubRip (.srt) or WebVTT (.vtt) form, in UTF-8, UTF-16 or GB 18030"

MAX_SUBTITLE_BYTES = 8 * 1024 * 1024
"""Maximum size of a subtitle file, in bytes. The subtitles of a feature film have about 100 KB."""
MAX_CUES = 10_000
"""Maximum number of cues (timed texts) in a file; a feature film has about 1,500."""
MAX_CHARACTERS = 2_000
"""Maximum number of characters in one cue. A landscape video has room for 350 in the default font
size."""
MAX_AT_ONCE = 50
"""Maximum number of cues that are shown within the same second."""
MAX_CHARACTERS_AT_ONCE = 2_000
"""Maximum number of characters, over all cues, that are shown within the same second."""
MAX_GLYPH_AREA = 12_000_000
"""Maximum product of the number of characters shown at once and the square of their height in
pixels: 6 times the area of a 1080p picture. Drawing takes memory and time in proportion to this
product."""

_STAMP = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})(?:[,.](\d{1,3}))?"
_TIMING_LINE = re.compile(rf"\s*{_STAMP}\s*-->\s*{_STAMP}(?:\s+(.*))?")
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_WEBVTT = re.compile(r"WEBVTT(?=\s|$)")
_TAG = re.compile(r"(<[^<>]*>)")
_CLASS_TAG = re.compile(r"<([ibu])\.[^<>]*>", re.IGNORECASE)
_TIMESTAMP_TAG = re.compile(r"<[\d:.]+>")
_OVERRIDES = re.compile(r"\{\\[^{}\n]*\}")
_OVERRIDE_STYLE = re.compile(
    r"\\(?:([ibus])([01])|1?c(?:&H([0-9a-f]{6})&?)?)(?=[\\}])", re.IGNORECASE
)
_POSITION = re.compile(r"\\an([1-9])")
_OTHER_FORMATS = (
    (re.compile(r"\[Script Info\]", re.IGNORECASE), "subtitles in SubStation (.ass, .ssa) form"),
    (re.compile(r"(?:<\?xml[^>]*>\s*)?<tt[\s:>]"), "subtitles in TTML form"),
    (re.compile(r"<SAMI>", re.IGNORECASE), "subtitles in SAMI form"),
    (re.compile(r"\{\d+\}\{\d+\}"), "subtitles in MicroDVD (.sub) form"),
    (re.compile(r"\[\d+:\d+[.:]\d+\]"), "lyrics in LRC form"),
    (re.compile(r"\d+:\d\d:\d\d\.\d+,\d+:\d\d:\d\d\.\d+\s"), "subtitles in SBV form"),
)


class Cue(NamedTuple):
    """Subtitle text with the time in which it is shown."""

    start: int
    """Time at which the text appears, in milliseconds from the start of the video."""
    end: int
    """Time at which the text disappears, in milliseconds from the start of the video."""
    text: str
    """Text of the cue, with newlines between its lines. The tags ``<i>``, ``<b>``, ``<u>`` and
    ``<s>`` in it stand for italic, bold, underlined and struck through, and ``<font color="…">``
    for a colour."""
    position: int | None = None
    """Position in the picture as on a numeric keypad: 1 to 3 at the bottom, 4 to 6 in the middle, 7
    to 9 at the top; 1, 4 and 7 on the left. ``None``: the position that the render options set."""


def read_cues(data: bytes) -> list[Cue]:
    """Return the cues of a subtitle file, in the order of the file.

    Blocks of text that are not cues are ignored. Raises `InvalidInputError` for a file that is not
    text, is too large, has no cues, or shows too much text at once.
    """
    if not data:
        raise InvalidInputError("an empty file", FORMATS)
    if len(data) > MAX_SUBTITLE_BYTES:
        limit = f"{MAX_SUBTITLE_BYTES // 1024**2} MB"
        raise InvalidInputError(f"more than {limit} of subtitles", f"at most {limit}")
    text = decode_text(data)
    if text is None:
        raise InvalidInputError("text in another encoding", FORMATS)
    return parse_cues(text)


def decode_text(data: bytes) -> str | None:
    """Return the text of a file in UTF-16, UTF-8 or GB 18030, ``None`` for another encoding."""
    if data.startswith(_BYTE_ORDER_MARKS):
        encodings = ["utf-16"]
    elif b"\0" in data:  # UTF-16 without a mark: high bytes of digits and line ends
        encodings = ["utf-16-le" if data[1::2].count(0) > data[::2].count(0) else "utf-16-be"]
    else:
        encodings = ["utf-8-sig", "gb18030"]
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeError:
            continue
    return None


def parse_cues(text: str) -> list[Cue]:
    """Return the cues in the text of a subtitle file; see `read_cues`."""
    text = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    cues = list(_cues(text.split("\n"), webvtt=bool(_WEBVTT.match(text))))
    if not cues:
        raise _without_cues(text)
    _check_amount(cues)
    return cues


def _without_cues(text: str) -> InvalidInputError:
    """Return the error for a text without cues; name the format of the text if it is recognised."""
    start = text.strip()[:1000]
    if not start:
        return InvalidInputError("no text", f"{FORMATS}, or no subtitle at all")
    for pattern, name in _OTHER_FORMATS:
        if pattern.match(start):
            return InvalidInputError(name, FORMATS)
    found = "text without any line of timing that has text below it"
    return InvalidInputError(found, "lines like 00:00:01,000 --> 00:00:02,500, and text below them")


def _check_amount(cues: Sequence[Cue]) -> None:
    for cue in cues:
        if len(cue.text) > MAX_CHARACTERS:
            found = f"a cue of {len(cue.text):,} characters at {_timestamp(cue.start)}"
            raise InvalidInputError(found, f"at most {MAX_CHARACTERS:,} characters in one cue")
    most, moment = _peak((cue, 1) for cue in cues)
    if most > MAX_AT_ONCE:
        found = f"{most:,} cues at once at {_timestamp(moment)}"
        raise InvalidInputError(found, f"at most {MAX_AT_ONCE} cues at once")
    most, moment = _peak((cue, len(cue.text)) for cue in cues)
    if most > MAX_CHARACTERS_AT_ONCE:
        found = f"{most:,} characters at once at {_timestamp(moment)}"
        raise InvalidInputError(found, f"at most {MAX_CHARACTERS_AT_ONCE:,} characters at once")


def check_glyph_area(cues: Iterable[Cue], height: float) -> None:
    """Raise `InvalidInputError` if too much text is shown at once for letters of this height.

    The height is in pixels; `MAX_GLYPH_AREA` is the limit.
    """
    most, moment = _peak((cue, len(cue.text)) for cue in cues)
    allowed = int(MAX_GLYPH_AREA / height**2)
    if most > allowed:
        found = f"{most:,} characters of {height:.0f} pixels at once at {_timestamp(moment)}"
        raise InvalidInputError(
            found, f"at most {allowed:,} of that size at once, or a smaller font_size"
        )


def _peak(weighted: Iterable[tuple[Cue, int]]) -> tuple[int, int]:
    """Return the largest total weight of cues that are shown at once, and the time of this maximum.

    The time is in milliseconds. A cue that is shown for less than a second counts for one second,
    because drawing many short texts in a row takes as much work as drawing all of them at once.
    """
    changes: list[tuple[int, int]] = []
    for cue, weight in weighted:
        changes += ((cue.start, weight), (max(cue.end, cue.start + 1000), -weight))
    shown = most = moment = 0
    for at, change in sorted(changes):  # at the same time, cues that end come first
        shown += change
        if shown > most:
            most, moment = shown, at
    return most, moment


def _cues(lines: Sequence[str], *, webvtt: bool) -> Iterator[Cue]:
    timings = (
        (row, match) for row, line in enumerate(lines) if (match := _TIMING_LINE.fullmatch(line))
    )
    heads = list(islice(timings, MAX_CUES + 1))
    if len(heads) > MAX_CUES:
        raise InvalidInputError(f"more than {MAX_CUES:,} cues", f"at most {MAX_CUES:,} cues")
    ends = [row for row, _ in heads[1:]] + [len(lines)]
    for (row, match), end in zip(heads, ends, strict=False):
        text = _body(lines, row + 1, end)
        position = _webvtt_position(match[9] or "") if webvtt else None
        if webvtt:
            text = _webvtt_text(text)
        for group in _OVERRIDES.findall(text):
            if asked := _POSITION.search(group):
                position = int(asked[1])
                break
        empty = not _OVERRIDES.sub("", text).strip()
        text = _OVERRIDES.sub(_tags, text).strip()
        start, stop = _milliseconds(match.groups()[:4]), _milliseconds(match.groups()[4:8])
        if not empty and start < stop:
            yield Cue(start, stop, text, position)


def _tags(overrides: re.Match[str]) -> str:
    """Return the tags for the styles and colours in a group of override tags."""
    tags: list[str] = []
    for style, on, colour in _OVERRIDE_STYLE.findall(overrides[0]):
        if style:
            tags.append(f"<{'' if on == '1' else '/'}{style.lower()}>")
        else:  # blue, green, red
            tags.append(
                f"<font color=#{colour[4:]}{colour[2:4]}{colour[:2]}>" if colour else "</font>"
            )
    return "".join(tags)


def _body(lines: Sequence[str], first: int, end: int) -> str:
    body: list[str] = []
    for row in range(first, end):
        if not lines[row].strip():
            break
        body.append(lines[row].strip())
    else:  # no blank line before the next cue: the last line is the number of that cue
        if end < len(lines) and body and body[-1].isdecimal():
            body.pop()
    return "\n".join(body)


def _webvtt_text(text: str) -> str:
    """Return the text of a WebVTT cue in the form of `Cue.text`.

    Character references such as ``&amp;`` are resolved; classes and timestamps in tags are removed.
    """
    parts = _TAG.split(text)
    # A word joiner after "<" prevents text that looks like a tag from being read as a tag.
    parts[::2] = [html.unescape(part).replace("<", "<\u2060") for part in parts[::2]]
    parts[1::2] = [_TIMESTAMP_TAG.sub("", _CLASS_TAG.sub(r"<\1>", part)) for part in parts[1::2]]
    return "".join(parts)


def _webvtt_position(settings: str) -> int | None:
    """Return the nearest of the nine positions for the ``line`` and ``align`` of a WebVTT cue.

    Return ``None`` for a cue with neither of them.
    """
    given = dict(part.split(":", 1) for part in settings.split() if ":" in part)
    column = {"start": 1, "left": 1, "end": 3, "right": 3}.get(given.get("align", ""))
    row = _webvtt_row(given.get("line", "").partition(",")[0])
    if row is None and column is None:
        return None
    return (column or 2) + 3 * (row or 0)


def _webvtt_row(line: str) -> int | None:
    """Return 0 for the lower third of the picture, 1 for the middle third, 2 for the upper third.

    ``line`` is a percentage of the height, measured from the top, or the number of a text line. The
    picture is taken to have 15 lines: 0 is the top line, and -1 is the bottom line. Return ``None``
    for anything else, such as ``auto``.
    """
    match = re.fullmatch(r"(-?\d{1,3})(?:\.\d+)?(%?)", line)
    if match is None:
        return None
    number = int(match[1])
    if match[2]:
        return 2 if number <= 33 else 1 if number <= 66 else 0
    from_top = number if number >= 0 else 15 + number
    return 2 if from_top < 5 else 1 if from_top < 10 else 0


def _milliseconds(parts: Sequence[str | None]) -> int:
    hours, minutes, seconds, fraction = parts
    whole = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    return whole * 1000 + int((fraction or "0").ljust(3, "0"))


def _timestamp(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d},{rest:03d}"
