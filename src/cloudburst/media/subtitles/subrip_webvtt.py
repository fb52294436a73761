"""Subtitles in SubRip (.srt) and WebVTT (.vtt) form: blocks of text below times."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias

from cloudburst.media.subtitles.cue_text import CueText, escape
from cloudburst.media.subtitles.cues import (
    MAX_CUES,
    Cue,
    Subtitles,
    Word,
    check_number,
    collect,
    milliseconds,
    timestamp,
)

# Pattern of a time, with groups for `milliseconds`.
STAMP = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})(?:[,.](\d{1,3}))?"
# Pattern of a group of override tags, such as ``{\an8}``.
OVERRIDES = re.compile(r"(\{\\[^{}\n]*\})")

_TIMING_LINE = re.compile(rf"\s*{STAMP}\s*-->\s*{STAMP}(?:\s+(.*))?")
_OVERRIDE_STYLE = re.compile(
    r"\\(?:([ibus])([01])|1?c(?:&H([0-9a-f]{6})&?)?)(?=[\\}])", re.IGNORECASE
)
_POSITION = re.compile(r"\\an([1-9])")

_TAG = re.compile(r"(<[^<>]*>)")
# Pattern of a tag of `Cue.text`, and of a position.
_STYLE = re.compile(r"</?(?:[ibus]|font[^<>]*)>|\{\\an\d\}")
_CLASS_TAG = re.compile(r"<([ibu])\.[^<>]*>", re.IGNORECASE)
_TIMESTAMP_TAG = re.compile(r"<[\d:.]+>")
_TIMESTAMP = re.compile(rf"<{STAMP}>")


class Block(NamedTuple):
    """Lines of a cue in a file."""

    start: int
    """Start of the cue, in milliseconds."""
    end: int
    """End of the cue, in milliseconds."""
    settings: str
    """Text behind the times of the cue."""
    body: str
    """Text below the times, with newlines between its lines."""


# Function that returns the text of a block in the form of `Cue.text`, its words, and its position
# without that in override tags.
Reader: TypeAlias = Callable[[Block], tuple[str, tuple[Word, ...], int | None]]


def parse_blocks(text: str, read: Reader, *, is_subrip: bool) -> Subtitles:
    """Return the content of a file; without cues if it has no blocks of text below times."""
    blocks = list(_blocks(text.split("\n")))
    return Subtitles(collect(_cues(blocks, read)), _ignored(blocks), is_subrip)


def _blocks(lines: Sequence[str]) -> Iterator[Block]:
    timings = (
        (row, match)
        for row, line in enumerate(lines)
        if "-->" in line and (match := _TIMING_LINE.fullmatch(line))
    )
    heads = list(islice(timings, MAX_CUES + 1))
    check_number(len(heads), MAX_CUES, "cues")
    ends = [row for row, _ in heads[1:]] + [len(lines)]
    for (row, match), end in zip(heads, ends, strict=False):
        times = milliseconds(match.groups()[:4]), milliseconds(match.groups()[4:8])
        yield Block(*times, match[9] or "", _body(lines, row + 1, end))


def _cues(blocks: Sequence[Block], read: Reader) -> Iterator[Cue]:
    for block in blocks:
        if block.start < block.end and OVERRIDES.sub("", block.body).strip():
            text, words, position = read(block)
            groups = OVERRIDES.findall(block.body)
            positions = (asked for group in groups if (asked := _POSITION.search(group)))
            if (first := next(positions, None)) is not None:
                position = int(first[1])
            if text:
                yield Cue(block.start, block.end, text, position, words)


def _ignored(blocks: Sequence[Block]) -> tuple[str, ...]:
    if not any("{\\" in block.body for block in blocks):
        return ()
    from cloudburst.media.subtitles import overrides  # noqa: PLC0415 - rarely needed

    ignored: overrides.Ignored = {}
    for block in blocks:
        for group in OVERRIDES.findall(block.body):
            overrides.add_ignored(group, ignored)
    return tuple(ignored)


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


def override_tags(overrides: re.Match[str]) -> str:
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


def parse_subrip(text: str) -> Subtitles:
    """Return the content of a file in SubRip form; without cues if it has another form."""
    return parse_blocks(text, _read_subrip, is_subrip=True)


def _read_subrip(block: Block) -> tuple[str, tuple[Word, ...], int | None]:
    # ``\N`` is a line break, and ``\h`` a space at which no line is broken.
    body = block.body.replace("\\N", "\n").replace("\\h", "\u00a0")
    return OVERRIDES.sub(override_tags, body).strip(), (), None


def to_subrip(cues: Sequence[Cue]) -> str:
    r"""Return a file in SubRip form with these cues, without the times of words.

    Positions are written as ``{\an8}``. Text that would have a meaning in this form gets an
    invisible character.
    """
    blocks: list[str] = []
    for number, cue in enumerate(cues, 1):
        text = cue.text.replace("-->", "-\u2060->").replace("{\\", "{\u2060\\")
        text = text.replace("\\N", "\\\u2060N").replace("\\h", "\\\u2060h")
        text = "\n".join(line.strip() or "\u00a0" for line in text.split("\n"))
        place = "" if cue.position is None else f"{{\\an{cue.position}}}"
        times = f"{timestamp(cue.start)} --> {timestamp(cue.end)}"
        blocks.append(f"{number}\n{times}\n{place}{text}\n")
    return "\n".join(blocks)


def to_webvtt(subrip: str) -> str:
    """Return the content of a file that `to_subrip` has made in WebVTT form, without styles."""
    lines = (
        line.replace(",", ".") if "-->" in line else html.escape(_STYLE.sub("", line), quote=False)
        for line in subrip.split("\n")
    )
    return "\n".join(("WEBVTT", "", *lines))


def parse_webvtt(text: str) -> Subtitles:
    """Return the content of a file in WebVTT form."""
    return parse_blocks(text, _read_webvtt, is_subrip=False)


def _read_webvtt(block: Block) -> tuple[str, tuple[Word, ...], int | None]:
    text, words = _text(block.body, block.start, block.end)
    return text, words, _position(block.settings)


def _text(body: str, start: int, end: int) -> tuple[str, tuple[Word, ...]]:
    # Character references such as ``&amp;`` are resolved, and classes in tags are removed. Tags
    # with a timestamp divide the text into words.
    parts = _TAG.split(body)
    if not any(map(_TIMESTAMP_TAG.fullmatch, parts[1::2])):
        parts[::2] = [escape(html.unescape(part)) for part in parts[::2]]
        parts[1::2] = [_CLASS_TAG.sub(r"<\1>", part) for part in parts[1::2]]
        return OVERRIDES.sub(override_tags, "".join(parts)).strip(), ()
    timed = CueText(start, end)
    timed.mark(start)
    for place, part in enumerate(parts):
        if place % 2 == 0:
            for index, piece in enumerate(OVERRIDES.split(escape(html.unescape(part)))):
                if index % 2:
                    timed.add_tag(OVERRIDES.sub(override_tags, piece))
                else:
                    timed.add_text(piece)
        elif stamp := _TIMESTAMP.fullmatch(part):
            timed.mark(milliseconds(stamp.groups()))
        elif not _TIMESTAMP_TAG.fullmatch(part):
            timed.add_tag(_CLASS_TAG.sub(r"<\1>", part))
    return timed.finish()


def _position(settings: str) -> int | None:
    """Return the nearest of the nine positions for the ``line`` and ``align`` of a WebVTT cue."""
    given = dict(part.split(":", 1) for part in settings.split() if ":" in part)
    column = {"start": 1, "left": 1, "end": 3, "right": 3}.get(given.get("align", ""))
    row = _row(given.get("line", "").partition(",")[0])
    if row is None and column is None:
        return None
    return (column or 2) + 3 * (row or 0)


def _row(line: str) -> int | None:
    """Return the third of the picture: 0 is the lower one, 2 the upper one."""
    # ``line`` is a percentage of the height from the top, or the number of a text line: 0 is the
    # top line of 15, and -1 the bottom one. It may be something else, such as ``auto``.
    match = re.fullmatch(r"(-?\d{1,3})(?:\.\d+)?(%?)", line)
    if match is None:
        return None
    number = int(match[1])
    if match[2]:
        return 2 if number <= 33 else 1 if number <= 66 else 0
    from_top = number if number >= 0 else 15 + number
    return 2 if from_top < 5 else 1 if from_top < 10 else 0
