"""Lines of a cue. Widths: 1 for Latin letters, 2 for Chinese ones, 0 for marks."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloudburst.renderer.text_layout import (
    NARROW_QUOTES,
    Glyph,
    TextStyle,
    is_combining,
    is_invisible,
    layout,
    line_breaks,
    line_width,
    plain_text,
)

PLAIN, BOLD, RED = TextStyle(), TextStyle(bold=True), TextStyle(colour=(255, 0, 0))


def width(character):
    if unicodedata.combining(character) or is_invisible(character):
        return 0
    return 2 if ord(character) >= 0x2E80 else 1


class Letters:
    """Font without kerning or ligatures, in which a mark belongs to the glyph before it."""

    def __init__(self, hidden=""):
        self.hidden = hidden

    def has_glyph(self, character):
        return character not in self.hidden

    def shape(self, text, *, rtl=False, face=""):
        glyphs = []
        for place, character in enumerate(text):
            marked = glyphs and is_combining(character)
            start = glyphs[-1].place if marked else place
            glyphs.append(Glyph(start, 0, ord(character), character, width(character), 0, 0))
        return glyphs


def text_of(run):
    characters = (glyph.character for glyph in run.glyphs)
    return "".join(NARROW_QUOTES.get(one, one) for one in characters if one not in "\u200b\u2060")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It’s late…", "It’s late..."),
        ("…and “so…”", "...and “so...”"),
        ("好，wait… 好", "好，wait... 好"),
        ("他说…", "他说…"),
        ("iPhone……好", "iPhone……好"),
    ],
)
def test_an_ellipsis_beside_narrow_letters_stands_on_the_baseline(text, expected):
    assert lines(text, 99) == [expected]


def lines(text, room=20, *, bold=False, hidden=""):
    found = layout(text, bold=bold, room=room, letters=Letters(hidden))
    return ["".join(map(text_of, line)) for line in found]


@pytest.mark.parametrize(
    ("text", "room", "expected"),
    [
        ("", 20, [""]),
        ("one line", 20, ["one line"]),
        ("two\nlines", 20, ["two", "lines"]),
        # Words; the upper of two lines is the wider one, or as near to it as words allow.
        ("aaaa bbbb cccc dddd eeee", 20, ["aaaa bbbb cccc", "dddd eeee"]),
        ("aaaa bbbb cccc dddd eeee ffff", 20, ["aaaa bbbb cccc", "dddd eeee ffff"]),
        ("a bbbbbbbbbbbbbbbbbbb cc", 20, ["a", "bbbbbbbbbbbbbbbbbbb", "cc"]),
        ("aaa   bbb", 4, ["aaa", "bbb"]),
        # After punctuation, if lines are about as even.
        (
            "Hello, my dear friends of old, come in",
            25,
            ["Hello, my dear friends", "of old, come in"],
        ),
        ("one two, three four five", 14, ["one two, three", "four five"]),
        ("well, “I see.” Let us go now", 20, ["well, “I see.”", "Let us go now"]),
        # Chinese and Japanese break anywhere, and rather between phrases.
        ("今天天气很好，我们去公园散步。", 20, ["今天天气很好，", "我们去公园散步。"]),
        ("我们明天早上一起去公园散步吧", 20, ["我们明天早上一起", "去公园散步吧"]),
        ("我们去北京大学图书馆，看书", 20, ["我们去北京大学", "图书馆，看书"]),
        ("在尊嚴和權利上一律平等", 14, ["在尊嚴和權利", "上一律平等"]),
        ("吾輩は猫である。名前はまだ無い。", 20, ["吾輩は猫である。", "名前はまだ無い。"]),
        ("どこで生れたか頓と見当がつかぬ", 20, ["どこで生れたか頓と", "見当がつかぬ"]),
        ("모든 인간은 태어날 때부터 자유롭다", 30, ["모든 인간은 태어날", "때부터 자유롭다"]),
        # Thai between words; Khmer at spaces, and in a word without any where it must.
        ("มนุษย์ทั้งหลายเกิดมามีอิสระ", 15, ["มนุษย์ทั้งหลาย", "เกิดมามีอิสระ"]),
        ("มนุษย์ทั้ง", 6, ["มนุษย์", "ทั้ง"]),
        ("មនុស្សទាំងអស់ កើតមកមានសេរីភាព", 22, ["មនុស្សទាំងអស់", "កើតមកមានសេរីភាព"]),
        ("មនុស្ស\u200bទាំងអស់", 9, ["មនុស្ស", "ទាំងអស់"]),
        # A closing mark does not start a line, an opening one does not end one.
        ("一二三四，五六七", 8, ["一二", "三四，", "五六七"]),
        ("一二三（五六七", 8, ["一二三", "（五六七"]),
        ("一二三四”五六七", 8, ["一二", "三四”", "五六七"]),
        ("一二三“五六七", 8, ["一二三", "“五六七"]),
        ("一二三四……五六", 8, ["一二三", "四……五六"]),
        ("ありがとうっと", 12, ["ありがと", "うっと"]),
        # Chinese and Latin in one line.
        ("一二abcd三四", 7, ["一二", "abcd", "三四"]),
        ("第1章 开始", 8, ["第1章", "开始"]),
        ("价格¥100元", 8, ["价格", "¥100元"]),
        # Hyphens between letters, not between digits.
        ("well-known", 7, ["well-", "known"]),
        ("2024-2025", 7, ["2024-", "2025"]),
        # An endless word is cut anywhere.
        ("a" * 25, 10, ["a" * 9, "a" * 8, "a" * 8]),
        ("x " + "a" * 15, 10, ["x " + "a" * 7, "a" * 8]),
        ("一二", 1, ["一", "二"]),
        # Spaces that do not break, and invisible characters that do and do not.
        ("aaaa\xa0bbbb cccc", 10, ["aaaa\xa0bbbb", "cccc"]),
        ("aaaa\u200bbbbb", 6, ["aaaa", "bbbb"]),
        ("一二\u2060三四", 4, ["一", "二三", "四"]),
        ("一二三四　五六七八", 8, ["一二三四", "五六七八"]),
    ],
)
def test_wrap(text, room, expected):
    assert lines(text, room) == expected


def test_marks_stay_with_their_letter():
    text = "x\u0302" * 12  # has no composed form
    assert lines(text, 5) == ["x\u0302" * 4] * 3
    assert lines("e" + "\u0302" * 50 + "b", 1) == ["ê" + "\u0302" * 49, "b"]


def test_text_is_composed():
    assert lines("cafe\u0301") == ["caf\xe9"]


def test_a_character_that_is_not_shown_leaves_no_second_space():
    assert lines("so 👍🏽 good 👍", hidden="👍🏽") == ["so good"]
    assert lines("👍 good", hidden="👍") == ["good"]
    assert lines("a  b") == ["a  b"]
    assert lines("👍", hidden="👍") == [""]


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("a<i>b</i>c", [("a", PLAIN), ("b", TextStyle(italic=True)), ("c", PLAIN)]),
        ("<B>a</b>", [("a", BOLD)]),
        (
            "<u><i>a</u>b",
            [("a", TextStyle(italic=True, underlined=True)), ("b", TextStyle(italic=True))],
        ),
        ('<font color="red">a</font><ruby>b', [("a", RED), ("b", PLAIN)]),
        ('<FONT size="9" COLOR=#F00>a</Font>b', [("a", RED), ("b", PLAIN)]),
        ("<font color='#ff000080'>a<i>b", [("a", RED), ("b", RED._replace(italic=True))]),
        (
            '<font color="no colour">a<font face="b" xcolor="red">c<fontcolor="red">d',
            [("acd", PLAIN)],
        ),
        ('<font color="#' + "f" * 200 + '">a', [("a", PLAIN)]),
        ("1 < 2 <3 a>b", [("1 < 2 <3 a>b", PLAIN)]),
        ("<\u2060i>", [("<i>", PLAIN)]),
        ("{\\an8}C:\\new", [("{\\an8}C:\\new", PLAIN)]),
        ("a\tb\x00c\u2028d", [("a bcd", PLAIN)]),
    ],
)
def test_tags(text, runs):
    (line,) = layout(text, bold=False, room=99, letters=Letters())
    assert [(text_of(run), run.style) for run in line] == runs


def test_a_closing_tag_returns_to_the_style_without_tags():
    (first, second) = layout("a<i>b\nc</i></b>d", bold=True, room=9, letters=Letters())
    assert [run.style for run in first] == [BOLD, TextStyle(bold=True, italic=True)]
    assert [run.style for run in second] == [TextStyle(bold=True, italic=True), BOLD]


def test_a_tag_within_a_word_does_not_break_it():
    assert lines("aaa bb<i>bb</i>", 6) == ["aaa", "bbbb"]


def test_plain_text_has_no_tags():
    assert plain_text("<i>cafe\u0301</i>\n<x y>b\x07") == "caf\xe9\nb"


TEXT = st.text(
    st.one_of(
        st.sampled_from("ab -—’“”（）。，一二字\u0301\u200b\u2060\xa0　"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=60,
)


@given(TEXT, st.integers(1, 30))
@example("0\u093e", 1)  # a mark that has a width and stays with the character before it
def test_lines_fit_and_hold_the_whole_text(text, room):
    found = layout(text, bold=False, room=room, letters=Letters())
    for line in found:
        visible = "".join(map(text_of, line))
        base = [one for one in visible if width(one) and not is_combining(one)]
        assert line_width(line) <= room or len(base) <= 1
        assert line_width(line) == sum(map(width, visible))

    def solid(text):
        return [one for one in text if not one.isspace() and one not in "\u200b\u2060"]

    drawn = "".join(text_of(run) for line in found for run in line)
    assert solid(drawn) == solid(plain_text(text))


@example("ก ")
@example("ก，")
@given(TEXT)
def test_breaks_are_allowed(text):
    for index in line_breaks(text):
        assert 0 < index < len(text)
        assert text[index] not in "，。）”’　 "
        assert text[index - 1] not in "（“"
        assert (
            not unicodedata.combining(text[index])
            or text[index - 1] in " 　\u200b"
            or (text[index - 1].isspace())
        )


def test_a_long_cue_takes_little_time():
    text = "<i>a</i>字 b，" * 200
    for room in (1, 3, 40, 4000):
        assert "".join(lines(text, room)).count("字") == 200
