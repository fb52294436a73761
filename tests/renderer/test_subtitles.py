"""From cues to ASS text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.models.options import RenderOptions
from cloudburst.models.subtitles import Cue, parse_cues
from cloudburst.renderer.ass_subtitles import ass_document, escape_ass, subtitle_style


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
    assert escape_ass(text) == shown


@given(st.text())
def test_a_cue_stays_one_line_and_opens_no_override(text):
    line = escape_ass(text)
    assert len(line.splitlines()) <= 1
    for tag in ("{\\i1}", "{\\b1}", "{\\u1}", "{\\i}", "{\\b}", "{\\u}", "\\{", "\\}"):
        line = line.replace(tag, "")
    assert "{" not in line
    assert "}" not in line


def dialogues(cues, seconds, **options):
    style = subtitle_style(RenderOptions(**options), 1920, 1080, "Font")
    text = ass_document(cues, style, 1920, 1080, seconds)
    return [line for line in text.splitlines() if line.startswith("Dialogue:")]


def test_cues_past_the_end_are_cut():
    cues = [Cue(0, 500, "a"), Cue(900, 3000, "b"), Cue(1000, 2000, "c")]
    lines = dialogues(cues, 1.0, background_box=False)
    assert lines == [
        "Dialogue: 0,0:00:00.00,0:00:00.50,Cue,,0,0,0,,a",
        "Dialogue: 0,0:00:00.90,0:00:01.00,Cue,,0,0,0,,b",
    ]


@pytest.mark.parametrize(
    ("opacity", "color"), [(0.0, "&H00000000"), (0.2, "&H33000000"), (0.99, "&HFC000000")]
)
def test_opacity_is_transparency(opacity, color):
    style = subtitle_style(RenderOptions(background_opacity=opacity), 1920, 1080, "Font")
    assert style.box == color
    assert f",{color}," in ass_document([], style, 1920, 1080, 1)


def test_without_a_box_letters_have_the_outline():
    options = RenderOptions(background_box=False, outline_color="&H0000FF00", font_size=20)
    text = ass_document([], subtitle_style(options, 1920, 1080, "Font"), 1920, 1080, 1)
    assert (
        "Style: Cue,Font,75.00,&H00FFFFFF,&H00FFFFFF,&H0000FF00,&H80000000,"
        "-1,0,0,0,100,100,0,0,1,4.50,0.00,2,154,154,97,-1" in text
    )


def test_a_fully_transparent_box_is_replaced_by_the_outline():
    """White letters with neither would be lost on a bright picture."""
    clear = subtitle_style(RenderOptions(background_opacity=1.0), 1920, 1080, "Font")
    without = subtitle_style(RenderOptions(background_box=False), 1920, 1080, "Font")
    assert clear == without
    assert clear.outline > 0


@pytest.mark.parametrize("position", range(1, 10))
def test_a_cue_is_drawn_at_its_position(position):
    cues = [Cue(0, 500, "a", position)]
    (line,) = dialogues(cues, 1.0, background_box=False)
    tag = "" if position == 2 else f"{{\\an{position}}}"
    assert line == f"Dialogue: 0,0:00:00.00,0:00:00.50,Cue,,0,0,0,,{tag}a"


def test_a_position_in_the_text_of_a_file_is_followed_and_not_shown():
    cues = parse_cues("1\n00:00:00,000 --> 00:00:01,000\n{\\an8}top {not an override}\n")
    (line,) = dialogues(cues, 1.0, background_box=False)
    assert line.endswith(",,{\\an8}top \\{not an override\\}")


def test_font_sizes_count_as_the_public_image_counts():
    options = RenderOptions(font_size=40)
    assert subtitle_style(options, 1920, 1080, "F").size == 150  # of 288
    assert subtitle_style(options, 1080, 1920, "F").size == 40  # pixels


def test_only_chinese_is_bold():
    assert subtitle_style(RenderOptions(language="chinese"), 1920, 1080, "F").bold
    assert not subtitle_style(RenderOptions(language="english"), 1920, 1080, "F").bold
