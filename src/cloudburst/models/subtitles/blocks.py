"""Reader of subtitle files in SubRip (.srt) and WebVTT (.vtt) form: blocks of text below times."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from itertools import islice

from cloudburst.models.input_error import InvalidInputError
from cloudburst.models.subtitles.cues import MAX_CUES, Cue, Subtitles, Word, collect
from cloudburst.models.subtitles.overrides import Ignored, add_ignored
from cloudburst.models.subtitles.timed_text import TimedText, escape

_STAMP = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})(?:[,.](\d{1,3}))?"
_TIMING_LINE = re.compile(rf"\s*{_STAMP}\s*-->\s*{_STAMP}(?:\s+(.*))?")
_WEBVTT = re.compile(r"WEBVTT(?=\s|$)")
_TAG = re.compile(r"(<[^<>]*>)")
_CLASS_TAG = re.compile(r"<([ibu])\.[^<>]*>", re.IGNORECASE)
_TIMESTAMP_TAG = re.compile(r"<[\d:.]+>")
_TIMESTAMP = re.compile(rf"<{_STAMP}>")
_OVERRIDES = re.compile(r"(\{\\[^{}\n]*\})")
_OVERRIDE_STYLE = re.compile(
    r"\\(?:([ibus])([01])|1?c(?:&H([0-9a-f]{6})&?)?)(?=[\\}])", re.IGNORECASE
)
_POSITION = re.compile(r"\\an([1-9])")


def parse(text: str) -> Subtitles:
    """Return the content of a file in SubRip or WebVTT form; without cues if it has another form.

    Lines end with a newline.
    """
    webvtt = bool(_WEBVTT.match(text))
    ignored: Ignored = {}
    cues = collect(_cues(text.split("\n"), ignored, webvtt=webvtt))
    return Subtitles(cues, tuple(ignored), subrip=not webvtt)


def _cues(lines: Sequence[str], ignored: Ignored, *, webvtt: bool) -> Iterator[Cue]:
    timings = (
        (row, match)
        for row, line in enumerate(lines)
        if "-->" in line and (match := _TIMING_LINE.fullmatch(line))
    )
    heads = list(islice(timings, MAX_CUES + 1))
    if len(heads) > MAX_CUES:
        raise InvalidInputError(f"more than {MAX_CUES:,} cues", f"at most {MAX_CUES:,} cues")
    ends = [row for row, _ in heads[1:]] + [len(lines)]
    for (row, match), end in zip(heads, ends, strict=False):
        body = _body(lines, row + 1, end)
        position = _webvtt_position(match[9] or "") if webvtt else None
        start, stop = _milliseconds(match.groups()[:4]), _milliseconds(match.groups()[4:8])
        overrides = _OVERRIDES.findall(body)
        for group in overrides:
            add_ignored(group, ignored)
        for group in overrides:
            if asked := _POSITION.search(group):
                position = int(asked[1])
                break
        if start < stop:
            text, words = _webvtt_text(body, start, stop) if webvtt else (_subrip_text(body), ())
            if text and _OVERRIDES.sub("", body).strip():
                yield Cue(start, stop, text, position, words)


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


def _subrip_text(body: str) -> str:
    r"""Return the text of a SubRip cue in the form of `Cue.text`.

    ``\N`` is a line break, and ``\h`` a space at which no line is broken.
    """
    body = body.replace("\\N", "\n").replace("\\h", "\u00a0")
    return _OVERRIDES.sub(_tags, body).strip()


def _webvtt_text(body: str, start: int, end: int) -> tuple[str, tuple[Word, ...]]:
    """Return the text of a WebVTT cue in the form of `Cue.text`, and its words.

    Character references such as ``&amp;`` are resolved, and classes in tags are removed. Tags with
    a timestamp divide the text into words.
    """
    parts = _TAG.split(body)
    if not any(map(_TIMESTAMP_TAG.fullmatch, parts[1::2])):
        parts[::2] = [escape(html.unescape(part)) for part in parts[::2]]
        parts[1::2] = [_CLASS_TAG.sub(r"<\1>", part) for part in parts[1::2]]
        return _OVERRIDES.sub(_tags, "".join(parts)).strip(), ()
    timed = TimedText(start, end)
    timed.mark(start)
    for place, part in enumerate(parts):
        if place % 2 == 0:
            for index, piece in enumerate(_OVERRIDES.split(escape(html.unescape(part)))):
                if index % 2:
                    timed.add_tag(_OVERRIDES.sub(_tags, piece))
                else:
                    timed.add_text(piece)
        elif stamp := _TIMESTAMP.fullmatch(part):
            timed.mark(_milliseconds(stamp.groups()))
        elif not _TIMESTAMP_TAG.fullmatch(part):
            timed.add_tag(_CLASS_TAG.sub(r"<\1>", part))
    return timed.finish()


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
