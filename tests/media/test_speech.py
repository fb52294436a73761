"""Words that are spoken one after another, in the files of services and programs: text to cues."""

from __future__ import annotations

import json
import re
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import Cue, Word, parse_subtitles, read_subtitles
from cloudburst.media.subtitles.cues import LAST_END, WORD_TIMES
from cloudburst.media.subtitles.sentences import join_words
from cloudburst.media.subtitles.subrip_webvtt import to_subrip
from support.speech_files import (
    CHINESE,
    ENGLISH,
    FILES,
    WITHOUT_ENDS,
    WITHOUT_PUNCTUATION,
    speech,
    srt,
    vtt,
    words_of,
    written,
)

MARKS = ",.!?，。！？"


VISEMES = "".join(
    f'{{"time":{at},"type":"viseme","value":"{value}"}}\n' for at, value in enumerate("pErik")
)


def cues_of(content):
    text = content if isinstance(content, str) else json.dumps(content)
    return parse_subtitles(text).cues


def shown(cues):
    return [cue.text for cue in cues]


def highlights(cues):
    return [
        (cue.text[word.first : word.last].strip(MARKS), word.start, word.end)
        for cue in cues
        for word in cue.words
    ]


def word(text, start, end):
    return {"word": text, "start": start, "end": end}


def words(text, *, length=0.3, at=0.0):
    return [
        word(part, at + n * length, at + (n + 1) * length) for n, part in enumerate(text.split())
    ]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("spoken", "sentences"),
    [
        (
            ENGLISH,
            ["Hello, world!", "This lighthouse counted the boats, one by one.", "Why?"],
        ),
        (CHINESE, ["你好，世界！", "这座灯塔数着船，一只一只。", "为什么？"]),
    ],
    ids=["english", "chinese"],
)
def test_each_file_of_one_speech_has_the_same_sentences_and_highlights(name, spoken, sentences):
    cues = cues_of(written(name, spoken))
    if name in WITHOUT_PUNCTUATION:
        sentences = [sentence.translate(dict.fromkeys(map(ord, MARKS))) for sentence in sentences]
    assert shown(cues) == sentences
    # A word is highlighted until the next one of its sentence begins.
    expected = [
        (word.word, word.start, following.start if following else word.end)
        for sentence in spoken
        for word, following in zip(sentence, [*sentence[1:], None], strict=True)
    ]
    ends = [sentence[-1].end for sentence in spoken]
    if name in WITHOUT_ENDS:
        lead = (
            6 if "Polly" in name else 0
        )  # a sentence begins that many milliseconds before its word
        ends = [*(sentence[0].start - lead for sentence in spoken[1:]), LAST_END]
        last = dict(zip((sentence[-1] for sentence in spoken), ends, strict=True))
        expected = [
            (text, start, last.get(word, end))
            for word, (text, start, end) in zip(words_of(spoken), expected, strict=True)
        ]
    for found, (text, start, end) in zip(highlights(cues), expected, strict=True):
        assert found == (text, pytest.approx(start, abs=1), pytest.approx(end, abs=1))
    assert [cue.start for cue in cues] == [pytest.approx(part[0].start, abs=1) for part in spoken]
    assert [cue.end for cue in cues] == [
        pytest.approx(end, abs=lead if name in WITHOUT_ENDS else 1) for end in ends
    ]


@pytest.mark.parametrize("name", FILES)
def test_the_subrip_of_a_film_and_for_the_public_image_has_the_sentences(name):
    subtitles = read_subtitles(written(name, CHINESE).encode())
    assert not subtitles.subrip  # the public image would show single words
    again = parse_subtitles(to_subrip(subtitles.cues)).cues
    assert again == [cue._replace(words=()) for cue in subtitles.cues]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_json_in_each_encoding(encoding):
    assert (
        shown(read_subtitles(written("Whisper", CHINESE).encode(encoding)).cues)[0]
        == "你好，世界！"
    )


