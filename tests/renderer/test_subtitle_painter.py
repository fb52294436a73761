"""Layers of subtitles: where they are, how large, and how opaque."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles.cues import MAX_CHARACTERS, Cue
from cloudburst.models.options import RenderOptions
from cloudburst.renderer.fonts import find_font
from cloudburst.renderer.job import InputFaultError
from cloudburst.renderer.planes import bt709
from cloudburst.renderer.subtitle_painter import MAX_COLOURS, CueArea, SubtitlePainter, free_place
from cloudburst.renderer.subtitle_style import check_room, subtitle_style
from cloudburst.renderer.subtitle_track import subtitle_states

FONT = find_font()
LANDSCAPE, PORTRAIT = (1920, 1080), (1080, 1920)
OUTLINED = {"background_box": False}


def painter(*texts, size=LANDSCAPE, positions=(), **options):
    """A painter of cues with these texts, all at the bottom unless ``positions`` says else."""
    style = subtitle_style(RenderOptions(**options), *size)
    places = [*positions, *[2] * len(texts)]
    cues = [Cue(0, 1000, text, place) for text, place in zip(texts, places, strict=False)]
    return SubtitlePainter(cues, style, [FONT], *size)


def painted(*texts, **how):
    return painter(*texts, **how).paint(range(len(texts)))


def bounds(layer):
    """The visible part of a layer in the picture: left, top, right, bottom."""
    mask = Image.frombytes("L", (layer.width, layer.height), layer.mask)
    left, top, right, bottom = mask.getbbox()
    return layer.x + left, layer.y + top, layer.x + right, layer.y + bottom


def ink(layer):
    return sum(layer.mask) / 255


# One cue


def test_a_box_lies_around_its_text():
    box, letters = painted("字幕 text")
    assert box.colour == (16, 128, 128)
    assert letters.colour == (235, 128, 128)
    left, top, right, bottom = bounds(box)
    assert abs((left + right) / 2 - 960) <= 1
    assert (top, bottom) == (1080 - 97 - 75 - 8, 1080 - 97 + 8)  # margin, line, padding
    inner = bounds(letters)
    assert left + 20 < inner[0] < left + 35  # padding of 24, bearing of the letter
    assert right - 35 < inner[2] < right - 20
    assert top + 8 < inner[1]
    assert inner[3] < bottom - 8


@pytest.mark.parametrize("transparency", [0, 0.2, 0.5, 0.99])
def test_opacity_is_the_transparency_of_the_box(transparency):
    box, _ = painted("字", background_opacity=transparency)
    assert set(box.mask) == {0, 255 - round(transparency * 255)}


def test_a_transparent_box_is_replaced_by_an_outline():
    assert painted("字", background_opacity=1.0) == painted("字", **OUTLINED)


@pytest.mark.parametrize("font_size", [8, 10, 14, 16, 20, 27, 40])
def test_an_outline_surrounds_its_letters_evenly(font_size):
    """Pillow cuts a row off, or moves letters, at some widths of strokes."""
    size = font_size * 1080 / 288
    options = {"outline_color": "&H000000FF", "font_size": font_size, **OUTLINED}
    for language in ("chinese", "english"):
        outline, letters = painted("一", language=language, **options)
        assert outline.colour == bt709(255, 0, 0)
        assert letters.colour == (235, 128, 128)
        for outer, inner in zip(middle_edges(outline), middle_edges(letters), strict=True):
            assert abs(outer - inner) == pytest.approx(size * 0.06, abs=0.35)


def middle_edges(layer):
    """Left, top, right and bottom edge of a shape, along the lines through its middle."""
    left, top, right, bottom = bounds(layer)
    mask = Image.frombytes("L", (layer.width, layer.height), layer.mask)
    x, y = (left + right) // 2 - layer.x, (top + bottom) // 2 - layer.y
    row = [value / 255 for value in mask.crop((0, y, layer.width, y + 1)).tobytes()]
    column = [value / 255 for value in mask.crop((x, 0, x + 1, layer.height)).tobytes()]
    return (
        layer.x + x - sum(row[:x]),
        layer.y + y - sum(column[:y]),
        layer.x + x + sum(row[x:]),
        layer.y + y + sum(column[y:]),
    )


def test_letters_in_colours_are_at_the_places_of_letters_in_white():
    box, white = painted("some red and more")
    box_of_colours, first, red = painted('some <font color="red">red</font> and more')
    assert box_of_colours == box
    assert (first.colour, red.colour) == (white.colour, bt709(255, 0, 0))
    together = Image.new("L", LANDSCAPE)
    for layer in (first, red):
        part = Image.frombytes("L", (layer.width, layer.height), layer.mask)
        together.paste(part, (layer.x, layer.y), part.point([0] + [255] * 255))
    area = (white.x, white.y, white.x + white.width, white.y + white.height)
    assert together.crop(area).tobytes() == white.mask
    assert bounds(first)[0] < bounds(red)[0] < bounds(red)[2] < bounds(first)[2]


def test_the_outline_of_coloured_letters_has_one_colour():
    plain, _ = painted("a red b", **OUTLINED)
    outline, *letters = painted("a <font color='#f00'>red</font> b", **OUTLINED)
    assert outline == plain
    assert len(letters) == 2


def test_a_cue_has_a_limited_number_of_colours():
    many = "".join(f"<font color=#0000{shade:02x}>字" for shade in range(60))
    _, *letters = painted(many, font_size=8)
    assert len(letters) == MAX_COLOURS
    (_, white) = painted("字" * 60, font_size=8)
    assert sum(map(ink, letters)) == pytest.approx(ink(white))


def test_alpha_of_the_outline():
    solid, _ = painted("字", outline_color="&H00112233", **OUTLINED)
    half, _ = painted("字", outline_color="&H80112233", **OUTLINED)
    assert max(half.mask) == 255 - 0x80
    assert ink(half) == pytest.approx(ink(solid) / 2, rel=0.02)
    (letters,) = painted("字", outline_color="&HFF112233", **OUTLINED)
    assert letters.colour == (235, 128, 128)


def test_chinese_subtitles_are_bold():
    _, bold = painted("一二三")
    _, plain = painted("一二三", language="english")
    _, tagged = painted("<b>一二三</b>", language="english")
    assert ink(plain) * 1.1 < ink(bold)
    assert tagged == bold


def test_italic_letters_lean_to_the_right():
    _, upright = painted("l", language="english")
    _, leaning = painted("<i>l</i>", language="english")
    a, b = bounds(upright), bounds(leaning)
    assert (a[1], a[3]) == (b[1], b[3])
    assert b[2] - a[2] == pytest.approx(0.2125 * (a[3] - a[1]), abs=4)  # it has a round foot
    assert abs(b[0] - a[0]) < 3  # at the baseline


def test_an_underline_runs_below_the_text():
    _, plain = painted("nnnn", language="english")
    _, under = painted("<u>nnnn</u>", language="english")
    a, b = bounds(plain), bounds(under)
    assert 4 < b[3] - a[3] < 12
    row = b[3] - 1 - under.y
    drawn = under.mask[row * under.width : (row + 1) * under.width]
    assert sum(drawn) / 255 >= a[2] - a[0]
    assert (b[0], b[2]) == pytest.approx((a[0], a[2]), abs=6)


def test_a_line_runs_through_struck_letters():
    _, plain = painted("n    n", language="english")
    _, struck = painted("<s>n    n</s>", language="english")
    a, b = bounds(plain), bounds(struck)
    assert (a[1], a[3]) == (b[1], b[3])
    x = (b[0] + b[2]) // 2 - struck.x  # between the letters
    rows = [y for y in range(struck.height) if struck.mask[y * struck.width + x]]
    assert 2 <= len(rows) <= 6
    assert b[1] < struck.y + rows[0] <= struck.y + rows[-1] < (b[1] + 3 * b[3]) / 4


@pytest.mark.parametrize("position", range(1, 10))
@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT])
def test_nine_positions(position, size):
    box, letters = painted("上下", positions=[position], size=size)
    style = subtitle_style(RenderOptions(), *size)
    left, top, right, bottom = bounds(box)
    across, down = style.padding
    row, column = divmod(position - 1, 3)
    width, height = size
    assert (
        left + across == pytest.approx(style.side, abs=1),
        (left + right) / 2 == pytest.approx(width / 2, abs=1),
        right - across == pytest.approx(width - style.side, abs=1),
    )[column]
    assert (
        bottom - down == pytest.approx(height - style.bottom, abs=1),
        (top + bottom) / 2 == pytest.approx(height / 2, abs=1),
        top + down == pytest.approx(style.bottom, abs=1),
    )[row]
    inner = bounds(letters)
    assert left < inner[0] < inner[2] < right
    assert top < inner[1] < inner[3] < bottom


@pytest.mark.parametrize(("position", "edge"), [(1, 0), (3, 2)])
def test_lines_are_aligned_at_their_side(position, edge):
    _, both = painted("一一一一一\n一", positions=[position], language="english")
    _, short = painted("一", positions=[position], language="english")
    assert bounds(both)[edge] == pytest.approx(bounds(short)[edge], abs=1)


def test_font_sizes_count_as_the_public_image_counts():
    for size, line in ((LANDSCAPE, 150), (PORTRAIT, 40)):
        box, _ = painted("字", font_size=40, size=size)
        _, top, _, bottom = bounds(box)
        assert bottom - top == pytest.approx(line * 1.2, abs=2)


@pytest.mark.parametrize("language", ["chinese", "english"])
def test_quotation_marks_are_narrow_beside_narrow_letters(language):
    def added(text):
        """Return the width of the quotation marks of a text, each."""
        marks = sum(map(text.count, "“”‘’"))
        plain = "".join(character for character in text if character not in "“”‘’")
        widths = [bounds(painted(each, language=language)[0]) for each in (text, plain)]
        return (widths[0][2] - widths[0][0] - widths[1][2] + widths[1][0]) / marks

    for text in ("It’s", "“It’s”", "rock ’n’ roll", "он’а", "It’s 好", "好It’s", "“Hi”, she said"):
        assert added(text) < 30, text
    for text in ("说’的", "说“的”", "说“OK”", "“你好” OK", "‘好’"):
        assert added(text) > 45, text


def test_emoji_are_left_out_and_letters_without_a_glyph_are_refused():
    assert painted("好 😀") == painted("好")
    assert painted("😀👍🏽") == []
    assert painter("好 😀").left_out() == ["😀"]
    with pytest.raises(InvalidInputError, match=r"U\+03AC ά"):
        painter("好 ά").left_out()


@pytest.mark.parametrize("text", ["", "\n\n", "<i></i>", "\u200b\u2060", "   "])
def test_text_without_letters_draws_nothing(text):
    assert painted(text) == []


@settings(max_examples=60)
@given(
    text=st.text("abcWmil \n字，é한 <i>", min_size=1, max_size=300),
    size=st.sampled_from([LANDSCAPE, PORTRAIT]),
    options=st.fixed_dictionaries(
        {
            "subtitle_lines": st.sampled_from([0, 2]),
            "words_at_once": st.sampled_from([0, 3]),
            "font_size": st.sampled_from([None, 60, 150]),
        }
    ),
)
def test_a_text_that_is_refused_before_the_run_would_leave_the_picture(text, size, options):
    style = subtitle_style(RenderOptions(**options), *size)
    cue = Cue(0, 60_000, text * 6)
    try:
        check_room(cue, style, size[1])
    except InvalidInputError:
        look = SubtitlePainter([cue], style, [FONT], *size)
        shown = [state.shown for state in subtitle_states(look.cues, 1800, 30)]
        with pytest.raises(InputFaultError, match="would leave the picture"):
            [*map(look.place, shown)]


# Several cues


def tops(layers):
    return [bounds(layer)[1] for layer in layers if layer.colour == (16, 128, 128)]


def test_cues_are_stacked_from_the_bottom_up_and_from_the_top_down():
    first, second, third = tops(painted("a", "b\nb", "c"))
    assert (first - second, second - third) == (150, 75)
    first, second = tops(painted("a", "b", positions=[8, 8]))
    assert second - first == 75
    first, second = tops(painted("a", "b", positions=[5, 5]))
    assert second - first == 75


def test_cues_side_by_side_are_not_stacked():
    first, second = tops(painted("a", "b", positions=[1, 3]))
    assert first == second


def test_outlined_cues_have_room_for_both_outlines():
    layers = painted("一", "一", **OUTLINED)
    lower, upper = bounds(layers[1]), bounds(layers[3])
    assert lower[1] - upper[1] == pytest.approx(75 + 2 * 75 * 0.06, abs=1)


def test_a_cue_keeps_its_place_until_it_ends():
    stack = painter("aaaa", "bb", "cc")
    (bottom,) = tops(stack.paint([0]))
    assert tops(stack.paint([0, 1])) == [bottom, bottom - 75]
    assert tops(stack.paint([1])) == [bottom - 75]
    assert tops(stack.paint([1, 2])) == [bottom - 75, bottom]
    assert tops(stack.paint([])) == []
    assert tops(stack.paint([1])) == [bottom]


def test_places_are_found_without_drawing(monkeypatch):
    drawn, stack = painter("aaaa", "bb", "cc"), painter("aaaa", "bb", "cc")
    states = [[0], [0, 1], [1]]
    for state in states:
        drawn.paint(state)
    with monkeypatch.context() as context:
        context.delattr(stack._letters.__class__, "draw")
        for state in states:
            stack.place(state)
    assert stack.paint([1, 2]) == drawn.paint([1, 2])


def test_only_the_shown_cues_are_kept():
    stack = painter(*(f"cue {n}" for n in range(30)))
    for n in range(30):
        stack.paint([n])
    assert len(stack._placed) == 1


RECTANGLES = st.builds(
    lambda left, top, width, height: CueArea(left, top, left + width, top + height),
    *(st.floats(0, 500), st.floats(0, 500), st.floats(1, 300), st.floats(1, 300)),
)


@given(st.lists(RECTANGLES, max_size=8), st.booleans())
def test_a_free_place_overlaps_nothing(wanted, downwards):
    placed = []
    for one in wanted:
        place = free_place(one, placed, downwards=downwards)
        assert not any(place.overlaps(other) for other in placed)
        assert (place.left, place.right) == (one.left, one.right)
        assert place.top >= one.top if downwards else place.top <= one.top
        placed.append(place)


# Any text


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(
        st.tuples(
            st.text(
                st.one_of(
                    st.sampled_from("ab <i></i><u>一，（”\n\u0301\u200d\ufdfd😀"),
                    st.characters(exclude_categories=["Cs"]),
                ),
                max_size=80,
            ),
            st.one_of(st.none(), st.integers(1, 9)),
        ),
        min_size=1,
        max_size=4,
    ),
    size=st.sampled_from([LANDSCAPE, PORTRAIT, (64, 36), (36, 64)]),
    font_size=st.sampled_from([8, None, 120]),
    boxed=st.booleans(),
    look=st.fixed_dictionaries(
        {},
        optional={
            "outline_width": st.sampled_from([0, 0.2]),
            "shadow": st.sampled_from([0.001, 0.2]),
            "text_color": st.sampled_from(["#ff000080", "#00000000"]),
            "box_padding": st.sampled_from([(0, 0), (2, 2)]),
            "subtitle_position": st.sampled_from(["top-left", "center", "bottom-right"]),
            "subtitle_margin": st.sampled_from([(0, 0), (0.4, 0.4)]),
            "subtitle_width": st.sampled_from([0.2, 1.0]),
            "shadow_blur": st.sampled_from([0.1, 0.5]),
            "box_radius": st.sampled_from([0.1, 1]),
        },
    ),
)
def test_layers_lie_within_the_picture(texts, size, font_size, boxed, look):
    subtitles = painter(
        *(text for text, _ in texts),
        positions=[position for _, position in texts],
        size=size,
        font_size=font_size,
        background_box=boxed,
        **look,
    )
    try:
        layers = subtitles.paint(range(len(texts)), scales=[0.7] * len(texts))
    except InputFaultError:  # large letters, which would leave the picture
        return
    for layer in layers:
        assert 0 <= layer.x < layer.x + layer.width <= size[0]
        assert 0 <= layer.y < layer.y + layer.height <= size[1]
        assert not any(number % 2 for number in layer[:4])
        assert len(layer.mask) == layer.width * layer.height
        assert len(layer.half_mask) == len(layer.mask) // 4
        assert any(layer.mask)


@pytest.mark.parametrize(
    "text",
    ["e" + "\u0302" * 1999, "\n".join("行" * 300), "<i>a</i>" * 250],
    ids=["marks", "300 lines", "tags"],
)
def test_extreme_cues_are_drawn_within_the_picture(text):
    for options in ({}, OUTLINED):
        layers = painted(text, **options)
        assert layers
        assert sum(len(layer.mask) for layer in layers) <= 2 * 1920 * 1080


@pytest.mark.parametrize(
    ("texts", "options"),
    [
        (["x" * MAX_CHARACTERS], {}),
        (["\n".join("行" * 15)], {"subtitle_lines": 0}),
        (["two\nlines"] * 8, {}),
        (["two\nlines"] * 2, {"font_size": 120}),
    ],
    ids=["endless word", "not divided", "many cues", "large letters"],
)
def test_text_that_would_leave_the_picture_is_a_fault_that_says_how_to_avoid_it(texts, options):
    with pytest.raises(InputFaultError) as caught:
        painted(*texts, **options)
    fault = caught.value.fault
    assert fault.field == "subtitle"
    assert re.match(
        r"text that would leave the picture at 00:00:00,000: \d+ lines of \d+ pixels, beside \d",
        fault.found,
    )
    assert fault.expected.startswith("a smaller font_size, ")


def test_letters_of_the_largest_size_take_the_lines_that_fit_into_the_picture():
    subtitles = painter("字" * 30, font_size=120)
    assert [len(cue.text) for cue in subtitles.cues] == [10, 10, 10]
    assert all(subtitles.paint([n]) for n in range(3))


def test_an_error_of_the_font_library_is_a_fault_of_the_subtitle(monkeypatch):
    subtitles = painter("a")

    def broken(*_, **__):
        raise OSError("raster overflow")

    monkeypatch.setattr(subtitles._letters, "draw", broken)
    with pytest.raises(InputFaultError, match="subtitle: text that cannot be drawn: raster"):
        subtitles.paint([0])


def digest():
    layers = painted("今天，<i>don’t</i> 字", "<u>second</u> ⅓ AV", **OUTLINED)
    return hashlib.sha256(repr(layers).encode()).hexdigest()


@pytest.mark.nightly
def test_another_process_draws_the_same_bytes():
    script = (
        "import sys; sys.path[:] = sys.argv[1:]\n"
        "from renderer.test_subtitle_painter import digest; print(digest())"
    )
    tests = __file__.rpartition("/renderer/")[0]
    output = subprocess.run(
        [sys.executable, "-c", script, tests, *sys.path],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
    ).stdout
    assert output.strip() == digest()
