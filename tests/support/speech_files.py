"""Files of one speech, as speech services and programs write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple, cast


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


def polly(spoken: Speech, *, all_marks: bool = True) -> str:
    """Return marks in lines; visemes tell when a word ends and silence begins."""
    lines: list[dict[str, object]] = [
        {"time": 0, "type": "ssml", "start": 7, "end": 27, "value": "a"}
    ]
    at = 0
    for sentence in spoken:
        first, text = sentence[0].start, text_of(sentence)
        end = at + len(text.encode())
        lines.append(
            {"time": first - 6, "type": "sentence", "start": at, "end": end, "value": text}
        )
        for word in sentence:
            place = {"start": at, "end": at + len(word.word.encode())}
            lines.append({"time": word.start, "type": "word", **place, "value": word.word})
            lines += (
                {"time": word.start + n, "type": "viseme", "value": v}
                for n, v in ((0, "p"), (60, "E"))
            )
            at += len((word.word + word.after).encode())
        lines.append({"time": sentence[-1].end, "type": "viseme", "value": "sil"})
    chosen = [line for line in lines if all_marks or line["type"] in ("sentence", "word")]
    return "\n".join(json.dumps(line, ensure_ascii=False) for line in chosen) + "\n"


def transcribe(spoken: Speech, *, speakers: bool = False) -> object:
    items: list[dict[str, object]] = []
    for word in words_of(spoken):
        times = {"start_time": f"{word.start / 1000}", "end_time": f"{word.end / 1000}"}
        content = [
            {"confidence": "0.998", "content": word.word},
            {"confidence": "0.1", "content": "?"},
        ]
        items.append({"id": len(items), "type": "pronunciation", "alternatives": content, **times})
        if mark := word.after.strip():
            content = [{"confidence": "0.0", "content": mark}]
            items.append({"id": len(items), "type": "punctuation", "alternatives": content})
    times = {"start_time": "0.1", "end_time": "9.9"}
    parts = [{"speaker_label": "spk_0", **times, "items": [{"speaker_label": "spk_0", **times}]}]
    text = text_of(words_of(spoken))
    audio = [{"id": 0, "transcript": text, **times, "items": list(range(len(items)))}]
    return {
        "jobName": "harbour",
        "accountId": "111122223333",
        "status": "COMPLETED",
        "results": {
            "transcripts": [{"transcript": text}],
            **({"speaker_labels": {"speakers": 1, "segments": parts}} if speakers else {}),
            "items": items,
            "audio_segments": audio,
        },
    }


def assemblyai(spoken: Speech) -> object:
    """Return a transcript, in whole milliseconds."""
    rows = [
        [
            {"text": w.whole, "start": w.start, "end": w.end, "confidence": 0.97, "speaker": "A"}
            for w in sentence
        ]
        for sentence in spoken
    ]
    return {
        "id": "9ea68fd3",
        "language_code": "en_us",
        "status": "completed",
        "audio_duration": 9,
        "text": text_of(words_of(spoken)),
        "words": [row for sentence in rows for row in sentence],
        "utterances": [
            {
                "text": text_of(sentence),
                "start": sentence[0].start,
                "end": sentence[-1].end,
                "confidence": 0.9,
                "words": words,
            }
            for sentence, words in zip(spoken, rows, strict=True)
        ],
        "audio_start_from": None,
    }


def azure_python(spoken: Speech) -> str:
    """Return events of the Python SDK, whose duration is a timedelta."""
    return json.dumps(
        [
            {**event, "duration": timedelta(microseconds=int(str(event["duration"])) / 10)}
            for event in azure_events(spoken)
        ],
        default=str,
    )


def _azure_times(start: int, end: int) -> dict[str, object]:
    return {
        "offset": f"PT{start / 1000}S",
        "duration": f"PT{(end - start) / 1000}S",
        "offsetInTicks": start * 10_000.0,
        "durationInTicks": (end - start) * 10_000.0,
    }


def azure_transcription(spoken: Speech, *, display: bool = True) -> object:
    """Return the result of a batch transcription, with words as they are shown or as they sound."""
    phrases: list[dict[str, object]] = []
    for sentence in spoken:
        times = _azure_times(sentence[0].start, sentence[-1].end)
        lexical = [{"word": w.word.lower(), **_azure_times(w.start, w.end)} for w in sentence]
        shown = [{"displayText": w.whole, **_azure_times(w.start, w.end)} for w in sentence]
        best = {"confidence": 0.9, "lexical": "x", "display": text_of(sentence), "words": lexical}
        if display:
            best["displayWords"] = shown
        other = {"confidence": 0.5, "lexical": "y", "display": "Y", "words": lexical[:1]}
        phrases.append(
            {"recognitionStatus": "Success", "channel": 0, **times, "nBest": [best, other]}
        )
    return {
        "source": "https://example.org/harbour.wav",
        "timestamp": "2026-07-10T14:28:16Z",
        "durationInTicks": 99_000_000,
        "duration": "PT9.9S",
        "combinedRecognizedPhrases": [{"channel": 0, "display": text_of(words_of(spoken))}],
        "recognizedPhrases": phrases,
    }


def azure_fast_transcription(spoken: Speech) -> object:
    def times(start: int, end: int) -> dict[str, object]:
        return {"offsetMilliseconds": start, "durationMilliseconds": end - start}

    return {
        "durationMilliseconds": 9900,
        "combinedPhrases": [{"text": text_of(words_of(spoken))}],
        "phrases": [
            {
                **times(sentence[0].start, sentence[-1].end),
                "text": text_of(sentence),
                "words": [{"text": w.whole, **times(w.start, w.end)} for w in sentence],
                "locale": "en-US",
                "confidence": 0.93,
            }
            for sentence in spoken
        ],
    }


def azure_detailed(spoken: Speech) -> str:
    """Return the detailed results of the Speech SDK, one in each line, in ticks."""
    return "\n".join(
        json.dumps(
            {
                "RecognitionStatus": "Success",
                "Offset": sentence[0].start * 10_000,
                "Duration": 1,
                "DisplayText": text_of(sentence),
                "NBest": [
                    {
                        "Confidence": 0.9,
                        "Lexical": "x",
                        "Display": text_of(sentence),
                        "Words": [
                            {
                                "Word": word.word.lower(),
                                "Offset": word.start * 10_000,
                                "Duration": (word.end - word.start) * 10_000,
                            }
                            for word in sentence
                        ],
                    }
                ],
            }
        )
        for sentence in spoken
    )


def cartesia(spoken: Speech) -> str:
    """Return the events of a stream, with three words in each."""
    words = words_of(spoken)
    events: list[dict[str, object]] = [{"type": "chunk", "done": False, "data": "AAAA"}]
    for at in range(0, len(words), 3):
        part = words[at : at + 3]
        columns = {
            "words": [word.whole for word in part],
            "start": [word.start / 1000 for word in part],
            "end": [word.end / 1000 for word in part],
        }
        events.append({"type": "timestamps", "status_code": 206, "word_timestamps": columns})
    return "\n".join(map(json.dumps, [*events, {"type": "done", "done": True}]))


def dashscope_word(word: Spoken, number: int) -> dict[str, object]:
    phoneme = {"begin_time": word.start, "end_time": word.end, "text": "n_i", "tone": "3"}
    return {
        "text": word.word,
        "begin_index": number,
        "end_index": number + len(word.word),
        "begin_time": word.start,
        "end_time": word.end,
        "phonemes": [phoneme],
    }


def cosyvoice(spoken: Speech) -> str:
    """Return events, of which the one that ends a sentence repeats its words."""
    lines: list[object] = [{"header": {"event": "task-started"}, "payload": {}}]
    for number, sentence in enumerate(spoken):
        words = [dashscope_word(word, at) for at, word in enumerate(sentence)]
        for kind, count in (("begin", 0), ("synthesis", 1), ("synthesis", 2), ("end", len(words))):
            output = {
                "type": f"sentence-{kind}",
                "original_text": text_of(sentence),
                "sentence": {"index": number, "words": words[:count]},
            }
            lines.append({"header": {"event": "result-generated"}, "payload": {"output": output}})
    return "\n".join(map(json.dumps, lines))


def paraformer(spoken: Speech) -> object:
    sentences = [
        {
            "begin_time": sentence[0].start,
            "end_time": sentence[-1].end,
            "sentence_id": number,
            "text": text_of(sentence),
            "words": [
                {
                    "begin_time": word.start,
                    "end_time": word.end,
                    "text": word.word,
                    "punctuation": word.after,
                }
                for word in sentence
            ],
        }
        for number, sentence in enumerate(spoken)
    ]
    text = text_of(words_of(spoken))
    return {
        "file_url": "https://example.org/harbour.wav",
        "properties": {"original_duration_in_milliseconds": 9900},
        "transcripts": [{"channel_id": 0, "text": text, "sentences": sentences}],
    }


def deepgram(spoken: Speech) -> object:
    words = [
        {
            "word": word.word.lower(),
            "start": word.start / 1000,
            "end": word.end / 1000,
            "confidence": 1,
            "punctuated_word": word.whole,
        }
        for word in words_of(spoken)
    ]
    best = {"transcript": text_of(words_of(spoken)), "confidence": 0.99, "words": words}
    return {"metadata": {"duration": 9.9}, "results": {"channels": [{"alternatives": [best]}]}}


def scribe(spoken: Speech) -> object:
    """Return a transcript of ElevenLabs, in which spaces are words too."""
    words: list[dict[str, object]] = []
    for word in words_of(spoken):
        times = {"start": word.start / 1000, "end": word.end / 1000, "logprob": -0.1}
        words.append({"text": word.whole, "type": "word", **times})
        if word.after.endswith(" "):
            times = {"start": word.end / 1000, "end": word.end / 1000}
            words.append({"text": " ", "type": "spacing", **times})
    return {"language_code": "eng", "text": text_of(words_of(spoken)), "words": words}


def funasr(spoken: Speech, *, as_text: bool = False, words: bool = False) -> object:
    """Return the result of Paraformer, of its server (as text) or of SenseVoice (with words)."""
    pairs = [[word.start, word.end] for word in words_of(spoken)]
    found = {
        "text": text_of(words_of(spoken)),
        "timestamp": json.dumps(pairs) if as_text else pairs,
        **({"words": [word.word for word in words_of(spoken)]} if words else {}),
    }
    if as_text:
        return {"mode": "offline", "wav_name": "harbour", **found, "is_final": False}
    times = {"start": pairs[0][0], "end": pairs[-1][1], "timestamp": pairs, "spk": 0}
    return [{"key": "harbour", **found, "sentence_info": [{"text": found["text"], **times}]}]


def google(spoken: Speech, names: Sequence[str], *, objects: bool = False) -> object:
    """Return a response of Speech-to-Text, with durations as strings or as objects."""

    def time(milliseconds: int) -> object:
        if not objects:
            return f"{milliseconds / 1000:.3f}s"
        return {"seconds": str(milliseconds // 1000), "nanos": milliseconds % 1000 * 1_000_000}

    results: list[object] = []
    for sentence in spoken:
        rows = zip(
            *((word.whole, time(word.start), time(word.end)) for word in sentence), strict=True
        )
        words = [dict(zip(names, row, strict=True)) for row in zip(*rows, strict=True)]
        best = {"transcript": text_of(sentence), "confidence": 0.9, "words": words}
        others = [best, {"transcript": "or not"}]
        results.append({"alternatives": others, "languageCode": "en-us"})
    return {"results": results, "totalBilledTime": "15s"}


def google_speech(spoken: Speech) -> object:
    """Return an answer of Text-to-Speech, with a mark before each word."""
    marks = [{"markName": w.whole, "timeSeconds": w.start / 1000} for w in words_of(spoken)]
    return {"audioContent": "SUQz" * 99, "timepoints": marks, "audioConfig": {"speakingRate": 1}}


def huawei(spoken: Speech) -> str:
    """Return the messages of a synthesis, in milliseconds; silence is a word without text."""
    lines = []
    for sentence in spoken:
        words = [
            {
                "start_time": word.start,
                "end_time": word.end,
                "text": word.whole,
                "word_index": number,
                "phonemes": [{"phoneme": "n", "start_time": word.start, "end_time": word.end}],
            }
            for number, word in enumerate(sentence)
        ]
        end = sentence[-1].end
        words.append({"start_time": end, "end_time": end + 100, "text": "", "word_index": 9})
        lines.append({"resp_type": "RESULT", "trace_id": "d34e3ccb", "result": words})
    return "\n".join(map(json.dumps, lines))


def kokoro(spoken: Speech) -> object:
    """Return captioned speech, in which punctuation has a time of its own."""
    words: list[dict[str, object]] = []
    for word in words_of(spoken):
        times = {"start_time": word.start / 1000, "end_time": word.end / 1000}
        words.append({"word": word.word, **times})
        if mark := word.after.strip():
            words.append(
                {"word": mark, "start_time": times["end_time"], "end_time": times["end_time"]}
            )
    return {"audio": "SUQz", "audio_format": "audio/mpeg", "timestamps": words}


def minimax(spoken: Speech) -> object:
    """Return a file of subtitles, in milliseconds with fractions."""
    return [
        {
            "text": text_of(sentence),
            "pronounce_text": text_of(sentence),
            "time_begin": sentence[0].start - 34.13,
            "time_end": sentence[-1].end + 0.27,
            "text_begin": 0,
            "timestamped_words": [
                {
                    "word": text,
                    "word_begin": number,
                    "pronounce_word": text,
                    "time_begin": start + 0.133,
                    "time_end": end + 0.266,
                }
                for number, word in enumerate(sentence)
                for text, start, end in (
                    (word.word, word.start, word.end),
                    (word.after, word.end, word.end),
                )
                if text
            ],
        }
        for sentence in spoken
    ]


def tencent(spoken: Speech) -> object:
    words = [
        {
            "Text": word.word,
            "BeginTime": word.start,
            "EndTime": word.end,
            "BeginIndex": number,
            "EndIndex": number + 1,
            "Phoneme": None,
        }
        for number, word in enumerate(words_of(spoken))
    ]
    return {"Response": {"Audio": "SUQz", "RequestId": "1", "SessionId": "2", "Subtitles": words}}


def whisperx(spoken: Speech) -> object:
    parts = [
        {
            "start": sentence[0].start / 1000,
            "end": sentence[-1].end / 1000,
            "text": " " + text_of(sentence),
            "words": [
                {"word": w.whole, "start": w.start / 1000, "end": w.end / 1000, "score": 0.8}
                for w in sentence
            ],
        }
        for sentence in spoken
    ]
    words = [word for part in parts for word in cast("list[object]", part["words"])]
    return {"segments": parts, "word_segments": words, "language": "en"}


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
    "Amazon Polly": polly,
    "Amazon Polly, sentences and words": lambda spoken: polly(spoken, all_marks=False),
    "Amazon Transcribe": transcribe,
    "Amazon Transcribe, speakers": lambda spoken: transcribe(spoken, speakers=True),
    "AssemblyAI": assemblyai,
    "Azure, events of Python": azure_python,
    "Azure, batch transcription": azure_transcription,
    "Azure, words of transcription": lambda spoken: azure_transcription(spoken, display=False),
    "Azure, fast transcription": azure_fast_transcription,
    "Azure, detailed results": azure_detailed,
    "Cartesia": cartesia,
    "CosyVoice": cosyvoice,
    "DashScope, Paraformer": paraformer,
    "Deepgram": deepgram,
    "ElevenLabs, Scribe": scribe,
    "FunASR": funasr,
    "FunASR, server": lambda spoken: funasr(spoken, as_text=True),
    "FunASR, SenseVoice": lambda spoken: funasr(spoken, words=True),
    "Google v1": lambda spoken: google(spoken, ("word", "startTime", "endTime")),
    "Google v1, objects": lambda spoken: google(
        spoken, ("word", "startTime", "endTime"), objects=True
    ),
    "Google v1, Python": lambda spoken: google(spoken, ("word", "start_time", "end_time")),
    "Google v2": lambda spoken: google(spoken, ("word", "startOffset", "endOffset")),
    "Google, speech": google_speech,
    "Huawei": huawei,
    "Kokoro": kokoro,
    "MiniMax": minimax,
    "Tencent": tencent,
    "WhisperX": whisperx,
}
"""Functions that return a file, as text or as the value of JSON, by their names."""

WITHOUT_PUNCTUATION = {
    "edge-tts, SubRip",
    "edge-tts, list",
    "edge-tts, lines",
    "Azure, batch",
    "Tencent",
}
WITHOUT_ENDS = {"Amazon Polly, sentences and words", "Google, speech"}
"""Files in which a word lasts until the next one begins."""


def written(name: str, spoken: Speech) -> str:
    """Return the text of a file."""
    content = FILES[name](spoken)
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
