"""Subtitle files in SubStation form: text to cues."""

from __future__ import annotations

import re

import pytest

from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import Cue, Word, parse_subtitles, read_subtitles
from support.substation import EVENTS, V4_PLUS, ass, dialogue, style


def cues(*lines, **how):
    return parse_subtitles(ass(*lines, **how)).cues


def cue(text, **how):
    (found,) = cues(dialogue(text), **how)
    return found


def words(found):
    return [(found.text[w.first : w.last], w.start, w.end) for w in found.words]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file(encoding, end):
    file = ass(dialogue("你好，世界"), dialogue("two, with a comma", "0:00:04.5", "1:00:05.25"))
    assert read_subtitles(file.replace("\n", end).encode(encoding)).cues == [
        Cue(1000, 3000, "你好，世界"),
        Cue(4500, 3_605_250, "two, with a comma"),
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one\\Ntwo", "one\ntwo"),
        ("one \\N  two\\N\\Nthree", "one\ntwo\n\nthree"),
        ("one\\ntwo", "one two"),
        ("no\\hbreak", "no\u00a0break"),
        ("{\\i1}lean{\\i0} up", "<i>lean</i> up"),
        ("{\\i1\\b1}both{\\r} none", "<b><i>both</b></i> none"),
        ("{\\b700}heavy{\\b400} light", "<b>heavy</b> light"),
        ("{\\u1}under{\\u}{\\s1}struck", "<u>under</u><s>struck"),
        ("{\\c&H0000FF&}red{\\c} white", "<font color=#FF0000>red</font> white"),
        ("{\\1c&HFF0000&\\an8}blue", "<font color=#0000FF>blue"),
        ("{\\c&HFF}short", "<font color=#FF0000>short"),
        ("{\\3c&H00FF00&\\blur3\\pos(1,2)}plain", "plain"),
        ("{\\t(0,500,\\c&H0000FF&\\i1)}not animated", "not animated"),
        ("{a comment}shown{another \\i1 comment}", "shown"),
        ("{\\i1}{\\i0}nothing changes", "nothing changes"),
        ("{\\p1}m 0 0 l 100 0 100 100{\\p0}square", "square"),
        ("<b>no tag</b>", "<\u2060b>no tag<\u2060/b>"),
        ("never {closed", "never {closed"),
        ("a } alone", "a } alone"),
        ("{\\fnArial Black\\fs99}font", "font"),
        ("{\\i2}no such value{\\b2}", "<i>no such value"),
    ],
)
def test_text_and_override_tags(text, shown):
    assert cue(text).text == shown


@pytest.mark.parametrize(
    ("styles", "text", "shown"),
    [
        ([style(flags="-1,0,0,0")], "bold", "<b>bold"),
        ([style(flags="1,-1,-1,-1")], "all", "<b><i><u><s>all"),
        ([style(flags="0,-1,0,0")], "{\\i0}up{\\i} lean{\\i1}!", "up<i> lean!"),
        (
            [style(colour="&H000000FF")],
            "red {\\c&HFFFFFF&}white",
            "<font color=#FF0000>red <font color=#FFFFFF>white",
        ),
        ([style(colour="&HFFFFFF&")], "white", "white"),
        ([style(colour="255")], "red", "<font color=#FF0000>red"),
        ([style(), style("Loud", flags="-1,0,0,0")], "a{\\rLoud}b{\\r}c", "a<b>b</b>c"),
        ([style("Other", flags="-1,0,0,0")], "no such style", "no such style"),
        ([style("*Default", flags="-1,0,0,0")], "bold", "<b>bold"),
        (["Style: Default"], "no fields", "no fields"),
    ],
)  # fmt: skip
def test_styles(styles, text, shown):
    assert cue(text, styles=tuple(styles)).text == shown


@pytest.mark.parametrize(
    ("text", "alignment", "position"),
    [
        ("x", 2, None),
        ("x", 8, 8),
        ("x", 0, None),
        ("x", 77, None),
        ("{\\an7}x", 3, 7),
        ("{\\an7}{\\an1}the first counts", 3, 7),
        ("{\\a6}x", 2, 8),
        ("{\\a11}x", 2, 6),
        ("{\\a4}no such position", 3, 3),
        ("{\\an0}no such position", 1, 1),
    ],
)
def test_positions(text, alignment, position):
    assert cue(text, styles=(style(alignment=alignment),)).position == position


def test_the_older_form():
    file = """[Script Info]
ScriptType: v4.00

[V4 Styles]
Style: Top,Arial,20,65535,0,0,0,-1,0,1,2,2,6,30,30,30,0,0

[Events]
Dialogue: Marked=0,0:00:01.00,0:00:02.00,Top,NTP,0000,0000,0000,!Effect,yellow, bold
"""
    assert parse_subtitles(file).cues == [Cue(1000, 2000, "<b><font color=#FFFF00>yellow, bold", 8)]


def test_the_order_of_fields_is_that_of_the_file():
    file = """[V4+ Styles]
Format: Alignment, Name, Italic
Style: 9, Mine, -1
[Events]
Format: Style, End, Start, Text
Dialogue: Mine,0:00:02.00,0:00:01.00,one, two
Dialogue: Mine,0:00:02.00
"""
    assert parse_subtitles(file).cues == [Cue(1000, 2000, "<i>one, two", 9)]