# Where sentences end


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four… Five", ["One.", "Two!", "Three?", "Four…", "Five"]),
        ('He said: "Go." (Yes.) So', ['He said: "Go."', "(Yes.)", "So"]),
        ("Dr. Who, J. K. Rowling and the U.S. team vs. us.", None),
        ("About 3.5 percent... or so", None),
        ("So do I. Go!", ["So do I.", "Go!"]),
        ("क्या हुआ। ठीक है।", ["क्या हुआ।", "ठीक है।"]),
        ("لماذا؟ لا أعرف", ["لماذا؟", "لا أعرف"]),
    ],
)
def test_a_sentence_ends_at_its_punctuation(text, sentences):
    assert shown(cues_of(words(text))) == (sentences or [text])


def test_a_sentence_ends_at_a_pause_and_a_short_pause_does_not_interrupt_the_subtitles():
    spoken = [*words("a b"), *words("c d.", at=1.0), *words("E f", at=1.9), *words("g h", at=3.0)]
    cues = cues_of(spoken)
    assert [(cue.text, cue.start, cue.end) for cue in cues] == [
        ("a b c d.", 0, 1900),
        ("E f", 1900, 2500),
        ("g h", 3000, 3600),
    ]
    assert cues[0].words[-1] == Word(1300, 1600, 6, 8)


def test_a_long_sentence_is_divided_at_commas_and_pauses():
    first = "the keeper climbed the narrow winding stairs of the lighthouse every evening,"
    second = "lit the lamp and looked out over the dark water until the last boat was home"
    assert shown(cues_of(words(f"{first} {second}", length=0.2))) == [first, second]
    spoken = [*words(first[:-1], length=0.2), *words(second, length=0.2, at=2.7)]
    assert shown(cues_of(spoken)) == [first[:-1], second]


def test_a_sentence_without_commas_and_pauses_is_divided_into_similar_parts():
    for text in ("word " * 60, "字 " * 150):
        cues = cues_of(words(text, length=0.1))
        assert {len(cue.text) for cue in cues} <= set(range(28, 85))
        assert all(cue.end - cue.start <= 7000 for cue in cues)


# Text and its words


@pytest.mark.parametrize(
    ("text", "spoken", "found"),
    [
        # Quotation marks, and words in parts.
        ('"Yes," she said, "now!"', "Yes she said now", ['"Yes,"', "she", "said,", '"now!"']),
        ("an ice-cream, don't", "an ice -cream don ' t", ["an", "ice-cream,", "don't"]),
        ("他说：「好」。", "他 说 好", ["他", "说：", "「好」。"]),
        # Numbers that are spoken in several words; words that the text lacks.
        ("于1970年建成", "于 一 九 七 零 年 建 成", ["于1970", "年", "建", "成"]),
        ("it costs $25 now", "it costs twenty five dollars now", ["it", "costs $25", "now"]),
        ("uh I know it", "I uh know um it", ["uh I", "know", "it"]),
        # Another text.
        ("nothing of this", "only these words", ["only", "these", "words"]),
        ("用 Python 写", "用 Python 写", ["用", "Python", "写"]),
        ("", "用 Python 写", ["用", "Python", "写"]),
        ("สวัสดี ครับ", "สวัส ดี ครับ", ["สวัส", "ดี", "ครับ"]),
    ],
)
def test_words_are_found_in_their_text(text, spoken, found):
    (cue,) = cues_of({"text": text, "words": words(spoken)})
    assert [cue.text[word.first : word.last] for word in cue.words] == found
    if len(found) > 1 and found[0] in text:
        assert cue.text == text


