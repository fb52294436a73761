"""Subtitle files in SubRip and WebVTT form: bytes to cues."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import (
    Cue,
    Word,
    parse_subtitles,
    read_subtitles,
)


def read_cues(data):
    return read_subtitles(data).cues


def parse_cues(text):
    return parse_subtitles(text).cues


SRT = """1
00:00:01,000 --> 00:00:02,500
你好，世界

2
00:00:02,600 --> 00:01:04,050 X1:10 X2:20
two
lines
"""
CUES = [Cue(1000, 2500, "你好，世界"), Cue(2600, 64_050, "two\nlines")]


@pytest.mark.parametrize(
    "raw",
    [
        SRT.encode(),
        SRT.encode("utf-8-sig"),
        SRT.encode("utf-16"),
        b"\xfe\xff" + SRT.encode("utf-16-be"),
        SRT.encode("utf-16-le"),
        SRT.encode("utf-16-be"),
        SRT.encode("gb18030"),
    ],
    ids=["utf-8", "mark", "utf-16", "big-endian", "unmarked-le", "unmarked-be", "gb18030"],
)
def test_encodings(raw):
    assert read_cues(raw) == CUES


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(end):
    assert parse_cues(SRT.replace("\n", end)) == CUES


def test_subtitles_that_are_nearly_subrip_are_read():
    text = """
00:00:00.5 --> 00:00:01
no number, a dot, no milliseconds
7
00:01,250 --> 00:02,000
no blank line before it, no hours
2024

9
00:00:05,000 --> 00:00:04,000
backwards

10
00:00:06,000 --> 00:00:07,000

words that belong to no cue

nonsense --> more nonsense
"""
    assert parse_cues(text) == [
        Cue(500, 1000, "no number, a dot, no milliseconds"),
        Cue(1250, 2000, "no blank line before it, no hours\n2024"),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "no text"),
        ("\ufeff \r\n\n", "no text"),
        ("Hello", "text without any line of timing"),
        ("WEBVTT\n\nNOTE nothing\n", "text without any line of timing"),
        ("1\n00:00:01,000 --> 00:00:02,000\n{\\an8\\i1}\n", "text without any line of timing"),
        ("[Script Info]\nScriptType: v4.00+\n", "a SubStation file without any line of dialogue"),
        ('<?xml version="1.0"?>\n<tt xmlns="x">', "subtitles in TTML form"),
        ("<SAMI><HEAD>", "subtitles in SAMI form"),
        ("{0}{25}Hello", "subtitles in MicroDVD (.sub) form"),
        ("[ar:Bob]\n[00:01.00]\n", "an LRC file without any line that has a time and text"),
        ("0:00:01.000,0:00:02.000\nHello", "subtitles in SBV form"),
    ],
)
def test_a_file_without_a_cue_is_unfit_and_its_form_is_named(text, found):
    with pytest.raises(InvalidInputError) as caught:
        parse_cues(text)
    assert caught.value.found.startswith(found)
    assert "SubRip (.srt)" in caught.value.expected or "-->" in caught.value.expected


@pytest.mark.parametrize("raw", [b"\xff\xfe\x00\xd8", b"\x80\xff\x81" * 9])
def test_bytes_that_are_no_text_are_unfit(raw):
    with pytest.raises(InvalidInputError, match="another encoding"):
        read_cues(raw)


WEBVTT = """WEBVTT - with a title

STYLE
::cue { color: lime }

NOTE
a note, which is not shown

intro
00:01.000 --> 00:02.500 align:start line:0
<v Bob>Fish &amp; <i.loud>chips</i></v> <00:00:01.500>&lt;i&gt;

