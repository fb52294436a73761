"""Files of one speech, as speech services and programs write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Spoken(NamedTuple):
    """A word, its times in milliseconds, and the characters from its end to the next word."""

    word: str
    start: int
    end: int
    after: str = ""

    @property
    def whole(self) -> str:
        """The word and its punctuation."""
        return self.word + self.after.rstrip()


Speech = Sequence[Sequence[Spoken]]  # sentences


def speech(*sentences: str, length: int = 300, gap: int = 20, pause: int = 700) -> Speech:
    """Return a speech whose words are divided by ``|``; what follows ``~`` is not spoken."""
    found, at = [], 100
    for sentence in sentences:
        words = []
        for part in sentence.split("|"):
            word, _, after = part.partition("~")
            words.append(Spoken(word, at, at + length, after))
            at += length + gap
        found.append(words)
        at += pause
    return found


ENGLISH = speech(
    "Hello~, |world~! ", "This~ |lighthouse~ |counted~ |the~ |boats~, |one~ |by~ |one~. ", "Why~?"
)
CHINESE = speech("你|好~，|世|界~！", "这|座|灯|塔|数|着|船~，|一|只|一|只~。", "为|什|么~？")


def words_of(spoken: Speech) -> list[Spoken]:
    return [word for sentence in spoken for word in sentence]


def text_of(words: Sequence[Spoken]) -> str:
    return "".join(word.word + word.after for word in words).strip()


def stamp(milliseconds: int, point: str = ",") -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"00:{seconds // 60:02}:{seconds % 60:02}{point}{rest:03}"


def srt(spoken: Speech) -> str:
    return "".join(
        f"{number}\n{stamp(word.start)} --> {stamp(word.end)}\n{word.word}\n\n"
        for number, word in enumerate(words_of(spoken), 1)
    )


def vtt(spoken: Speech) -> str:
    return "WEBVTT\n\n" + "".join(
        f"{stamp(word.start, '.')} --> {stamp(word.end, '.')}\n{word.whole}\n\n"
        for word in words_of(spoken)
    )


def edge_tts(spoken: Speech) -> list[dict[str, object]]:
    return [
        {
            "type": "WordBoundary",
            "offset": word.start * 10_000,
            "duration": float((word.end - word.start) * 10_000),
            "text": word.word,
        }
        for word in words_of(spoken)
    ]


def alignment(spoken: Speech) -> dict[str, list[str] | list[float]]:
    characters: list[str] = []
    starts: list[float] = []
    ends: list[float] = []
    for word in words_of(spoken):
        step = (word.end - word.start) / len(word.word)
        for place, char in enumerate(word.word + word.after):
            characters.append(char)
            starts.append(min(word.start + place * step, word.end) / 1000)
            ends.append(min(word.start + (place + 1) * step, word.end) / 1000)
    return {
        "characters": characters,
        "character_start_times_seconds": starts,
        "character_end_times_seconds": ends,
    }


def elevenlabs(spoken: Speech) -> object:
    found = alignment(spoken)
    return {"audio_base64": "SUQz" * 99, "alignment": found, "normalized_alignment": found}


def elevenlabs_stream(spoken: Speech) -> str:
    """Return lines that each have seven characters."""
    whole = alignment(spoken)
    return "\n".join(
        json.dumps(
            {"audio_base64": "SUQz", "alignment": {k: v[at : at + 7] for k, v in whole.items()}}
        )
        for at in range(0, len(whole["characters"]), 7)
    )


def azure_events(spoken: Speech, *, javascript: bool = False) -> list[dict[str, object]]:
    """Return events of words and of punctuation, in ticks."""
    events = [(word.word, word.start, word.end) for word in words_of(spoken)]
    marks = [(word.after.strip(), word.end, word.end + 5) for word in words_of(spoken)]
    both = sorted(filter(lambda event: event[0], events + marks), key=lambda event: event[1])
    names = ("privText", "privAudioOffset", "privDuration")
    return [
        dict(
            zip(
                names if javascript else ("text", "audio_offset", "duration"),
                (text, start * 10_000, (end - start) * 10_000),
                strict=True,
            )
        )
        for text, start, end in both
    ]


def azure_batch(spoken: Speech) -> object:
    return [
        {"Text": word.word, "AudioOffset": word.start, "Duration": word.end - word.start}
        for word in words_of(spoken)
    ]


def volcengine_synthesis(spoken: Speech) -> object:
    words = [
        {"word": word.whole, "start_time": word.start / 1000, "end_time": word.end / 1000}
        for word in words_of(spoken)
    ]
    phonemes = [{"phone": "C0n", "start_time": 0.1, "end_time": 0.2}]
    frontend = json.dumps({"words": words, "phonemes": phonemes}, ensure_ascii=False)
    return {"code": 3000, "data": "SUQz", "addition": {"duration": "9", "frontend": frontend}}


def volcengine_stream(spoken: Speech) -> str:
    answers = [
        {
            "code": 0,
            "data": None,
            "sentence": {
                "phonemes": [],
                "text": text_of(sentence),
                "words": [
                    {
                        "word": word.whole,
                        "startTime": word.start / 1000,
                        "endTime": word.end / 1000,
                        "confidence": 0.9,
                    }
                    for word in sentence
                ],
            },
        }
        for sentence in spoken
    ]
    return "\n".join(map(json.dumps, [{"code": 0, "data": "SUQz"}, *answers, {"code": 20000000}]))


def volcengine_recognition(spoken: Speech) -> object:
    return {
        "audio_info": {"duration": 9000},
        "result": {
            "text": text_of(words_of(spoken)),
            "utterances": [
                {
                    "definite": True,
                    "start_time": sentence[0].start,
                    "end_time": sentence[-1].end,
                    "text": text_of(sentence),
                    "words": [
                        {
                            "blank_duration": 0,
                            "start_time": word.start,
                            "end_time": word.end,
                            "text": word.word,
                        }
                        for word in sentence
                    ],
                }
                for sentence in spoken
            ],
        },
    }


def segments(spoken: Speech) -> list[dict[str, object]]:
    """Return segments of Whisper, which end in the middle of sentences."""
    words, found = words_of(spoken), list[dict[str, object]]()
    for number, at in enumerate(range(0, len(words), 5)):
        part = words[at : at + 5]
        before = " " if at and words[at - 1].after.endswith(" ") else ""
        found.append(
            {
                "id": number,
                "seek": 0,
                "start": part[0].start / 1000,
                "end": part[-1].end / 1000,
                "text": before + text_of(part),
                "tokens": [50364, 1],
                "temperature": 0.0,
                "words": [
                    {
                        "word": (" " if " " in text_of(words) else "") + word.whole,
                        "start": word.start / 1000,
                        "end": word.end / 1000,
                        "probability": 0.9,
                    }
                    for word in part
                ],
            }
        )
    return found


def whisper(spoken: Speech) -> object:
    return {"text": text_of(words_of(spoken)), "segments": segments(spoken), "language": "en"}


def verbose_json(spoken: Speech, *, with_segments: bool = True) -> object:
    words = [
        {"word": word.word, "start": word.start / 1000, "end": word.end / 1000}
        for word in words_of(spoken)
    ]
    answer = {"task": "transcribe", "duration": 9.0, "text": text_of(words_of(spoken))}
    parts = [{**part, "words": None} for part in segments(spoken)]
    return {**answer, **({"segments": parts} if with_segments else {}), "words": words}


def _offsets(start: int, end: int) -> dict[str, object]:
    return {
        "timestamps": {"from": stamp(start), "to": stamp(end)},
        "offsets": {"from": start, "to": end},
    }


def whisper_cpp(spoken: Speech) -> object:
    """Return the output of ``--max-len 1 --split-on-word --output-json``."""
    space = " " if " " in text_of(words_of(spoken)) else ""
    words = [
        {**_offsets(word.start, word.end), "text": space + word.whole} for word in words_of(spoken)
    ]
    return {"systeminfo": "", "result": {"language": "en"}, "transcription": words}


def whisper_cpp_full(spoken: Speech) -> object:
    """Return the output of ``--output-json-full``: tokens that may be parts of words."""
    parts: list[dict[str, object]] = []
    for sentence in spoken:
        tokens: list[dict[str, object]] = [
            {"text": "[_BEG_]", **_offsets(sentence[0].start, sentence[0].start), "id": 50363}
        ]
        for word in sentence:
            middle = word.end if len(word.word) == 1 else word.start + 150
            tokens.append({"text": " " + word.word[:1], **_offsets(word.start, middle)})
            tokens.append({"text": word.whole[1:], **_offsets(middle, word.end)})
        times = _offsets(sentence[0].start, sentence[-1].end)
        parts.append({**times, "text": " " + text_of(sentence), "tokens": tokens})
    return {"result": {"language": "en"}, "transcription": parts}


FILES: Mapping[str, Callable[[Speech], object]] = {
    "edge-tts, SubRip": srt,
    "Whisper, WebVTT": vtt,
    "edge-tts, list": edge_tts,
    "edge-tts, lines": lambda spoken: "\n".join(map(json.dumps, edge_tts(spoken))),
    "ElevenLabs, alignment": alignment,
    "ElevenLabs, answer": elevenlabs,
    "ElevenLabs, lines": elevenlabs_stream,
    "Azure, events": azure_events,
    "Azure, events of JavaScript": lambda spoken: azure_events(spoken, javascript=True),
    "Azure, batch": azure_batch,
    "Volcengine, synthesis": volcengine_synthesis,
    "Volcengine, lines of synthesis": volcengine_stream,
    "Volcengine, recognition": volcengine_recognition,
    "Whisper": whisper,
    "OpenAI, words and segments": verbose_json,
    "OpenAI, words": lambda spoken: verbose_json(spoken, with_segments=False),
    "faster-whisper": segments,
    "whisper.cpp": whisper_cpp,
    "whisper.cpp, full": whisper_cpp_full,
}
"""Functions that return a file, as text or as the value of JSON, by their names."""

WITHOUT_PUNCTUATION = {"edge-tts, SubRip", "edge-tts, list", "edge-tts, lines", "Azure, batch"}


def written(name: str, spoken: Speech) -> str:
    """Return the text of a file."""
    content = FILES[name](spoken)
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