def test_words_without_a_text_are_joined_as_their_script_is_written():
    for spoken, text in (
        ("All of us !", "All of us!"),
        ("( Yes ) , we", "(Yes), we"),
        ("我 们 用 Python 3 。", "我们用Python 3。"),
        ("한국어 자막", "한국어 자막"),
        ("カメラ を 見る", "カメラを見る"),
    ):
        assert shown(cues_of(words(spoken, length=0.1))) == [text]
    own = [
        word(" Ameri", 0, 0.2),
        word("cans", 0.2, 0.5),
        word(" say", 0.5, 0.8),
        word(",", 0.8, 0.8),
    ]
    (cue,) = cues_of(own)
    assert cue.text == "Americans say,"
    assert [(word.start, word.end) for word in cue.words] == [(0, 500), (500, 800)]


def test_characters_without_spaces_are_words_in_chinese_and_japanese_and_their_parts_in_thai():
    for text, found in (
        ("สวัสดีนี่คือเรื่องราว ครับ!", ["สวัสดี", "นี่", "คือ", "เรื่อง", "ราว", "ครับ!"]),
        ("字をAb", ["字", "を", "Ab"]),
    ):
        times = [n / 10 for n in range(len(text) + 1)]
        names = ("characters", "character_start_times_seconds", "character_end_times_seconds")
        (cue,) = cues_of(dict(zip(names, (list(text), times[:-1], times[1:]), strict=True)))
        assert [cue.text[word.first : word.last] for word in cue.words] == found


def test_words_of_no_length_and_parts_that_go_back_in_time_are_shown():
    assert cues_of([word("公", 1, 1)]) == [Cue(1000, 1001, "公")]
    (cue,) = cues_of([word("公", 1, 1.2), word("司", 1.2, 1.2)])
    assert cue.words == (Word(1000, 1200, 0, 1), Word(1200, 1201, 1, 2))
    (cue,) = cues_of({"text": "ice-cream", "words": [word("ice", 1, 2), word("-cream", 0.5, 0.8)]})
    assert (cue.start, cue.end) == (1000, 2000)


def test_characters_of_json_are_no_tags_and_no_line_breaks():
    found = cues_of({"text": "a <b>\nc", "words": words("a <b> c")})
    assert shown(found) == ["a <\u2060b> c"]
    assert shown(cues_of([word("\ud800a\0<i>", 0, 1)])) == ["a<\u2060i>"]


def test_segments_without_words_are_cues():
    segments = [
        {"id": 0, "start": 0.0, "end": 4.5, "text": " The first segment, as it is."},
        {"id": 1, "start": 4.5, "end": 31.0, "text": " Zwei\nZeilen"},
        {"id": 2, "start": 31.0, "end": 31.2, "text": "Yes."},
    ]
    expected = [
        Cue(0, 4500, "The first segment, as it is."),
        Cue(4500, 31_000, "Zwei\nZeilen"),
        Cue(31_000, 31_200, "Yes."),
    ]
    for content in (segments, {"text": "…", "segments": segments, "language": "en"}):
        assert cues_of(content) == expected
    boundary = {"type": "SentenceBoundary", "offset": 1e6, "duration": 2.5e7, "text": "A sentence."}
    assert cues_of(boundary) == [Cue(100, 2600, "A sentence.")]


def test_a_missing_alignment_is_that_of_the_normalised_text():
    answer = {
        "alignment": None,
        "normalized_alignment": json.loads(written("ElevenLabs, alignment", ENGLISH)),
    }
    assert cues_of(answer) == cues_of(written("ElevenLabs, answer", ENGLISH))
    javascript = (
        written("ElevenLabs, answer", ENGLISH)
        .replace("character_start_times_seconds", "characterStartTimesSeconds")
        .replace("character_end_times_seconds", "characterEndTimesSeconds")
    )
    assert cues_of(javascript) == cues_of(answer)


# Peculiarities of services


def times(cues):
    return [(cue.text, cue.start, cue.end) for cue in cues]


