"""Blocks of text below times, of which files in SubRip and WebVTT form consist."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias

from cloudburst.media.subtitles.cues import (
    MAX_CUES,
    Cue,
    Subtitles,
    Word,
    check_number,
    collect,
    milliseconds,
)

STAMP = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})(?:[,.](\d{1,3}))?"
"""Pattern of a time, with groups for `milliseconds`."""
OVERRIDES = re.compile(r"(\{\\[^{}\n]*\})")
"""Pattern of a group of override tags, such as ``{\\an8}``."""

_TIMING_LINE = re.compile(rf"\s*{STAMP}\s*-->\s*{STAMP}(?:\s+(.*))?")
_OVERRIDE_STYLE = re.compile(
    r"\\(?:([ibus])([01])|1?c(?:&H([0-9a-f]{6})&?)?)(?=[\\}])", re.IGNORECASE
)
_POSITION = re.compile(r"\\an([1-9])")


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


Reader: TypeAlias = Callable[[Block], tuple[str, tuple[Word, ...], int | None]]
"""Function that returns the text of a block in the form of `Cue.text`, its words, and its position
without that in override tags."""


def parse_blocks(text: str, read: Reader, *, is_subrip: bool) -> Subtitles:
    """Return the content of a file; without cues if it has no blocks of text below times.

    Args:
        text: Content of the file, whose lines end with a newline.
        read: Function that reads the blocks.
        is_subrip: True if the file is in SubRip form.
    """
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
    """Return the names of the override tags in blocks that have no effect on the video."""
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
