"""Reader of subtitle files in SubRip, WebVTT, SubStation, LRC and JSON form, with limits.

Client and render service read a file with the same functions. Its form is recognised from its
content. The readers are our own: pysubs2, the library for such files, reads neither LRC nor the
times and colours of words, ignores the order of fields that a file declares, and rejects a whole
file for a single invalid number. No I/O.
"""

from __future__ import annotations

import re

from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles.cues import (
    FORMATS,
    MAX_SUBTITLE_BYTES,
    Cue,
    Subtitles,
    Word,
    check_amount,
    check_starts,
    late_cues,
)

__all__ = [
    "FORMATS",
    "MAX_SUBTITLE_BYTES",
    "Cue",
    "Subtitles",
    "Word",
    "check_starts",
    "decode_text",
    "late_cues",
    "parse_subtitles",
    "read_subtitles",
]

# Name of a section with which a SubStation file begins.
_SUBSTATION = re.compile(
    r"\[(?:Script Info|V4\+? Styles|Events|Fonts|Graphics|Aegisub [^\]]*)\]", re.IGNORECASE
)
_JSON = re.compile(r'\s*(?:\{\s*["}]|\[\s*(?:[{\[\]"]|-?[\d.]+\s*,))')
_WEBVTT = re.compile(r"WEBVTT(?=\s|$)")
# Number of characters in which the first section of a SubStation file begins, after comments.
_MAX_PREAMBLE = 10_000
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_subtitles(data: bytes) -> Subtitles:
    """Return the content of a subtitle file.

    Parts of the file that are not cues are ignored. A file with one word in each cue has sentences
    with the times of their words instead. Raises `InvalidInputError` for a file that is
    not text, is too large, has no cues, or shows too much text at once.
    """
    if not data:
        raise InvalidInputError("an empty file", FORMATS)
    if len(data) > MAX_SUBTITLE_BYTES:
        limit = f"{MAX_SUBTITLE_BYTES // 1024**2} MB"
        raise InvalidInputError(f"more than {limit} of subtitles", f"at most {limit}", "too_large")
    text = decode_text(data)
    if text is None:
        raise InvalidInputError("text in another encoding", FORMATS)
    return parse_subtitles(text)


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


def parse_subtitles(text: str) -> Subtitles:
    """Return the content of a subtitle file from its text; see `read_subtitles`."""
    text = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    subtitles = _parse(text)
    if not subtitles.cues:
        raise _without_cues(text)
    check_amount(subtitles.cues)
    return subtitles


def _parse(text: str) -> Subtitles:
    if _SUBSTATION.match(_first_line(text[:_MAX_PREAMBLE])):
        from cloudburst.media.subtitles import substation  # noqa: PLC0415 - rarely needed

        return substation.parse(text)
    if _JSON.match(text):
        from cloudburst.media.subtitles import speech_json  # noqa: PLC0415 - rarely needed

        return speech_json.parse(text)
    from cloudburst.media.subtitles import subrip_webvtt  # noqa: PLC0415 - not without subtitles

    is_webvtt = _WEBVTT.match(text)
    subtitles = subrip_webvtt.parse_webvtt(text) if is_webvtt else subrip_webvtt.parse_subrip(text)
    if subtitles.cues:
        from cloudburst.media.subtitles.sentences import join_words  # noqa: PLC0415 - as above

        cues = join_words(subtitles.cues)
        return Subtitles(cues, subtitles.ignored, subtitles.subrip and cues is subtitles.cues)
    if "[" not in text:
        return subtitles
    from cloudburst.media.subtitles import lyrics  # noqa: PLC0415 - rarely needed

    return lyrics.parse(text)


def _first_line(text: str) -> str:
    lines = (line.strip() for line in text.split("\n"))
    return next((line for line in lines if line and line[0] not in ";!"), "")


def _without_cues(text: str) -> InvalidInputError:
    start = text.strip()[:1000]
    if not start:
        return InvalidInputError("no text", f"{FORMATS}, or no subtitle at all")
    for pattern, name in (
        (r'\{"time":.*"type":', "speech marks of Amazon Polly without any of a word or sentence"),
        (_JSON.pattern, "JSON without any word or line that has a start and an end"),
        (r"\[Script Info\]", "a SubStation file without any line of dialogue that is shown"),
        (r"(?:<\?xml[^>]*>\s*)?<tt[\s:>]", "subtitles in TTML form"),
        (r"<SAMI>", "subtitles in SAMI form"),
        (r"\{\d+\}\{\d+\}", "subtitles in MicroDVD (.sub) form"),
        (r"\[\w+:", "an LRC file without any line that has a time and text"),
        (r"\d+:\d\d:\d\d\.\d+,\d+:\d\d:\d\d\.\d+\s", "subtitles in SBV form"),
    ):
        if re.match(pattern, start, re.IGNORECASE):
            return InvalidInputError(name, FORMATS, "wrong_type")
    found = "text without any line of timing that has text below it"
    return InvalidInputError(found, "lines like 00:00:01,000 --> 00:00:02,500, and text below them")
