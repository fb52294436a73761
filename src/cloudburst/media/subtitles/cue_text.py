"""Builder of a cue's text with the times of its words."""

from __future__ import annotations

from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles.cues import (
    MAX_CHARACTERS,
    MAX_WORDS,
    Word,
    check_number,
    timestamp,
)


def escape(text: str) -> str:
    """Return text in which nothing is read as a tag: a word joiner follows each ``<``."""
    return text.replace("<", "<\u2060")


class CueText:
    """Builder of a cue's text, from pieces of text, tags, and marks between words.

    A mark is the time at which the following text begins to be spoken; the times of text before the
    first one are not known. One that goes back in time, or beyond the cue, is moved to the nearest
    possible time.
    """

    def __init__(self, start: int, end: int) -> None:
        self._cue_start = start
        self._cue_end = end
        self._parts: list[str] = []
        self._length = 0
        self._shown = 0
        self._visible = False
        """True if there is a character other than a space so far."""
        self._words: list[Word] = []
        self._start: int | None = None  # time of the current word
        self._earliest = start
        self._first = self._last = -1  # first and last visible character of the current word

    def add_text(self, text: str) -> None:
        """Append text that is shown; raise `InvalidInputError` for too many characters."""
        self._shown += len(text)
        if self._shown > MAX_CHARACTERS:
            limit = f"{MAX_CHARACTERS:,} characters"
            found = f"a cue of more than {limit} at {timestamp(self._cue_start)}"
            raise InvalidInputError(found, f"at most {limit} in one cue", "too_large")
        bare = text.strip()
        if not self._visible:
            text = text.lstrip()
            self._visible = bool(bare)
        if bare:
            before = self._length + len(text) - len(text.lstrip())
            if self._first < 0:
                self._first = before
            self._last = before + len(bare)
        self._append(text)

    def add_tag(self, tag: str) -> None:
        """Append a tag, which has no effect on the extent of words."""
        self._append(tag)

    def mark(self, time: int) -> None:
        """End the current word at ``time``, in milliseconds, and begin the next one."""
        self._end_word(time)
        self._start = self._earliest

    def _end_word(self, time: int) -> None:
        now = min(max(time, self._earliest), self._cue_end)
        if self._start is not None and self._first >= 0 and self._start < now:
            self._words.append(Word(self._start, now, self._first, self._last))
            check_number(len(self._words), MAX_WORDS, "timed words")
        self._earliest = now
        self._first = self._last = -1

    def _append(self, part: str) -> None:
        self._parts.append(part)
        self._length += len(part)

    def finish(self) -> tuple[str, tuple[Word, ...]]:
        """Return the stripped text, and its words; the last one ends with the cue."""
        self._end_word(self._cue_end)
        return "".join(self._parts).rstrip() if self._visible else "", tuple(self._words)