def test_whole_numbers_of_assemblyai_are_milliseconds_and_other_numbers_are_seconds():
    spoken = [
        {"text": "Smoke", "start": 50, "end": 216, "confidence": 0.97, "speaker": None},
        {"text": "rises.", "start": 250, "end": 700, "confidence": 1, "speaker": None},
    ]
    (cue,) = cues_of({"text": "Smoke rises.", "words": spoken, "confidence": 0.9})
    assert highlights([cue]) == [("Smoke", 50, 250), ("rises", 250, 700)]
    assert cues_of(spoken) == [cue]
    assert times(cues_of({"utterances": spoken[:1]})) == [("Smoke", 50, 216)]
    # whisper-timestamped: seconds, of which Python writes every fraction.
    seconds = [dict(one, start=float(n), end=n + 0.5) for n, one in enumerate(spoken)]
    assert times(cues_of({"words": seconds})) == [("Smoke", 0, 500), ("rises.", 1000, 1500)]
    # Segments of JavaScript, which writes 4.0 as 4.
    assert times(cues_of([{"text": "A whole line", "start": 0, "end": 4}])) == [
        ("A whole line", 0, 4000)
    ]


def test_words_without_times_have_the_gap_between_their_neighbours_in_the_same_line():
    """WhisperX has no times for digits and symbols."""
    before, after = word("followed", 15.35, 15.87), word("the", 16.39, 16.5)
    bare = [{"word": "in"}, {"word": "2014"}]
    for spoken, found in (
        ([before, bare[1], after], [("2014", 15870, 16390), ("the", 16390, 16500)]),
        ([before, *bare, after], [("in", 15870, 16130), ("2014", 16130, 16390)]),
        ([bare[1], after], [("2014", 16090, 16390), ("the", 16390, 16500)]),
        ([before, *bare], [("in", 15870, 16170), ("2014", 16170, 16470)]),
        ([before, {"word": "&"}, after], [("followed", 15350, 15870), ("&", 15870, 16390)]),
    ):  # fmt: skip
        text = " ".join(one["word"] for one in spoken)
        (cue,) = cues_of({"segments": [{"text": text, "words": spoken, "start": 15.35, "end": 17}]})
        assert cue.text == text
        shown = highlights([cue])
        assert [one for one in shown if one in found] == found
        (again,) = cues_of({"word_segments": spoken})
        assert again.words == cue.words


def test_speech_marks_of_polly_without_words_are_lines_and_without_sentences_words():
    line = '{"time": %d, "type": "%s", "value": "%s"}\n'
    lines = line % (0, "sentence", "你好，世界。") + line % (2100, "sentence", "再见。")
    assert times(cues_of(lines)) == [("你好，世界。", 0, 2100), ("再见。", 2100, LAST_END)]
    marks = line % (6, "word", "Mary") + line % (6, "viseme", "p") + line % (373, "word", "had")
    (cue,) = cues_of(marks + line % (900, "viseme", "sil") + line % (950, "viseme", "t"))
    assert highlights([cue]) == [("Mary", 6, 373), ("had", 373, 900)]
    assert cues_of("[" + marks.strip().replace("\n", ",") + "]")[0].end == LAST_END
    # An impossible mark has no effect on the others.
    wrong = line % (-5, "word", "No") + '{"time": 7, "type": "word", "value": null}\n'
    assert cues_of(wrong + marks) == cues_of(marks)


def test_google_leaves_out_a_start_of_zero_and_repeats_the_words_of_speakers():
    first = {"endOffset": "0.280s", "word": "Yes,"}
    then = {"startOffset": "0.280s", "endOffset": "1.5s", "word": "today"}
    (cue,) = cues_of(
        {"results": [{"alternatives": [{"transcript": "Yes, today", "words": [first, then]}]}]}
    )
    assert highlights([cue]) == [("Yes", 0, 280), ("today", 280, 1500)]
    assert times(cues_of({"words": [first]})) == [("Yes,", 0, 280)]
    parts = [words("The harbour"), words("is quiet", at=1.0)]
    spoken = [{"alternatives": [{"transcript": "…", "words": part}]} for part in parts]
    everything = [dict(one, speakerTag=1) for part in parts for one in part]
    repeated = [*spoken, {"alternatives": [{"words": everything}]}]
    assert times(cues_of({"results": repeated})) == [("The harbour is quiet", 0, 1600)]
    with pytest.raises(InvalidInputError) as caught:
        cues_of({"timepoints": [{"markName": f"w{n}", "timeSeconds": n / 2} for n in range(9)]})
    assert caught.value.found == "marks that are named by numbers"
    assert '<mark name="Hello"/>' in caught.value.expected