def test_lines_that_are_not_shown():
    lines = (
        "Comment: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,a comment",
        dialogue("{\\p1}m 0 0 l 9 9"),
        dialogue("{\\an8}"),
        dialogue("backwards", "0:00:02.00", "0:00:01.00"),
        dialogue("no length", "0:00:02.00", "0:00:02.00"),
        dialogue("before the start", "-0:00:02.00", "-0:00:01.00"),
        dialogue("no time", "soon", "later"),
        "Dialogue: 0,0:00:01.00",
        "Picture: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,x.png",
        dialogue("shown"),
        dialogue("from the start", "-0:00:01.00", "0:00:02.00"),
    )
    assert cues(*lines) == [Cue(1000, 3000, "shown"), Cue(0, 2000, "from the start")]


def test_layers_of_one_text_are_one_cue():
    lines = dialogue("{\\bord4\\c&HFF&}Sign"), dialogue("{\\blur2}Sign"), dialogue("{\\an8}Sign")
    assert [(found.text, found.position) for found in cues(*lines)] == [
        ("<font color=#FF0000>Sign", None),
        ("Sign", 8),
    ]


def test_newlines_where_lines_are_not_wrapped():
    assert cue("one\\ntwo", info="WrapStyle: 2").text == "one\ntwo"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{\\k20}ka{\\k30}ra", [("ka", 1000, 1200), ("ra", 1200, 1500)]),
        ("{\\kf20}a {\\ko20}b {\\K20}c", [("a", 1000, 1200), ("b", 1200, 1400), ("c", 1400, 1600)]),
        ("{\\k50}{\\k50}after a pause", [("after a pause", 1500, 2000)]),
        ("before {\\k100}x", [("x", 1000, 2000)]),
        ("{\\k100}a{\\i1}b{\\k100}c", [("a<i>b", 1000, 2000), ("c", 2000, 3000)]),
        ("{\\k999999999}too long{\\k1}late", [("too long", 1000, 3000)]),
        ("{\\k0}none{\\k10}some", [("some", 1000, 1100)]),
        ("{\\k10\\k20}twice", [("twice", 1100, 1300)]),
        ("{\\k50}一\\N{\\k50}三", [("一", 1000, 1500), ("三", 1500, 2000)]),
        ("{\\k50} \\h{\\k50}x", [("x", 1500, 2000)]),
        ("no times", []),
    ],
)  # fmt: skip
def test_syllables(text, expected):
    assert words(cue(text)) == expected


def test_words_are_where_they_are_said_to_be():
    found = cue("{\\k10}  {\\b1}Hel{\\k10}lo <you> {\\k10}there  ")
    assert found.text == "<b>Hello <\u2060you> there"
    assert found.words == (
        Word(1000, 1100, 3, 6),
        Word(1100, 1200, 6, 15),
        Word(1200, 1300, 16, 21),
    )


def test_what_is_ignored_is_named_once():
    text = "{\\pos(1,2)\\fad(1,2)\\t(\\frz9)\\1a&HFF&}x{\\fad(1,2)\\unknown\\fnX\\p1}m 0 0{\\p0}"
    other = style("Other").replace(",100,100,0,0,1,", ",90,100,2,0,1,")
    lines = (
        dialogue(text),
        dialogue("y", style="Other").replace(",0,0,0,,y", ",5,0,0,Scroll up;0;9,y"),
    )
    found = parse_subtitles(
        "[Fonts]\nfontname: a.ttf\n!!!\n" + ass(*lines, styles=(style(), other))
    )
    assert found.ignored == (
        *("embedded fonts", "\\pos", "\\fad", "\\t", "\\1a", "\\fn", "drawings"),
        *("style font", "style outline", "style scale", "style spacing"),
        *("margins of lines", "effect Scroll"),
    )


def test_styles_that_no_line_uses_are_not_named():
    found = parse_subtitles(f"[V4+ Styles]\n{V4_PLUS}\n{style('Other')}\n[Events]\n{EVENTS}\n"
                            + dialogue("x", style="None"))  # fmt: skip
    assert found.ignored == ()


def test_a_line_with_a_colour_for_each_letter_is_shown_without_colours():
    text = "".join(f"{{\\c&H0000{n:02X}&}}字" for n in range(1, 200))
    found = parse_subtitles(ass(dialogue(text)))
    assert found.cues[0].text == "字" * 199
    assert "styles of lines with very many of them" in found.ignored


@pytest.mark.parametrize(
    ("file", "error"),
    [
        (ass(), "a SubStation file without any line of dialogue that is shown"),
        (ass(dialogue("x" * 2001)), "a cue of more than 2,000 characters at 00:00:01,000"),
        (ass(*(dialogue(f"{n}") for n in range(51))), "51 cues at once"),
        (
            ass(*(dialogue("x", f"1:00:00.{n % 100:02}", f"{n // 3600 + 2}:{n // 60 % 60}:{n % 60}")
                  for n in range(10_001))),
            "more than 10,000 cues",
        ),
        (
            ass(dialogue("x"), styles=tuple(style(f"{n}") for n in range(5_001))),
            "more than 5,000 styles",
        ),
        (ass(*(dialogue("{\\k1}x" * 1_900, f"0:{n}:00.00", f"0:{n}:59.00") for n in range(60))),
         "more than 100,000 timed words"),
    ],
)  # fmt: skip
def test_files_that_are_refused(file, error):
    with pytest.raises(InvalidInputError, match=re.escape(error)):
        parse_subtitles(file)
