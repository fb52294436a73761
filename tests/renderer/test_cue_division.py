"""Cues that are divided in time: no letter is lost, and the parts fill the time of the cue."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import Cue, Word
from cloudburst.renderer import cue_division
from cloudburst.renderer.cue_division import divide_cues
from cloudburst.renderer.text_layout import plain_text

ASR = (
    "So today we are going to talk about how clouds actually form, because most people think that "
    "they are just water vapour, but in reality they are made of tiny droplets which condense on "
    "dust, and when enough of them come together, you can finally see them."
)


def count_lines(cue: Cue) -> int:
    """Lines of at most 20 Chinese or 40 Latin letters."""
    widths = (
        sum(1 + (letter > "\u2e80") for letter in line) for line in plain_text(cue.text).split("\n")
    )
    return sum(max(1, -(-width // 40)) for width in widths)


def spoken(text: str, pattern: str = r"\S+", pace: int = 300) -> Cue:
    """A cue whose words are spoken one after the other, with a short pause after each."""
    found = enumerate(re.finditer(pattern, text))
    words = [Word(pace * n, pace * n + 200, *match.span()) for n, match in found]
    return Cue(0, pace * len(words), text, 8, tuple(words))


def divided(cue: Cue, lines: int = 2, words_at_once: int = 0) -> list[Cue]:
    return divide_cues([cue], count_lines, lines=lines, more=lines + 1, words_at_once=words_at_once)


def texts(parts: list[Cue]) -> list[str]:
    return [part.text for part in parts]


def words_of(cue: Cue) -> list[str]:
    return [cue.text[word.first : word.last] for word in cue.words]


PIECES = st.sampled_from(
    [
        "cloud",
        "a",
        "rain.",
        "and,",
        "“yes!”",
        "—",
        "云",
        "下雨了，",
        "。",
        "...",
        "\n",
        "7:30",
        "🎉",
        "<i>",
        "</i>",
        '<font color="#ff0000">',
        "</font>",
        "<x>",
        "extraordinarily-long-word" * 3,
    ]
)


@st.composite
def cues(draw: st.DrawFn) -> Cue:
    pieces = draw(st.lists(PIECES, max_size=60))
    text, places = "", []
    for piece in pieces:
        text += draw(st.sampled_from(["", " "]))
        if piece[0] not in "<\n" and draw(st.booleans()):
            places.append((len(text), len(text) + len(piece)))
        text += piece
    start = draw(st.integers(0, 9000))
    at, words = start, []
    for place in places:
        at += draw(st.integers(0, 300))
        words.append(Word(at, at + draw(st.integers(100, 400)), *place))
        at = words[-1].end
    return Cue(start, at + draw(st.integers(1, 5000)), text, 8, tuple(words))


def check(cue: Cue, parts: list[Cue]) -> None:
    letters = "".join(plain_text(cue.text).split())
    assert sorted("".join("".join(plain_text(one.text).split()) for one in parts)) == sorted(
        letters
    )
    assert (parts[0].start, parts[-1].end) == (cue.start, cue.end)
    assert all(one.end == other.start for one, other in pairwise(parts))
    for part in parts:
        assert part.start < part.end
        assert part.position == cue.position
        assert plain_text(part.text).strip() or not letters
        at, place = part.start, 0
        for word in part.words:
            assert at <= word.start < word.end <= part.end
            assert place <= word.first < word.last <= len(part.text)
            spoken_text = part.text[word.first : word.last]
            assert spoken_text == spoken_text.strip() != ""
            at, place = word.end, word.last
    if "\n" not in cue.text:  # texts side by side have the time of one of them
        found = "".join(word for part in parts for word in words_of(part))
        assert found == "".join(words_of(cue))


@given(cues(), st.integers(1, 4), st.integers(0, 4))
@example(spoken(ASR), 2, 0)
@example(spoken(ASR), 1, 3)
def test_no_letter_is_lost_and_the_parts_fill_the_time_of_the_cue(cue, lines, words_at_once):
    parts = divided(cue, lines, words_at_once)
    check(cue, parts)
    if not words_at_once and count_lines(cue) <= lines + 1:
        assert parts == [cue]


def test_a_long_sentence_is_divided_at_its_commas_when_its_words_are_spoken():
    parts = divided(spoken(ASR))
    assert texts(parts) == [
        "So today we are going to talk about how clouds actually form,",
        "because most people think that they are just water vapour,",
        "but in reality they are made of tiny droplets which condense on dust,",
        "and when enough of them come together, you can finally see them.",
    ]
    assert [part.start for part in parts] == [0, 3600, 6600, 10500]
    assert [word for part in parts for word in words_of(part)] == ASR.split()


def test_without_times_of_words_the_time_is_in_proportion_to_the_letters():
    parts = divided(Cue(1000, 3000, f"{'字' * 39}。{'字' * 39}。"))
    assert [(part.start, part.end) for part in parts] == [(1000, 2000), (2000, 3000)]


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("One two three four.", 3, ["One two", "three four."]),
        ("One two three four.", 1, ["One", "two", "three", "four."]),
        ("Yes! I see the rain, and", 3, ["Yes!", "I see", "the rain,", "and"]),
        ("Bonjour ! Oui — merci ...", 2, ["Bonjour !", "Oui —", "merci ..."]),
        ("在很久以前，下雨了。", 2, ["在很", "久以前，", "下雨了。"]),
        ("用iPhone拍照", 2, ["用iPhone", "拍照"]),
        ("က။ ခ ဂ", 3, ["က။", "ခ ဂ"]),
    ],
)
def test_a_few_words_at_a_time_are_similar_parts_of_a_phrase(text, count, expected):
    assert texts(divided(Cue(0, 9000, text), words_at_once=count)) == expected


def test_a_timed_word_is_not_divided():
    cue = spoken("很久很久以前，下雨了", "很久很久|以前，|下雨了")
    assert texts(divided(cue, words_at_once=1)) == ["很久很久", "以前，", "下雨了"]


@pytest.mark.parametrize(
    ("text", "pattern", "count", "expected"),
    [
        # Times of characters, which are parts of words.
        (
            "这是一艘小船在海上寻找星星的故事。",
            ".。?",
            3,
            ["这是一艘小船", "在海上寻找", "星星的故事。"],
        ),
        # Measures stay with their numerals, and particles with their words.
        ("港口边上一朵小云醒来了", ".", 3, ["港口边上一朵", "小云醒来了"]),
        ("灯塔的守护者每天都点灯", ".", 3, ["灯塔的守护者", "每天都点灯"]),
        # Times of words, which are more than a phrase or less.
        ("这是一艘小船在", "这是|一艘小|船在", 1, ["这是", "一艘小", "船在"]),
        # Thai, whose words need not be those of a dictionary.
        ("ลำเล็กที่ออกตามหาดวงดาว", "ลำ|เล็ก|ที่|ออก|ตามหา|ดวงดาว", 3, ["ลำเล็กที่", "ออกตามหาดวงดาว"]),
        ("ออกตามหาดวงดาว!", "ออก|ตามหา|ดวงดาว!", 1, ["ออก", "ตามหา", "ดวงดาว!"]),
    ],
)
def test_parts_end_between_the_words_of_scripts_without_spaces(text, pattern, count, expected):
    parts = divided(spoken(text, pattern), words_at_once=count)
    assert texts(parts) == expected
    assert [word for part in parts for word in words_of(part)] == re.findall(pattern, text)


def test_a_part_that_would_take_too_many_lines_has_fewer_words():
    text = "one two extraordinarily-long-word misunderstandings responsibilities overwhelmed"
    parts = divided(spoken(text), lines=1, words_at_once=3)
    assert texts(parts) == [
        "one two extraordinarily-long-word",
        "misunderstandings",
        "responsibilities overwhelmed",
    ]
    (first, second) = divided(spoken(text), lines=2, words_at_once=3)
    assert len(first.words) == len(second.words) == 3


def test_a_sentence_and_its_translation_are_divided_side_by_side():
    chinese = "在很久很久以前有一个小小的村庄，村里的人们每天清晨都会听见钟声。"
    english = "A long time ago there was a tiny village, whose people heard a bell each morning."
    parts = divided(Cue(0, 6000, f"<b>{chinese}</b>\n{english}"))
    assert len(parts) >= 2
    for part in parts:
        upper, lower = plain_text(part.text).split("\n")
        assert upper in chinese
        assert lower in english
    assert parts[0].text.startswith("<b>在很久")
    assert parts[1].text.startswith("<b>")
    assert "</b>" in parts[1].text  # the translation is not bold


def test_lines_of_one_language_follow_each_other():
    lines = [
        "one two three four five six seven eight",
        "nine ten eleven twelve thirteen fourteen",
    ] * 2
    parts = divided(Cue(0, 6000, "\n".join(lines)))
    assert texts(parts) == ["\n".join(lines[:2]), "\n".join(lines[2:])]


def test_the_tags_of_a_part_are_those_in_effect_there():
    text = f'<i><font color="#ff0000">{"word " * 20}</font>{"word " * 20}'
    parts = divided(Cue(0, 9000, text), lines=1)
    assert parts[1].text.startswith('<i><font color="#ff0000">word')
    assert parts[-1].text.startswith("<i></font>word")


def test_words_that_outlast_their_cue_do_not_keep_it_together():
    cue = spoken("word " * 40)._replace(end=4000)
    parts = divided(cue)
    assert len(parts) > 1
    assert [parts[0].start, parts[-1].end] == [0, 4000]
    assert max(map(count_lines, parts)) <= 2


def test_zero_lines_divide_nothing():
    cue = Cue(0, 9000, "word " * 200)
    assert divided(cue, lines=0) == [cue]


def test_too_many_parts_are_an_error(monkeypatch):
    assert cue_division.MAX_WORDS == 100_000
    monkeypatch.setattr(cue_division, "MAX_WORDS", 1000)
    many = [Cue(0, 9000, "ab " * 660)] * 2
    with pytest.raises(InvalidInputError, match="more than 1,000 parts of subtitles"):
        divide_cues(many, count_lines, lines=2, more=3, words_at_once=1)