def test_a_word_that_minimax_reads_in_several_parts_is_one_word():
    spoken = [("于", 0), *(("1953", n) for n in range(1, 8)), ("年", 8), ("，", 9)]
    timed = [
        {"word": text, "time_begin": n * 100 + 0.7, "time_end": n * 100 + 100.7, "word_begin": n}
        for text, n in spoken
    ]
    answer = {
        "text": "于1953年，",
        "time_begin": 0.0,
        "time_end": 1000.7,
        "timestamped_words": timed,
    }
    (cue,) = cues_of([answer])
    assert highlights([cue]) == [("于", 1, 101), ("1953", 101, 801), ("年", 801, 901)]
    assert times(cues_of([{**answer, "timestamped_words": None}])) == [("于1953年，", 0, 1001)]


def test_sentences_of_funasr_are_read_where_its_words_cannot_be():
    lines = [
        {"text": "你好，", "start": 430, "end": 1130, "spk": 0},
        {"text": "世界。", "start": 1200, "end": 1900, "spk": 1},
    ]
    answer = [
        {"key": "a", "text": "你好，世界。", "timestamp": [[430, 700]], "sentence_info": lines}
    ]
    assert times(cues_of(answer)) == [("你好，", 430, 1130), ("世界。", 1200, 1900)]


def test_passages_of_two_channels_are_shown_in_the_order_of_their_times():
    channels = [
        {"words": words("Hello?", at=1.0)},
        {"words": words("Yes.", at=0.2)},
    ]
    assert times(cues_of({"channels": channels})) == [("Yes.", 200, 500), ("Hello?", 1000, 1300)]


def test_lines_of_several_formats_are_read_together():
    mixed = [
        {"text": "edge", "offset": 1_000_000, "duration": 2_000_000},
        {"word": "Whisper", "start": 0.4, "end": 0.7},
        {"Text": "Tencent", "BeginTime": 800, "EndTime": 900},
    ]
    assert times(cues_of("\n".join(map(json.dumps, mixed)))) == [("edge Whisper Tencent", 100, 900)]


# Files with one word in each cue


def test_other_cues_among_single_words_stay_as_they_are():
    spoken = speech("one |two |three |four |five |six |seven ", "eight |nine |ten ")
    at = words_of(spoken)[7].start - 600
    stamps = f"00:00:0{at // 1000},{at % 1000:03} --> 00:00:0{at // 1000},{at % 1000 + 400:03}"
    for text in ("Two lines\n两行", "<i>set apart</i>", "{\\an8}above"):
        cues = cues_of(srt(spoken) + f"99\n{stamps}\n{text}\n\n")
        assert len(cues) == 3
        assert cues[1].text == text.removeprefix("{\\an8}")
        assert not cues[1].words
        assert cues[0].words
        assert cues[2].words


def timed(*cues):
    """A SubRip file of texts and their lengths in milliseconds, without gaps."""
    blocks, at = [], 0
    for text, length in cues:
        start, end = (
            f"00:{t // 60_000:02}:{t // 1000 % 60:02},{t % 1000:03}" for t in (at, at + length)
        )
        blocks.append(f"{start} --> {end}\n{text}\n")
        at += length
    return "\n".join(blocks)