00:00:02.600 --> 01:00:04.050 position:50% line:90%,end size:80%
<c.yellow>two</c>
lines&nbsp;here
"""


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_webvtt(mark):
    assert parse_cues(mark + WEBVTT) == [
        Cue(
            1000,
            2500,
            "<v Bob>Fish & <i>chips</i></v> <\u2060i>",
            7,
            (Word(1000, 1500, 7, 22), Word(1500, 2500, 31, 35)),
        ),
        Cue(2600, 3_604_050, "<c.yellow>two</c>\nlines\u00a0here", 2),
    ]


@pytest.mark.parametrize(
    ("settings", "position"),
    [
        ("", None),
        ("line:0", 8),
        ("line:-1", 2),
        ("line:-15 align:left", 7),
        ("line:7", 5),
        ("line:14", 2),
        ("line:10%", 8),
        ("line:50% align:end", 6),
        ("line:84.5%,center align:center", 2),
        ("line:auto align:right", 3),
        ("line:x align:y vertical:rl region:z :: a", None),
        ("line:auto align:center", None),
    ],
)
def test_settings_of_webvtt_choose_one_of_nine_positions(settings, position):
    (cue,) = parse_cues(f"WEBVTT\n\n00:01.000 --> 00:02.000 {settings}\nHello\n")
    assert cue.position == position


def test_settings_and_references_mean_nothing_in_subrip():
    (cue,) = parse_cues("1\n00:00:01,000 --> 00:00:02,000 line:0\nFish &amp; chips\n")
    assert cue == Cue(1000, 2000, "Fish &amp; chips", None)


@pytest.mark.parametrize(
    ("text", "shown", "position"),
    [
        ("{\\an8}up", "up", 8),
        ("{\\pos(10,20)\\an5\\i1}mid{\\i0}dle", "<i>mid</i>dle", 5),
        ("{\\b1\\U1}a{\\b0\\s1}b", "<b><u>a</b><s>b", None),
        ("{\\c&H0000FF&}a{\\c}b", "<font color=#FF0000>a</font>b", None),
        ("{\\1c&H112233}c", "<font color=#332211>c", None),
        ("{\\ib\\bord1\\c&HFF&\\clip(1,2)}plain", "plain", None),
        ("{\\an1}first counts{\\an9}", "first counts", 1),
        ("{\\k20}ka{\\k30}ra{\\fad(1,2)}oke", "karaoke", None),
        ("{plain} braces {stay}", "{plain} braces {stay}", None),
        ("{\\an8 never closed", "{\\an8 never closed", None),
        ("{\\an0}no such position", "no such position", None),
        ("{{\\an8}}", "{}", 8),
    ],
)
def test_override_groups_place_a_cue_and_are_not_shown(text, shown, position):
    (cue,) = parse_cues(f"1\n00:00:01,000 --> 00:00:02,000\n{text}\n")
    assert (cue.text, cue.position) == (shown, position)


def cues(number, *, text="x", start=0, step=0, length=900):
    """A file of cues, each so many milliseconds after the one before."""

    def stamp(ms):
        return f"{ms // 3_600_000}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d},{ms % 1000:03d}"

    starts = range(start, start + max(1, step * number), max(1, step)) if step else [start] * number
    return "".join(f"{stamp(at)} --> {stamp(at + length)}\n{text}\n\n" for at in starts)


@pytest.mark.parametrize(
    ("text", "found", "expected"),
    [
        (cues(10_001, step=1000), "more than 10,000 cues", "at most 10,000 cues"),
        (
            cues(1, start=61_500, text="字" * 2001),
            "a cue of 2,001 characters at 00:01:01,500",
            "at most 2,000 characters in one cue",
        ),
        (cues(51, start=2000), "51 cues at once at 00:00:02,000", "at most 50 cues at once"),
        (cues(60, text="x y", step=17, length=10), "59 cues at once at", "at most 50 cues at once"),
        (cues(21, text="y" * 100), "2,100 characters at once", "at most 2,000 characters at once"),
        ("\n" * (8 * 1024**2 + 1), "more than 8 MB of subtitles", "at most 8 MB"),
    ],
    ids=["cues", "characters", "at once", "one after the other", "characters at once", "bytes"],
)
def test_more_than_can_be_drawn_is_unfit(text, found, expected):
    with pytest.raises(InvalidInputError) as caught:
        read_cues(text.encode())
    assert caught.value.found.startswith(found)
    assert caught.value.expected == expected


def test_what_is_just_allowed():
    assert len(parse_cues(cues(10_000, step=1000))) == 10_000
    assert len(parse_cues(cues(50))) == 50
    assert len(parse_cues(cues(20, text="y" * 100))) == 20
    assert len(parse_cues(cues(200, step=1000, length=1000, text="y" * 2000))) == 200


@pytest.mark.few(6, spread=True)
@pytest.mark.parametrize(
    "unit",
    ["<", "<a", "{", "{\\", "{\\an8}", "&lt;", " ", "\n", "0:00:00,0 -->", "\u0301", "<<b>"],
)
def test_megabytes_of_bait_are_read_in_no_time(unit):
    text = unit * (1_000_000 // len(unit))
    began = time.process_time()
    for start in ("0:00:00,000 --> 0:00:01,000\n", "WEBVTT\n\n0:00:00.000 --> 0:00:01.000\n"):
        with suppress(InvalidInputError):
            read_cues((start + text).encode())
    assert time.process_time() - began < 5


LINE = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"], exclude_characters="->"),
    min_size=1,
).filter(lambda line: not line.isdecimal() and line.strip() and "\\" not in line)


@settings(max_examples=50)
@given(
    st.lists(
        st.builds(
            lambda start, length, lines: Cue(start, start + length, "\n".join(lines)),
            st.integers(0, 359_000_000),
            st.integers(700, 100_000),  # shorter ones may be words of a sentence
            st.lists(LINE, min_size=1, max_size=3),
        ),
        min_size=1,
    )
)
def test_any_cues_come_back(cues):
    def stamp(ms):
        return (
            f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d},{ms % 1000:03d}"
        )

    blocks = (
        f"{n}\n{stamp(cue.start)} --> {stamp(cue.end)}\n{cue.text}\n"
        for n, cue in enumerate(cues, 1)
    )
    assert read_cues("\n".join(blocks).encode()) == cues
