"""Reader of the times of words in JSON, as speech services and programs write them.

Their documents, as of 2026-12:

- Amazon Polly: "Speech mark output", with visemes if asked for; Amazon Transcribe: "Data input and
  output", items of which punctuation has no time.
- AssemblyAI ("Get transcript") and Deepgram ("Pre-recorded audio").
- Azure: events `SpeechSynthesisWordBoundaryEventArgs` and detailed results (reference of the Speech
  SDK), the word data file ``NNNN.word.json`` ("Batch synthesis API for text to speech"), "Get batch
  transcription results" and "Use the fast transcription API".
- Cartesia: "SSE with Word Timestamps". ElevenLabs: ``alignment`` of characters ("Create speech with
  timing") and words of "Create transcript". Kokoro-FastAPI: ``timestamps`` of captioned speech.
- CosyVoice and Paraformer of DashScope: ``words`` of a sentence, of which an event may repeat those
  of the events before it (help.aliyun.com/zh/model-studio).
- edge-tts: boundaries of `Communicate.stream`, a list or one in each line (`TTSChunk`, typing.py).
- FunASR: ``text`` and ``timestamp`` of `AutoModel.generate`, a pair for each word or character.
- Google: `WordInfo` of Speech-to-Text v1 and v2, which leaves out an offset of zero, and
  `Timepoint` of Text-to-Speech v1beta1.
- Huawei Cloud ("Timestamp Data") and Tencent Cloud ("Subtitle") of speech synthesis.
- MiniMax: the file that ``subtitle_file`` of "T2A v2" names.
- Volcengine: ``addition.frontend`` and ``sentence`` of speech synthesis, and ``utterances`` of
  recognition (volcengine.com/docs/6561: 79823, 1598757, 1354868).
- Whisper: files of openai-whisper (`WriteJSON`, utils.py), WhisperX and whisper.cpp (`output_json`,
  cli.cpp), answers of OpenAI ("Create transcription", verbose_json), segments of faster-whisper.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import cast

from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles.cue_text import escape
from cloudburst.media.subtitles.cues import (
    FORMATS,
    LAST_END,
    MAX_WORDS,
    Cue,
    Subtitles,
    check_number,
    collect,
    timestamp,
)
from cloudburst.media.subtitles.sentences import join_words, sentences

# Maximum number of objects and lists in a file, each of which takes up to 300 bytes of memory. A
# word has one to five of them.
_MAX_OBJECTS = 300_000
# Length of a word without times that has no neighbour on one side, in milliseconds: people speak
# about 200 words a minute.
_WORD_LENGTH = 300
# A word may begin this many milliseconds before the previous one: recognition is inexact.
_MAX_STEP_BACK = 1_000

_Passages = list[tuple[str, list[Cue]]]
_Timed = tuple[str, float | None, float | None]  # text, start and end in milliseconds
_Format = tuple[str, str, str, float]

_SECOND, _MILLISECOND, _TICK = 1000.0, 1.0, 0.0001
# Names of the fields for the text, the start, and the end or the duration, as `_object` spells
# them; milliseconds in the unit of times that are numbers. Without an end, a text lasts until the
# next one begins.
_FORMATS: Sequence[_Format] = (
    ("punctuatedword", "start", "end", _SECOND),  # Deepgram
    ("word", "start", "end", _SECOND),  # words of Whisper
    ("text", "start", "end", _SECOND),  # segments of Whisper; see _MILLISECOND_FIELDS
    ("text", "from", "to", _MILLISECOND),  # whisper.cpp
    ("text", "starttime", "endtime", _MILLISECOND),  # recognition of Volcengine; Huawei
    ("word", "starttime", "endtime", _SECOND),  # synthesis of Volcengine, Kokoro, Google
    ("word", "startoffset", "endoffset", _SECOND),  # Google
    ("markname", "timeseconds", "", _SECOND),  # Google, text to speech
    ("alternatives", "starttime", "endtime", _SECOND),  # Amazon Transcribe
    ("text", "begintime", "endtime", _MILLISECOND),  # DashScope, Tencent
    *((name, "timebegin", "timeend", _MILLISECOND) for name in ("word", "text")),  # MiniMax
    ("text", "AudioOffset", "duration", _MILLISECOND),  # batch synthesis of Azure
    ("text", "audiooffset", "duration", _TICK),  # events of Azure
    # Transcription of Azure, detailed results of its SDK, and edge-tts.
    *((name, "offsetinticks", "durationinticks", _TICK) for name in ("displaytext", "word")),
    ("text", "offsetmilliseconds", "durationmilliseconds", _MILLISECOND),
    *((name, "offset", "duration", _TICK) for name in ("displaytext", "word", "text")),
    ("value", "time", "", _MILLISECOND),  # Amazon Polly
)
# Formats by a time that they are known by: the start, or else the end.
_KNOWN = [
    (name, form) for n in (0, 1) for form in _FORMATS if "duration" not in (name := form[1:3][n])
]
# Names of lists of words, of which a text may have several, and names of such a text.
_WORDS = ("displaywords", "words", "timestampedwords", "tokens")
_TEXTS = ("text", "transcript", "display")
# Names of lists of words or characters, of their starts and of their ends in seconds.
_COLUMNS = (
    ("characters", "characterstarttimesseconds", "characterendtimesseconds"),
    ("words", "start", "end"),  # Cartesia
)
# Fields of a text that AssemblyAI or FunASR wrote, with times in whole milliseconds.
_MILLISECOND_FIELDS = {"confidence", "timestamp", "spk"}
# A duration of ISO 8601 ("PT0.7S"), Google ("0.700s") or Python ("0:00:00.700000"), or seconds.
_DURATION = re.compile(
    r"(?=.*\d)(?:PT)?(?:(\d+)(?:H|:(?=\d+:)))?(?:(\d+)[M:])?(\d+(?:\.\d+)?|)[sS]?"
)
# Words and Chinese characters to which FunASR gives times: all but punctuation.
_SPOKEN = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+(?:['’-][^\W_\u3400-\u9fff]+)*")
_VALUE = re.compile(r"\S")
_UNUSABLE = re.compile("[\0\ud800-\udfff]")


def parse(text: str) -> Subtitles:
    """Return the content of a file, which may be JSON or have JSON in each line."""
    try:
        passages = _without_repeats(_passages(list(_values(text))))
    except RecursionError:
        raise InvalidInputError("JSON with too many levels", FORMATS) from None
    except json.JSONDecodeError as exc:
        found = f"JSON with an error in line {exc.lineno}, column {exc.colno}"
        raise InvalidInputError(found, FORMATS) from exc
    check_number(sum(len(words) for _, words in passages), MAX_WORDS, "timed words")
    passages.sort(key=lambda passage: passage[1][0].start)
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
    decoder = json.JSONDecoder(object_pairs_hook=_object, parse_int=_number, strict=False)
    at = 0
    while start := _VALUE.search(text, at):
        if start[0] not in "{[":
            raise json.JSONDecodeError("", text, start.start())
        value, at = decoder.raw_decode(text, start.start())
        yield value


def _object(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    """Return an object whose names have one spelling, for example of ``startTime``."""
    fields = dict[str, object]()
    for name, value in pairs:
        # "AudioOffset" has another unit than "audioOffset".
        other = name.removeprefix("priv").replace("_", "").lower()
        plain = name if name == "AudioOffset" else other
        if plain in ("alternatives", "nbest"):  # versions of the same text, the best one first
            fields[plain] = _list(value)[:1]
        elif plain in ("frontend", "timestamp") and isinstance(value, str) and value[:1] in "[{":
            fields[plain] = next(_values(value), None)  # JSON in a string
        else:
            fields[plain] = value
    offsets = _fields(fields.get("offsets"))  # whisper.cpp
    fields.update((name, offsets[name]) for name in ("from", "to") if name in offsets)
    return fields


def _number(digits: str) -> float:
    return int(digits) if len(digits) < 16 else float(digits)


def _without_repeats(passages: _Passages) -> _Passages:
    """Return the passages but those of which a later one has all words again."""
    found: list[tuple[set[Cue], tuple[str, list[Cue]]]] = []
    for passage in passages:
        words = set(passage[1])
        while found and found[-1][0] <= words:
            found.pop()
        found.append((words, passage))
    return [passage for _, passage in found]


def _stripped(cue: Cue) -> Cue:
    lines = filter(None, map(str.strip, cue.text.splitlines()))
    return cue if cue.words else cue._replace(text=escape("\n".join(lines)))


def _passages(values: Sequence[object]) -> _Passages:
    """Return the texts in values of JSON, which may be empty, with their words."""
    if marks := [mark for mark in map(_fields, values) if mark.keys() >= {"type", "value", "time"}]:
        return _sentences_of_marks(marks)
    values = [value for value in values if type(value) in (dict, list)]
    inner = [_inner_passages(value) for value in values]
    single = _cues(value for value, found in zip(values, inner, strict=True) if not found)
    return [*chain.from_iterable(inner), *(("", [cue]) for cue in single)]


def _inner_passages(value: object) -> _Passages:
    """Return the texts in a value; nothing if it is a timed text without words."""
    if items := _list(value):
        return _passages(items)
    fields = _fields(value)
    if {dict, list}.isdisjoint(map(type, fields.values())):
        return []  # fast: most objects
    for text, rows in _lists_of_words(fields):
        if words := _cues(rows):
            return [(text, words)]
    if _format(fields) and "nbest" not in fields:
        return []  # a text without words
    # Of several forms of the same words, the first one is read.
    for item in fields.values():
        if found := _passages([item]):
            whole = _usable(fields.get("originaltext"))  # DashScope
            return [(whole, found[0][1])] if whole and len(found) == 1 else found
    return []


def _lists_of_words(fields: dict[str, object]) -> Iterator[tuple[str, Iterable[object]]]:
    """Yield the lists in an object that may be words, the best one first, and their text."""
    for names in _COLUMNS:
        if all(columns := [_list(fields.get(name)) for name in names]):
            check_number(len(columns[0]), MAX_WORDS, "timed words and characters")
            text = "".join(map(_usable, columns[0])) if names[0] == "characters" else ""
            rows = zip(*columns, strict=False)
            yield text, ({"word": word, "start": at, "end": end} for word, at, end in rows)
    text = next(filter(None, (_usable(fields.get(name)) for name in _TEXTS)), "")
    if pairs := [_list(pair) for pair in _list(fields.get("timestamp"))]:
        spoken = _list(fields.get("words")) or _SPOKEN.findall(text)  # FunASR
        if len(pairs) == len(spoken) and all(pairs):
            rows = zip(spoken, pairs, strict=True)
            yield text, ({"text": word, "from": pair[0], "to": pair[-1]} for word, pair in rows)
    yield from ((text, _list(fields[name])) for name in _WORDS if name in fields)
    yield "", (item for item in _list(fields.get("items")) if "alternatives" in _fields(item))


def _sentences_of_marks(marks: Iterable[dict[str, object]]) -> _Passages:
    """Return the sentences of Amazon Polly; a word ends where the next mark, or silence, begins."""
    ends = (it for it in marks if it["type"] in ("sentence", "word") or it["value"] == "sil")
    valid = [mark for mark in ends if _cues([mark])]
    timed = list(zip(valid, _cues(valid), strict=True))
    passages: _Passages = [("", [])]
    for mark, cue in timed:
        if mark["type"] == "sentence":
            passages.append((cue.text, []))
        elif mark["type"] == "word":
            passages[-1][1].append(cue)
    lines: _Passages = [("", [cue]) for mark, cue in timed if mark["type"] == "sentence"]
    return [passage for passage in passages if passage[1]] or lines


def _fields(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _cues(items: Iterable[object]) -> list[Cue]:
    """Return the timed texts in a list, of which some may have no start or no end."""
    objects = [fields for item in items if (fields := _fields(item))]
    own = [_format(fields) for fields in objects]
    usual = next(filter(None, own), None)
    if usual is None:
        return []
    whole = (one.keys() & _MILLISECOND_FIELDS and type(one.get("end")) is int for one in objects)
    in_milliseconds = usual[:3] == ("text", "start", "end") and all(whole)
    timed: list[_Timed] = []
    for fields, form in zip(objects, own, strict=True):
        name, first, last, unit = form or usual
        unit = _MILLISECOND if in_milliseconds else unit
        start, end = _time(fields.get(first), unit), _time(fields.get(last), unit)
        if end is not None and not timed:
            start = start or 0.0  # Google leaves out zero
        if end is not None and "duration" in last:
            end += start or 0.0
        text, known = _text(fields, name), [at for at in (start, end) if at is not None]
        if text and all(0 <= at <= LAST_END for at in known) and known == sorted(known):
            timed.append((text, start, end))
    # The client names the marks of Google, whose answer does not have the text.
    if "ark" in usual[0] and all(re.fullmatch(r"\D{0,5}\d+", text) for text, _, _ in timed):
        expected = 'marks with the next word as name, such as <mark name="Hello"/>'
        raise InvalidInputError("marks that are named by numbers", expected)
    cues = [
        Cue(begin := round(start), max(begin + 1, round(end)), _usable(text))
        for text, start, end in _filled(timed, has_ends=bool(usual[2]))
    ]
    for before, cue in pairwise(cues):
        if cue.start < before.start - _MAX_STEP_BACK:
            found = f"a word at {timestamp(cue.start)} after one at {timestamp(before.start)}"
            raise InvalidInputError(found, "words in the order in which they are spoken")
    return cues


def _format(fields: dict[str, object]) -> _Format | None:
    known = (form for name, form in _KNOWN if fields.get(name) is not None)
    return next((form for form in known if _text(fields, form[0])), None)


def _text(fields: dict[str, object], name: str) -> str:
    versions = _list(fields.get(name))  # Amazon Transcribe
    text = _fields(versions[0]).get("content") if versions else fields.get(name)
    return text if isinstance(text, str) else ""


def _time(value: object, unit: float) -> float | None:
    """Return a time in milliseconds: ``None`` for none, not a number for an impossible one."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value * unit
    if isinstance(value, str) and (found := _DURATION.fullmatch(value)):
        hours, minutes, seconds = (float(part or 0) for part in found.groups())
        return ((hours * 60 + minutes) * 60 + seconds) * _SECOND
    if fields := _fields(value):  # Google
        parts = (("seconds", _SECOND), ("nanos", 1e-6))
        return sum(_time(fields.get(name), unit) or 0.0 for name, unit in parts)
    return math.nan


def _filled(timed: Sequence[_Timed], *, has_ends: bool) -> Iterator[tuple[str, float, float]]:
    """Yield texts with their times. Those without share the gap between their neighbours."""
    following: list[tuple[int, float] | None] = [None]  # the next text whose start is known
    for n, (_, start, _) in reversed(list(enumerate(timed))):
        following.append(following[-1] if start is None else (n, start))
    if (first := following[-1]) is None:
        return
    at = max(0.0, first[1] - first[0] * _WORD_LENGTH)
    for n, ((text, start, end), later) in enumerate(zip(timed, following[-2::-1], strict=True)):
        begin = at if start is None else start
        at = begin + _WORD_LENGTH if has_ends else LAST_END
        if later:
            at = begin + max(0.0, later[1] - begin) / (later[0] - n)
        at = at if end is None else end
        yield text, begin, at


def _usable(text: object) -> str:
    return _UNUSABLE.sub("", text) if isinstance(text, str) else ""
