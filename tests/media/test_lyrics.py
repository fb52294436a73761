"""Lyrics in LRC form: text to cues."""

from __future__ import annotations

import pytest

from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import Cue, parse_subtitles, read_subtitles
from cloudburst.media.subtitles.lyrics import LAST_END


def times(file):
    return [(cue.start, cue.end, cue.text) for cue in parse_subtitles(file).cues]


def words(file):
    return [
        (cue.text[word.first : word.last], word.start, word.end)
        for cue in parse_subtitles(file).cues
        for word in cue.words
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_a_file(encoding):
    file = "[ti:歌]\r\n[ar:人]\r\n\r\n[00:01.50]第一行\r\n[00:03.25]<b>second\r\n"
    assert read_subtitles(file.encode(encoding)).cues == [
        Cue(1500, 3250, "第一行"),
        Cue(3250, LAST_END, "<\u2060b>second"),
    ]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        # Times with minutes alone, hundredths after a colon, thousandths, one digit.
        (
            "[0:1]a\n[00:02:50]b\n[1:03.125]c\n[100:00.5]d\n[100:01]",
            [(1000, 2500, "a"), (2500, 63_125, "b"), (63_125, 6_000_500, "c"),
             (6_000_500, 6_001_000, "d")],
        ),
        # A line without text ends the one before it.
        ("[00:01]a\n[00:02]\n[00:05]b\n[00:06]", [(1000, 2000, "a"), (5000, 6000, "b")]),
        # A line with several times, and lines in no order.
        (
            "[00:05][00:01]chorus\n[00:03]verse\n[00:09]",
            [(1000, 3000, "chorus"), (3000, 5000, "verse"), (5000, 9000, "chorus")],
        ),
        # A translation with the same time.
        ("[00:01]Hello\n[00:01]你好\n[00:02]", [(1000, 2000, "Hello\n你好")]),
        # A positive offset: earlier.
        ("[offset:+500]\n[00:01]a\n[00:02]", [(500, 1500, "a")]),
        ("[offset: -500]\n[00:01]a\n[00:02]", [(1500, 2500, "a")]),
        ("[offset:1500]\n[00:01]a\n[00:02]b\n[00:03]", [(0, 500, "a"), (500, 1500, "b")]),
        (
            "[offset:5000]\n[00:01]a\n[00:02]b\n[00:06]c\n[00:07]",
            [(0, 1000, "b"), (1000, 2000, "c")],
        ),
        # The end of the last word is the end of the last line.
        ("[00:01]<00:01>a <00:02>b<00:03>", [(1000, 3000, "a b")]),
        ("text\n[00:01]a\nno time\n[00:02]", [(1000, 2000, "a")]),
    ],
)  # fmt: skip
def test_lines(file, expected):
    assert times(file) == expected


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (
            "[00:01.00]<00:01.00>Hello <00:01.50>world<00:02.00>\n[00:03.00]",
            [("Hello", 1000, 1500), ("world", 1500, 2000)],
        ),
        # Spaces around the times.
        (
            "[00:01.00] <00:01.00> Hello <00:01.50> world\n[00:03.00]",
            [("Hello", 1000, 1500), ("world", 1500, 3000)],
        ),
        # Times in brackets; the first word has that of the line.
        ("[00:01.00]你[00:01.50]好[00:02.00]\n[00:03]", [("你", 1000, 1500), ("好", 1500, 2000)]),
        # Each repetition has its own times.
        (
            "[00:01][00:11]<00:01>a<00:02>b\n[00:03]\n[00:13]",
            [("a", 1000, 2000), ("b", 2000, 3000), ("a", 11_000, 12_000), ("b", 12_000, 13_000)],
        ),
        # Times that go back, or beyond the line.
        ("[00:01]<00:02>a<00:01>b<00:03>c<00:09>d\n[00:04]",
         [("b", 2000, 3000), ("c", 3000, 4000)]),
        # A translation below the words is not a part of the last one.
        ("[00:01]<00:01>a <00:02>b\n[00:01]译文\n[00:03]", [("a", 1000, 2000), ("b", 2000, 3000)]),
        ("[offset:500]\n[00:01]<00:01>a<00:02>b\n[00:03]", [("a", 500, 1500), ("b", 1500, 2500)]),
        ("[00:01]no times\n[00:02]", []),
    ],
)  # fmt: skip
def test_words(file, expected):
    assert words(file) == expected


def test_spaces_around_times_are_not_doubled():
    (cue,) = parse_subtitles("[00:01.00] <00:01.00> Hello <00:01.50> big  <00:02>world").cues
    assert cue.text == "Hello big  world"


@pytest.mark.parametrize(
    ("file", "error"),
    [
        ("[ti:x]\n[ar:y]\n", "an LRC file without any line that has a time and text"),
        ("[00:01]\n[00:02] \n", "an LRC file without any line that has a time and text"),
        ("[00:01]" + "x" * 2001, "more than 2,000 characters in a line"),
        ("[00:01]" * 10_001 + "x", "more than 10,000 lines"),
        ("[00:01]x\n" * 10_001, "more than 10,000 lines"),
        (("[00:01]" + "<00:01>x" * 1_900 + "\n") * 53, "more than 100,000 timed words"),
        ("".join(f"[00:01.{n:03}]x\n" for n in range(60)), "60 cues at once"),
    ],
)
def test_limits(file, error):
    with pytest.raises(InvalidInputError, match=error):
        parse_subtitles(file)
