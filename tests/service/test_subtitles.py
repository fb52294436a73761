"""From SRT bytes to ASS text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.models.options import RenderOptions
from cloudburst.service.job import InputFaultError
from cloudburst.service.subtitles import Cue, ass, decode, escape, look, parse

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
    assert parse(decode(raw)) == CUES


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(end):
    assert parse(SRT.replace("\n", end)) == CUES


def test_what_is_nearly_subrip():
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
    assert parse(text) == [
        Cue(500, 1000, "no number, a dot, no milliseconds"),
        Cue(1250, 2000, "no blank line before it, no hours\n2024"),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [("", "an empty file"), ("\ufeff \r\n\n", "an empty file"), ("Hello", "no cue in it")],
)
def test_no_cue_is_a_fault(text, found):
    with pytest.raises(InputFaultError) as caught:
        parse(text)
    assert caught.value.fault.field == "subtitle"
    assert caught.value.fault.found == found
    assert "SubRip" in caught.value.fault.expected


def test_bytes_that_are_no_text_are_a_fault():
    with pytest.raises(InputFaultError, match="no text"):
        decode(b"\xff\xfe\x00\xd8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{\\an8}up", "\\{\\\u2060an8\\}up"),
        ("C:\\new", "C:\\\u2060new"),
        ("end\\", "end\\\u2060"),
        ("<i>a</i> <B>b</B> <u>c</u>", "{\\i1}a{\\i} {\\b1}b{\\b} {\\u1}c{\\u}"),
        ('<font color="red">r</font><ruby>x', "rx"),
        ("1 < 2 <3 a>b", "1 < 2 <3 a>b"),
        ("one\ntwo", "one\\Ntwo"),
        ("a\tb\x00c\u2028d", "a bcd"),
    ],
)
def test_escape(text, shown):
    assert escape(text) == shown


@given(st.text())
def test_a_cue_stays_one_line_and_opens_no_override(text):
    line = escape(text)
    assert len(line.splitlines()) <= 1
    for tag in ("{\\i1}", "{\\b1}", "{\\u1}", "{\\i}", "{\\b}", "{\\u}", "\\{", "\\}"):
        line = line.replace(tag, "")
    assert "{" not in line
    assert "}" not in line


LINE = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"], exclude_characters="->"),
    min_size=1,
).filter(lambda line: not line.isdecimal() and line.strip())


@given(
    st.lists(
        st.builds(
            lambda start, length, lines: Cue(start, start + length, "\n".join(lines)),
            st.integers(0, 359_000_000),
            st.integers(1, 100_000),
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
    assert parse(decode("\n".join(blocks).encode())) == cues


def dialogues(cues, seconds, **options):
    style = look(RenderOptions(**options), 1920, 1080, "Font")
    text = ass(cues, style, 1920, 1080, seconds)
    return [line for line in text.splitlines() if line.startswith("Dialogue:")]


def test_cues_past_the_end_are_cut():
    cues = [Cue(0, 500, "a"), Cue(900, 3000, "b"), Cue(1000, 2000, "c")]
    lines = dialogues(cues, 1.0, background_box=False)
    assert lines == [
        "Dialogue: 0,0:00:00.00,0:00:00.50,Cue,,0,0,0,,a",
        "Dialogue: 0,0:00:00.90,0:00:01.00,Cue,,0,0,0,,b",
    ]


@pytest.mark.parametrize(
    ("opacity", "color"), [(0.0, "&H00000000"), (0.2, "&H33000000"), (1.0, "&HFF000000")]
)
def test_opacity_is_transparency(opacity, color):
    style = look(RenderOptions(background_opacity=opacity), 1920, 1080, "Font")
    assert style.box == color
    assert f",{color}," in ass([], style, 1920, 1080, 1)


def test_without_a_box_letters_have_the_outline():
    options = RenderOptions(background_box=False, outline_color="&H0000FF00", font_size=20)
    text = ass([], look(options, 1920, 1080, "Font"), 1920, 1080, 1)
    assert (
        "Style: Cue,Font,75.00,&H00FFFFFF,&H00FFFFFF,&H0000FF00,&H80000000,"
        "-1,0,0,0,100,100,0,0,1,4.50,0.00,2,154,154,97,1" in text
    )


def test_font_sizes_count_as_the_public_image_counts():
    options = RenderOptions(font_size=40)
    assert look(options, 1920, 1080, "F").size == 150  # of 288
    assert look(options, 1080, 1920, "F").size == 40  # pixels


def test_only_chinese_is_bold():
    assert look(RenderOptions(language="chinese"), 1920, 1080, "F").bold
    assert not look(RenderOptions(language="english"), 1920, 1080, "F").bold
