"""Reader of lyrics in LRC form (.lrc), also with the times of words.

A line is shown until the next one begins, and the last one until the end of the video. A line
without text ends the line before it. Lines with the same time, such as a translation, are shown
together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from cloudburst.media.subtitles.cue_text import CueText, escape
from cloudburst.media.subtitles.cues import (
    LAST_END,
    MAX_CHARACTERS,
    MAX_CUES,
    MAX_WORDS,
    Cue,
    Subtitles,
    Word,
    check_number,
    collect,
    milliseconds,
)

# Maximum length of a line of the file with the times of its words, as a multiple of its text.
_MAX_STAMPED = 20

_STAMP = r"\s*(\d{1,3}):(\d{1,2})(?:[.:](\d{1,3}))?\s*"
_LINE = re.compile(r"^[^\S\n]*(\[[^\n]*)", re.MULTILINE)
_LINE_STAMP = re.compile(rf"\s*\[{_STAMP}\]")
_WORD_STAMP = re.compile(rf"[<\[]{_STAMP}[>\]]")
_OFFSET = re.compile(r"\[offset:\s*([+-]?\d{1,9})\s*\]", re.IGNORECASE)


class _LyricsLine(NamedTuple):
    start: int
    pieces: tuple[str, ...]
    """Texts of the words; the first one is the text before the first time of a word."""
    times: tuple[int, ...]
    """Times of the other pieces, after the start of the line."""

    @property
    def text(self) -> str:
        """Text of the line without times; empty if nothing is shown."""
        return "".join(self.pieces).strip()


def parse(text: str) -> Subtitles:
    """Return the content of a file in LRC form; without cues if it has another form."""
    offset = 0
    lines: list[_LyricsLine] = []
    words = 0
    for match in _LINE.finditer(text):
        if given := _OFFSET.match(match[1]):
            offset = int(given[1])
        for line in _lines(match[1]):
            lines.append(line)
            words += len(line.times)
            check_number(len(lines), MAX_CUES, "lines")
            check_number(words, MAX_WORDS, "timed words")
    lines.sort(key=attrgetter("start"))
    return Subtitles(collect(_cues(lines, offset)))


def _lines(source: str) -> Iterator[_LyricsLine]:
    starts, place = list[int](), 0
    while stamp := _LINE_STAMP.match(source, place):
        starts.append(milliseconds((None, *stamp.groups())))
        place = stamp.end()
        check_number(len(starts), MAX_CUES, "lines")
    if not starts:
        return
    check_number((len(source) - place) // _MAX_STAMPED, MAX_CHARACTERS, "characters in a line")
    first, *parts = _WORD_STAMP.split(source[place:])
    pieces = (first, *parts[3::4])
    check_number(sum(map(len, pieces)), MAX_CHARACTERS, "characters in a line")
    stamps = zip(parts[::4], parts[1::4], parts[2::4], strict=True)
    times = tuple(milliseconds((None, *stamp)) - starts[0] for stamp in stamps)
    for start in starts:
        yield _LyricsLine(start, pieces, times)


def _cues(lines: Sequence[_LyricsLine], offset: int) -> Iterator[Cue]:
    """Yield the cues of lines that are sorted; a positive offset moves them to earlier times."""
    groups = [list(group) for _, group in groupby(lines, attrgetter("start"))]
    ends = [group[0].start - offset for group in groups[1:]]
    if groups:
        ends.append(_end_of_last(groups[-1], offset))
    for group, end in zip(groups, ends, strict=True):
        start = max(0, group[0].start - offset)
        shown = [line for line in group if line.text]
        if shown and start < end:
            text, words = _timed_text(shown, offset, start, end)
            yield Cue(start, end, text, words=words)


def _end_of_last(group: Sequence[_LyricsLine], offset: int) -> int:
    """Return the time at which the last lines end: that of a last word without text, if any."""
    ends = (line.start + line.times[-1] - offset for line in group if _has_end(line))
    return max(ends, default=LAST_END)


def _has_end(line: _LyricsLine) -> bool:
    return bool(line.times) and not line.pieces[-1].strip()


def _timed_text(
    lines: Sequence[_LyricsLine], offset: int, start: int, end: int
) -> tuple[str, tuple[Word, ...]]:
    timed = CueText(start, end)
    for row, line in enumerate(lines):
        if row:
            timed.mark(end)  # the next line is not a part of the last word
            timed.add_text("\n")
        first, *others = line.pieces
        if line.times and first.strip():
            timed.mark(start)
        timed.add_text(escape(first.lstrip()))
        spaced = not first.strip() or first[-1].isspace()
        for time, piece in zip(line.times, others, strict=True):
            timed.mark(line.start + time - offset)
            timed.add_text(escape(piece.lstrip() if spaced else piece))
            spaced = piece[-1].isspace() if piece else spaced
    return timed.finish()