@pytest.mark.parametrize(
    "cues",
    [
        [("Yes.", 600)],
        [("Yes.", 600), ("No!", 500), ("Are you sure?", 900)],
        [("3", 1000), ("2", 1000), ("1", 1000)],
        [("Harbour", 2000), ("Sea", 2000), ("Storm", 2500)],
        [("Are you?", 500), ("I am.", 500), ("So am I.", 500)],
        [("好的，我知道了。", 900), ("那我们走吧，快点。", 900)],
        [("Hello\n你好", 400), ("World\n世界", 400), ("Bye\n再见", 400)],
        [("<i>Oh</i>", 400), ("<i>yes</i>", 400), ("<i>oh</i>", 400)],
        [("{\\an8}Oh", 400), ("{\\an8}yes", 400), ("{\\an8}oh", 400)],
    ],
)
def test_subtitles_of_another_kind_are_unchanged(cues):
    subtitles = parse_subtitles(timed(*cues))
    assert subtitles.subrip
    assert not any(cue.words for cue in subtitles.cues)
    assert len(subtitles.cues) == len(cues)


@given(
    st.lists(
        st.builds(
            lambda start, length, text: Cue(start, start + length, text),
            st.integers(0, 10_000),
            st.integers(1, 2_000),
            st.sampled_from(
                ["Yes.", "So be it.", "No", "Two\nlines", "这是一句话，很长", "<i>a</i>"]
            ),
        ),
        max_size=12,
    )
)
def test_only_a_file_of_short_single_words_is_changed_and_keeps_its_letters(cues):
    lengths = sorted(cue.end - cue.start for cue in cues if cue.text in {"Yes.", "No"})
    joined = join_words(cues)
    if len(lengths) < 0.8 * len(cues) or lengths[len(lengths) // 2 :][:1] >= [700]:
        assert joined is cues
    letters, again = (sorted("".join(cue.text for cue in some)) for some in (cues, joined))
    assert [char for char in again if char != " "] == [char for char in letters if char != " "]
    apart = {cue for cue in cues if "\n" in cue.text or "<" in cue.text}
    assert apart <= set(joined)


def test_cues_that_are_shown_together_are_no_words_in_a_row():
    file = "".join(f"00:00:01,000 --> 00:00:01,500\n{name}\n\n" for name in "abcd")
    assert len(cues_of(file)) == 4


def test_words_with_times_of_their_own_are_not_joined():
    file = vtt(ENGLISH).replace("Hello,", "<00:00:00.100>Hello,")
    assert shown(cues_of(file))[0] == "Hello,"


# What is wrong


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"words": [', "JSON with an error in line 1, column 12"),
        ('[\n{"text": "a",\n', "JSON with an error in line 3, column 1"),
        ('{"type": "WordBoundary"}\n{"offset', "JSON with an error in line 2, column 2"),
        ("[" * 290_000, "JSON with too many levels"),
        ("[" + "{}," * 300_000 + "{}]", "more than 300,000 objects and lists"),
        (
            '{"frontend":"\\u005b' + "\\u005b]," * 300_000 + '1]"}',
            "more than 300,000 objects and lists",
        ),
        ("{}", "JSON without any word or line that has a start and an end"),
        ("[1, 2, 3]", "JSON without any word or line"),
        ('{"a": 1}\n2', "JSON with an error in line 2, column 1"),
        ('["a", "b"]', "JSON without any word or line"),
        ('{"results": {"transcripts": [{"transcript": "Hi"}], "items": []}}', "JSON with"),
        ('{"timepoints": []}', "JSON without any word or line"),
        ('[{"text": "你好", "timestamp": [[0, 200]]}]', "JSON without any word or line"),
        ('[{"text": "a", "timestamp": "2026-07-10T14:28:16Z"}]', "JSON without any word"),
        ('[{"word": "a", "startTime": "1.2.3s", "endTime": "2s"}]', "JSON without any word"),
        ('{"words": [{"word": "1999"}, {"word": "1999"}]}', "JSON without any word or line"),
        (VISEMES, "speech marks of Amazon Polly without any of a word or sentence"),
        ('{"scenes": [{"name": "a"}]}', "JSON without any word or line"),
        ('[{"word": "a", "start": NaN, "end": 1}]', "JSON without any word or line"),
        ('[{"word": "a", "start": -1, "end": 1}]', "JSON without any word or line"),
        ('[{"word": "a", "start": 2, "end": 1}]', "JSON without any word or line"),
        ('[{"word": "a", "start": 0, "end": 1e308}]', "JSON without any word or line"),
        ('[{"word": "a", "start": 0, "end": 1e999}]', "JSON without any word or line"),
        ('[{"word": "a", "start": "0", "end": true}]', "JSON without any word or line"),
        ('[{"word": ["a"], "start": 0, "end": 1}]', "JSON without any word or line"),
        ('[{"word": " ", "start": 0, "end": 1}, {"word": "", "start": 0, "end": 1}]', "JSON with"),
        ('{"addition": {"frontend": "{"}}', "JSON with an error in line 1"),
        ('{"characters": ["a", 1], "character_start_times_seconds": [null]}', "JSON without"),
        (json.dumps({"words": [word("a", 0, 1)] * 100_001}), "more than 100,000 timed words"),
    ],
)  # fmt: skip
def test_json_that_cannot_be_read_says_what_it_is(content, found):
    with pytest.raises(InvalidInputError) as caught:
        parse_subtitles(content)
    assert caught.value.found.startswith(found)
    if not found.startswith("more than"):
        assert WORD_TIMES in caught.value.expected
        assert ".srt" in caught.value.expected


