"""Reader of the times of words in JSON, as speech services and programs write them.

- ElevenLabs: ``alignment`` of characters (API reference, "Create speech with timing").
- Azure: events `SpeechSynthesisWordBoundaryEventArgs` (reference of the Speech SDK), and the word
  data file ``NNNN.word.json`` ("Batch synthesis API for text to speech").
- edge-tts: boundaries of `Communicate.stream`, a list or one in each line (`TTSChunk`, typing.py).
- Volcengine: ``addition.frontend`` and ``sentence`` of speech synthesis, and ``utterances`` of
  recognition (volcengine.com/docs/6561: 79823, 1598757, 1354868).
- Whisper: files of openai-whisper (`WriteJSON`, utils.py) and whisper.cpp (`output_json`, cli.cpp),
  answers of OpenAI ("Create transcription", verbose_json), segments of faster-whisper (`Segment`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import cast

from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles.cue_text import escape
from cloudburst.media.subtitles.cues import (
    FORMATS,
    MAX_WORDS,
    Cue,
    Subtitles,
    check_number,
    collect,
)
from cloudburst.media.subtitles.sentences import join_words, sentences

# Maximum number of objects and lists in a file, each of which takes up to 300 bytes of memory. A
# word has at most three of them.
_MAX_OBJECTS = 300_000
# Latest time, in milliseconds: later than the end of any video.
_LATEST = 100 * 3600 * 1000

_SECOND, _MILLISECOND, _TICK = 1000.0, 1.0, 0.0001
# Names of the fields for the text, the start, and the end or the duration, and the length of their
# unit in milliseconds.
_FORMATS = (
    ("word", "start", "end", _SECOND),  # words of Whisper
    ("text", "start", "end", _SECOND),  # segments of Whisper
    ("text", "from", "to", _MILLISECOND),  # whisper.cpp
    ("text", "start_time", "end_time", _MILLISECOND),  # recognition of Volcengine
    ("word", "start_time", "end_time", _SECOND),  # synthesis of Volcengine
    ("word", "startTime", "endTime", _SECOND),
    ("Text", "AudioOffset", "Duration", _MILLISECOND),  # batch synthesis of Azure
    ("text", "audioOffset", "duration", _TICK),  # events of Azure
    ("text", "audio_offset", "duration", _TICK),
    ("privText", "privAudioOffset", "privDuration", _TICK),
    ("text", "offset", "duration", _TICK),  # edge-tts
)
# Lists of characters, of their starts and of their ends in seconds.
_CHARACTERS = (
    ("characters", "character_start_times_seconds", "character_end_times_seconds"),
    ("characters", "characterStartTimesSeconds", "characterEndTimesSeconds"),
)
_VALUE = re.compile(r"\S")
_UNUSABLE = re.compile("[\0\ud800-\udfff]")


def parse(text: str) -> Subtitles:
    """Return the content of a file, which may be JSON or have JSON in each line."""
    try:
        passages = _passages(list(_values(text)))
    except RecursionError:
        raise InvalidInputError("JSON with too many levels", FORMATS) from None
    except json.JSONDecodeError as exc:
        found = f"JSON with an error in line {exc.lineno}, column {exc.colno}"
        raise InvalidInputError(found, FORMATS) from exc
    check_number(sum(len(words) for _, words in passages), MAX_WORDS, "timed words")
    if all(not text and len(words) == 1 for text, words in passages):
        cues = [cue for _, (cue,) in passages if cue.text.strip()]
        return Subtitles(collect(map(_stripped, join_words(cues))))
    if all(text == "".join(word.text for word in words) for text, words in passages):
        # Parts of one text, which may be divided in the middle of a word.
        whole = "".join(text for text, _ in passages)
        passages = [(whole, [word for _, words in passages for word in words])]
    return Subtitles(collect(sentences(passages)))


def _values(text: str) -> Iterator[object]:
    check_number(text.count("{") + text.count("["), _MAX_OBJECTS, "objects and lists")
    decoder = json.JSONDecoder(parse_int=float, strict=False)
    at = 0
    while start := _VALUE.search(text, at):
        value, at = decoder.raw_decode(text, start.start())
        yield value


def _stripped(cue: Cue) -> Cue:
    lines = filter(None, map(str.strip, cue.text.splitlines()))
    return cue if cue.words else cue._replace(text=escape("\n".join(lines)))


def _passages(value: object) -> list[tuple[str, list[Cue]]]:
    """Return the texts in a value of JSON, which may be empty, with their words."""
    if type(value) not in (dict, list):
        return []
    if items := _list(value):
        return [passage for item in items for passage in _passages(item)]
    fields = _fields(value)
    for names in _CHARACTERS:
        columns = [_list(fields.get(name)) for name in names]
        check_number(len(columns[0]), MAX_WORDS, "timed characters")
        rows = zip(*columns, strict=False)
        if words := _cues({"text": text, "start": at, "end": end} for text, at, end in rows):
            return [("".join(word.text for word in words), words)]
    words = _cues(_list(fields.get("words")) or _list(fields.get("tokens")))
    text = _usable(fields.get("text")) if words else ""
    if words := words or _cues([fields]):
        return [(text, words)]
    # Of several forms of the same words, the first one is read.
    for name, item in fields.items():
        if found := _passages(_unpacked(name, item)):
            return found
    return []


def _fields(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _unpacked(name: str, value: object) -> object:
    is_text = name == "frontend" and isinstance(value, str)  # JSON in a string
    return next(_values(str(value)), None) if is_text else value


def _cues(items: Iterable[object]) -> list[Cue]:
    return [cue for item in items if (fields := _fields(item)) and (cue := _cue(fields))]


def _cue(item: dict[str, object]) -> Cue | None:
    if offsets := _fields(item.get("offsets")):
        item = {**offsets, "text": item.get("text")}
    for name, first, last, unit in _FORMATS:
        text, start, end = item.get(name), item.get(first), item.get(last)
        if isinstance(text, str) and isinstance(start, float) and isinstance(end, float):
            end += start if "uration" in last else 0
            if not 0 <= start * unit <= end * unit <= _LATEST:  # nor for NaN
                return None
            begin = round(start * unit)
            return Cue(begin, max(begin + 1, round(end * unit)), _usable(text))
    return None


def _usable(text: object) -> str:
    return _UNUSABLE.sub("", text) if isinstance(text, str) else ""
