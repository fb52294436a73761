"""Reader of subtitles in WebVTT form (.vtt), with times of words and positions of cues."""

from __future__ import annotations

import html
import re

from cloudburst.media.subtitles.blocks import (
    OVERRIDES,
    STAMP,
    Block,
    override_tags,
    parse_blocks,
)
from cloudburst.media.subtitles.cues import Subtitles, Word, milliseconds
from cloudburst.media.subtitles.timed_text import TimedText, escape

_TAG = re.compile(r"(<[^<>]*>)")
_CLASS_TAG = re.compile(r"<([ibu])\.[^<>]*>", re.IGNORECASE)
_TIMESTAMP_TAG = re.compile(r"<[\d:.]+>")
_TIMESTAMP = re.compile(rf"<{STAMP}>")


def parse(text: str) -> Subtitles:
    """Return the content of a file in WebVTT form. Lines end with a newline."""
    return parse_blocks(text, _read_block, is_subrip=False)


def _read_block(block: Block) -> tuple[str, tuple[Word, ...], int | None]:
    """Return text, words and position of a cue; see `cloudburst.media.subtitles.blocks.Reader`."""
    text, words = _text(block.body, block.start, block.end)
    return text, words, _position(block.settings)


def _text(body: str, start: int, end: int) -> tuple[str, tuple[Word, ...]]:
    """Return the text of a WebVTT cue in the form of `Cue.text`, and its words.

    Character references such as ``&amp;`` are resolved, and classes in tags are removed. Tags with
    a timestamp divide the text into words.
    """
    parts = _TAG.split(body)
    if not any(map(_TIMESTAMP_TAG.fullmatch, parts[1::2])):
        parts[::2] = [escape(html.unescape(part)) for part in parts[::2]]
        parts[1::2] = [_CLASS_TAG.sub(r"<\1>", part) for part in parts[1::2]]
        return OVERRIDES.sub(override_tags, "".join(parts)).strip(), ()
    timed = TimedText(start, end)
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
    """Return the nearest of the nine positions for the ``line`` and ``align`` of a WebVTT cue.

    Return ``None`` for a cue with neither of them.
    """
    given = dict(part.split(":", 1) for part in settings.split() if ":" in part)
    column = {"start": 1, "left": 1, "end": 3, "right": 3}.get(given.get("align", ""))
    row = _row(given.get("line", "").partition(",")[0])
    if row is None and column is None:
        return None
    return (column or 2) + 3 * (row or 0)


def _row(line: str) -> int | None:
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