def test_the_services_that_are_named_are_those_whose_files_are_read():
    read = {re.split("[ ,.]", name)[0] for name in FILES}
    named = WORD_TIMES.replace("Amazon Polly and Transcribe", "Amazon").split(", ")
    assert read - {"DashScope", "OpenAI", "faster-whisper", "whisper"} == set(named)


def test_words_that_go_back_in_time_are_refused_with_both_times():
    back = [*words("one two three"), *words("four five", at=0.05)]
    marks = [{"time": at, "type": "word", "value": "a"} for at in (0, 5100, 2300, 2600)]
    lines = [{"text": str(at), "begin_time": at, "end_time": at + 99} for at in (5100, 0)]
    for content, found in (
        ({"words": [*words("zero", at=9.5), *back]}, "00:00:00,000 after one at 00:00:09,500"),
        ("\n".join(map(json.dumps, marks)), "00:00:02,300 after one at 00:00:05,100"),
        (lines, "00:00:00,000 after one at 00:00:05,100"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            cues_of(content)
        assert caught.value.found == f"a word at {found}"
        assert caught.value.expected == "words in the order in which they are spoken"
    assert shown(cues_of({"words": back})) == ["one two three four five"]  # less than a second


def test_words_that_are_all_repeated_and_numbers_take_little_time_and_memory():
    spoken = [word(f"w{n}", n / 10, n / 10 + 0.1) for n in range(15_000)]
    began = time.process_time()
    assert cues_of([*({"words": [one]} for one in spoken), {"words": spoken}]) == cues_of(spoken)
    assert time.process_time() - began < 5  # in proportion to their number; squared, over 10
    tracemalloc.start()
    with pytest.raises(InvalidInputError, match="JSON without"):
        cues_of("[" + "1," * 200_000 + "1]")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # 50 bytes each


def test_words_with_impossible_times_are_left_out():
    spoken = [
        word("a", 0, 0.3),
        word("b", float("nan"), 1),
        word("c", 0.3, 1e9),
        word("d", 0.3, 0.6),
    ]
    assert shown(cues_of({"words": spoken})) == ["a d"]


def test_files_that_begin_like_json_keep_their_kind():
    assert shown(cues_of("[00:01]a\n[00:02]")) == ["a"]
    with pytest.raises(InvalidInputError, match="MicroDVD"):
        parse_subtitles("{0}{25}text")
