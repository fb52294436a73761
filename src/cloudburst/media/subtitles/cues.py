"""Timed texts of a subtitle file, and their limits. No I/O."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from cloudburst.media.input_error import InvalidInputError

# Services and programs whose times of words are read; docs/looks/subtitles.md says which files.
WORD_TIMES = (
    "Amazon Polly and Transcribe, AssemblyAI, Azure, Cartesia, CosyVoice, Deepgram, edge-tts, "
    "ElevenLabs, FunASR, Google, Huawei, Kokoro, MiniMax, Tencent, Volcengine, Whisper, WhisperX"
)
FORMATS = (
    "subtitles in SubRip (.srt), WebVTT (.vtt), SubStation (.ass, .ssa) or LRC (.lrc) form, or "
    f"JSON with times of words ({WORD_TIMES}), in UTF-8, UTF-16 or GB 18030"
)

# Maximum size of a subtitle file, in bytes. The subtitles of a feature film have about 100 KB.
MAX_SUBTITLE_BYTES = 8 * 1024 * 1024
# Maximum number of cues (timed texts) in a file; a feature film has about 1,500.
MAX_CUES = 10_000
# Maximum number of characters in one cue. A landscape video has room for 350 in the default font
# size.
MAX_CHARACTERS = 2_000
# Maximum number of cues that are shown within the same second.
MAX_AT_ONCE = 50
# Maximum number of characters, over all cues, that are shown within the same second.
MAX_CHARACTERS_AT_ONCE = 2_000
# Maximum number of timed words in a file, which take about 20 MB of memory. People speak or sing
# at most 400 a minute, so they last for four hours.
MAX_WORDS = 100_000

# End of a text that is shown until the video ends, in milliseconds: later than that of any video.
LAST_END = (100 * 3600 - 1) * 1000

# Punctuation at the end of a sentence, and of a part of one, in all scripts.
SENTENCE_ENDS = ".!?…。！？．｡؟۔।॥။។"
CLAUSE_ENDS = ",;:，、；：､،؛—–"


class Word(NamedTuple):
    """Part of a cue's text with the time in which it is spoken or sung: a word or a syllable."""

    start: int
    """Milliseconds from the start of the video."""
    end: int
    """Milliseconds from the start of the video; later than `start`."""
    first: int
    """Index of the first character of the word in `Cue.text`."""
    last: int
    """Index after the last character of the word. Neither the first nor the last one is a space or
    a part of a tag; there may be tags between them."""


class Cue(NamedTuple):
    """Subtitle text with the time in which it is shown."""

    start: int
    """Milliseconds from the start of the video at which the text appears."""
    end: int
    """Milliseconds from the start of the video at which it disappears."""
    text: str
    """Text of the cue, with newlines between its lines. The tags ``<i>``, ``<b>``, ``<u>`` and
    ``<s>`` in it stand for italic, bold, underlined and struck through, and ``<font color="…">``
    for a colour."""
    position: int | None = None
    """Position in the picture as on a numeric keypad: 1 to 3 at the bottom, 4 to 6 in the middle, 7
    to 9 at the top; 1, 4 and 7 on the left. ``None``: the position that the render options set."""
    words: tuple[Word, ...] = ()
    """Words of the text whose times are known, in the order of the text. A word does not begin
    before the previous one has ended, and all of them lie within the time of the cue."""


def with_capitals(cue: Cue) -> Cue:
    """Return a cue in capital letters, of which a letter may have several, such as ``SS``."""
    letters = [letter.upper() for letter in cue.text]
    places = [0, *accumulate(map(len, letters))]
    words = (word._replace(first=places[word.first], last=places[word.last]) for word in cue.words)
    return cue._replace(text="".join(letters), words=tuple(words))


class Subtitles(NamedTuple):
    """Content of a subtitle file."""

    cues: list[Cue]
    """Cues in the order of the file."""
    ignored: tuple[str, ...] = ()
    """Features of the file that have no effect on the video, such as ``\\pos``; each name once."""
    subrip: bool = False
    """True if the file is in SubRip form and has these cues."""


def check_amount(cues: Sequence[Cue]) -> None:
    """Raise `InvalidInputError` if there is too much text, in a cue or at once."""
    for cue in cues:
        if len(cue.text) > MAX_CHARACTERS:
            found = f"a cue of {len(cue.text):,} characters at {timestamp(cue.start)}"
            expected = f"at most {MAX_CHARACTERS:,} characters in one cue"
            raise InvalidInputError(found, expected, "too_large")
    most, moment = _peak((cue, 1) for cue in cues)
    if most > MAX_AT_ONCE:
        found = f"{most:,} cues at once at {timestamp(moment)}"
        raise InvalidInputError(found, f"at most {MAX_AT_ONCE} cues at once", "too_large")
    most, moment = _peak((cue, len(cue.text)) for cue in cues)
    if most > MAX_CHARACTERS_AT_ONCE:
        found = f"{most:,} characters at once at {timestamp(moment)}"
        expected = f"at most {MAX_CHARACTERS_AT_ONCE:,} characters at once"
        raise InvalidInputError(found, expected, "too_large")


def late_cues(starts: Sequence[int], seconds: float) -> str:
    """Return a note about the cues that begin after the end of a video; empty if none does.

    ``starts`` are those of all cues, sorted, in milliseconds.
    """
    late = len(starts) - bisect_left(starts, 1000 * seconds)
    return f"{late} of {len(starts)} cues begin after the end, {seconds:.1f} s" if late else ""


def check_starts(starts: Sequence[int], seconds: float | None) -> None:
    """Raise `InvalidInputError` if every cue begins after the end, if it is known: see `late_cues`.

    ``None`` and 0 are unknown.
    """
    if seconds and starts and starts[0] >= 1000 * seconds:
        expected = "times from the start of the sound, in the unit of their format"
        raise InvalidInputError(late_cues(starts, seconds), expected, "out_of_range")


def collect(cues: Iterable[Cue]) -> list[Cue]:
    """Return a list of cues; raise `InvalidInputError` for too many cues, or too many words."""
    found: list[Cue] = []
    words = 0
    for cue in cues:
        found.append(cue)
        words += len(cue.words)
        check_number(len(found), MAX_CUES, "cues")
        check_number(words, MAX_WORDS, "timed words")
    return found


def check_number(count: int, limit: int, name: str) -> None:
    """Raise `InvalidInputError` if a file has more of something, in the plural, than the limit."""
    if count > limit:
        found, expected = f"more than {limit:,} {name}", f"at most {limit:,} {name}"
        raise InvalidInputError(found, expected, "too_large")


def _peak(weighted: Iterable[tuple[Cue, int]]) -> tuple[int, int]:
    # A cue that is shown for less than a second counts for one second, because drawing many short
    # texts in a row takes as much work as drawing all of them at once.
    changes: list[tuple[int, int]] = []
    for cue, weight in weighted:
        changes += ((cue.start, weight), (max(cue.end, cue.start + 1000), -weight))
    shown = most = moment = 0
    for at, change in sorted(changes):  # at the same time, cues that end come first
        shown += change
        if shown > most:
            most, moment = shown, at
    return most, moment


def timestamp(milliseconds: int) -> str:
    """Return a time in the form of SubRip, such as ``00:01:02,345``."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d},{rest:03d}"


def milliseconds(parts: Sequence[str | None]) -> int:
    """Return the time with these hours, minutes, seconds and decimals."""
    hours, minutes, seconds, fraction = parts
    whole = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    return whole * 1000 + int((fraction or "0").ljust(3, "0"))
