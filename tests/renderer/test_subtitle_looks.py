"""Options of the look of subtitles, in the pixels of frames that the render process encodes."""

from __future__ import annotations

import struct
from typing import get_args

import pytest
from PIL import Image, ImageChops

from cloudburst.models.options.subtitles import FontFamily
from cloudburst.renderer.fonts import find_font
from cloudburst.renderer.job import InputFaultError
from cloudburst.renderer.letters import Letters
from cloudburst.renderer.planes import to_picture
from cloudburst.renderer.text_layout import NARROW_QUOTES
from support.font_files import collection, latin_font
from support.render_job import lay_job, load_here

pytestmark = pytest.mark.real

SRT = "1\n00:00:00,000 --> 00:00:01,000\n{text}\n"
TEXT = "一字 Text"
TOLERANCE = 40
"""Difference of each channel within which two colours are equal, of 255."""
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
GREY = (90, 90, 90)
"""Colour of the picture."""
OUTLINED = {"background_box": False}


def picture_of(folder, text=TEXT, **options) -> Image.Image:
    """Return a frame with this subtitle."""
    folder.mkdir(exist_ok=True)
    subtitle = text if "-->" in text else SRT.format(text=text)
    size = (1080, 1920) if options.get("is_portrait") else (1920, 1080)
    grey = Image.new("L", size, GREY[0])
    scene = load_here(lay_job(folder, picture=grey, subtitle=subtitle, **options), 3)
    return to_picture(scene.source.draw(1).read())


def pixels(picture: Image.Image, colour: tuple[int, int, int]) -> int:
    """Return the number of pixels of a colour."""
    different = ImageChops.difference(picture, Image.new("RGB", picture.size, colour))
    most = ImageChops.lighter(
        ImageChops.lighter(different.getchannel(0), different.getchannel(1)),
        different.getchannel(2),
    )
    return sum(most.histogram()[: TOLERANCE + 1])


@pytest.mark.few(4, spread=True)
@pytest.mark.parametrize(
    ("options", "colour"),
    [
        ({"text_color": "#ff0000"}, RED),
        ({"text_color": "#FF0000"}, RED),
        ({"text_color": "#ff000080", "box_color": "#00ff00ff"}, (128, 128, 0)),
        ({"outline_color": "#0000ff", **OUTLINED}, BLUE),
        ({"outline_color": "&H00ff0000", **OUTLINED}, BLUE),
        ({"outline_color": "#0000ff80", **OUTLINED}, (45, 45, 172)),
        ({"box_color": "#00ff00", "background_opacity": 0}, GREEN),
        ({"box_color": "#00ff00ff"}, GREEN),
        ({"box_color": "#00ff0080", "background_opacity": 0}, (45, 172, 45)),
    ],
    ids=str,
)
def test_parts_have_their_colours(tmp_path, options, colour):
    plain = {name: value for name, value in options.items() if not name.endswith("_color")}
    assert pixels(picture_of(tmp_path / "plain", **plain), colour) < 50
    assert pixels(picture_of(tmp_path / "coloured", **options), colour) > 1000


def test_outline_and_shadow_do_not_show_through_transparent_letters(tmp_path):
    options = {"text_color": "#ffffff01", "outline_color": "#0000ff", "font_size": 80, **OUTLINED}
    picture = picture_of(tmp_path, "一", shadow=0.03, shadow_color="#00ff00", **options)
    left, top, right, bottom = area(picture, BLUE)
    assert picture.getpixel((left + 2, (top + bottom) // 2))[2] > 200
    assert max(picture.getpixel(((left + right) // 2, (top + bottom) // 2))) < 110


def test_a_coloured_part_of_a_text_keeps_the_opacity(tmp_path):
    text = 'white <font color="#ff0000">red</font>'
    picture = picture_of(tmp_path, text, text_color="#ffffff80", box_color="#000000ff")
    assert pixels(picture, (128, 0, 0)) > 300
    assert pixels(picture, RED) < 50


LINE = 75
"""Height of a line in a landscape video of the default font size, in pixels."""

EM = LINE / (1.16 + 0.288)
"""Width of a Chinese character there: ascender and descender of the font are in em."""


def area(picture: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Return the edges of the area in which pixels have a colour."""
    different = ImageChops.difference(picture, Image.new("RGB", picture.size, colour))
    near = different.point(lambda value: 255 * (value <= TOLERANCE))
    found = ImageChops.multiply(
        ImageChops.multiply(*near.split()[:2]), near.getchannel(2)
    ).getbbox()
    assert found
    return found


@pytest.mark.few(3)
@pytest.mark.parametrize("share", [0.2, 0.0])
@pytest.mark.parametrize("background_box", [True, False])
def test_an_outline_has_its_width_with_and_without_a_box(tmp_path, share, background_box):
    options = {
        "text_color": "#ff0000",
        "outline_color": "#0000ff",
        "background_box": background_box,
        "language": "english",
        "font_size": 40,
    }
    picture = picture_of(tmp_path, "一", outline_width=share, **options)
    if not share:
        assert pixels(picture, BLUE) == 0
        return
    inner, outer = area(picture, RED), area(picture, BLUE)
    for one, other in zip(inner, outer, strict=True):
        assert abs(one - other) == pytest.approx(share * 2 * LINE, abs=4)


def test_a_shadow_lies_to_the_right_and_below(tmp_path):
    options = {"text_color": "#ff0000", "outline_width": 0, "font_size": 40, **OUTLINED}
    assert pixels(picture_of(tmp_path / "plain", "一", **options), BLUE) == 0
    picture = picture_of(tmp_path / "shadow", "一", shadow=0.2, shadow_color="#0000ff", **options)
    letter, shadow = area(picture, RED), area(picture, BLUE)
    for one, other in zip(letter[2:], shadow[2:], strict=True):
        assert other - one == pytest.approx(0.2 * 2 * LINE, abs=3)


def test_a_shadow_is_that_of_the_outline(tmp_path):
    options = {"shadow": 0.2, "shadow_color": "#0000ff", **OUTLINED}
    thin = picture_of(tmp_path / "thin", outline_width=0, **options)
    thick = picture_of(tmp_path / "thick", outline_width=0.15, **options)
    assert pixels(thick, BLUE) > 1.5 * pixels(thin, BLUE) > 0


def test_shadows_of_two_cues_do_not_meet_the_letters_of_the_other(tmp_path):
    two = SRT.format(text="一") + "\n" + SRT.format(text="一")
    options = {"font_size": 40, "outline_width": 0, "text_color": "#ff0000", **OUTLINED}
    plain = area(picture_of(tmp_path / "plain", two, **options), RED)
    apart = area(picture_of(tmp_path / "apart", two, shadow=0.2, **options), RED)
    grown = (apart[3] - apart[1]) - (plain[3] - plain[1])
    assert grown == pytest.approx(0.2 * 2 * LINE, abs=2)


@pytest.mark.few(2)
@pytest.mark.parametrize("padding", [(0, 0), "0.5 0.3", "1,1", [2, 0]])
def test_a_box_has_its_padding(tmp_path, padding):
    across, down = (
        map(float, padding.replace(",", " ").split()) if isinstance(padding, str) else padding
    )
    options = {"box_color": "#00ff00ff", "text_color": "#00ff00"}
    left, top, right, bottom = area(
        picture_of(tmp_path, "一一", box_padding=padding, **options), GREEN
    )
    assert bottom - top == pytest.approx(LINE * (1 + 2 * down), abs=2)
    assert right - left == pytest.approx(2 * EM + 2 * across * LINE, abs=3)


PLACES = (
    *("bottom-left", "bottom", "bottom-right"),
    *("left", "center", "right"),
    *("top-left", "top", "top-right"),
)
PLACED = {"text_color": "#ff0000", "outline_width": 0, **OUTLINED}


@pytest.mark.few(6, spread=True)
@pytest.mark.parametrize("is_portrait", [False, True])
@pytest.mark.parametrize(("number", "name"), list(enumerate(PLACES)))
def test_a_text_without_a_position_has_that_of_the_option(tmp_path, number, name, is_portrait):
    picture = picture_of(tmp_path, "一", subtitle_position=name, is_portrait=is_portrait, **PLACED)
    left, top, right, bottom = area(picture, RED)
    assert (left + right) / 2 // (picture.width / 3) == number % 3
    assert (top + bottom) / 2 // (picture.height / 3) == 2 - number // 3


def test_a_position_of_a_text_comes_before_the_option(tmp_path):
    _, top, _, _ = area(picture_of(tmp_path, "{\\an2}一", subtitle_position="top", **PLACED), RED)
    assert top > 800


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize(
    ("position", "margin"),
    [("bottom-left", (0.2, 0.3)), ("top-right", "0.05 0.05"), ("bottom-right", (0.0, 0.0))],
)
@pytest.mark.parametrize("is_portrait", [False, True])
def test_a_text_keeps_its_margin(tmp_path, position, margin, is_portrait):
    across, down = map(float, margin.split()) if isinstance(margin, str) else margin
    options = {"background_opacity": 0, "box_color": "#00ff00", "text_color": "#00ff00"}
    picture = picture_of(
        tmp_path,
        "一",
        box_padding=(0, 0),
        subtitle_position=position,
        subtitle_margin=margin,
        is_portrait=is_portrait,
        **options,
    )
    left, top, right, bottom = area(picture, GREEN)
    side = left if position.endswith("left") else picture.width - right
    edge = top if position.startswith("top") else picture.height - bottom
    assert side == pytest.approx(across * picture.width, abs=2)
    assert edge == pytest.approx(down * picture.height, abs=2)


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("position", ["bottom", "bottom-left", "bottom-right"])
def test_a_text_is_not_wider_than_the_option(tmp_path, share, position):
    options = {"subtitle_width": share, "subtitle_position": position, **PLACED}
    fitting = int(share * 1920 / EM)
    for count in (fitting, fitting + 1):
        picture = picture_of(tmp_path / str(count), "永" * count, **options)
        left, top, right, bottom = area(picture, RED)
        assert (bottom - top > LINE) == (count > fitting)
        assert right - left <= share * 1920
        assert left >= 0
        assert right <= 1920
        if share < 0.9 and position != "bottom":
            edge = left if position == "bottom-left" else 1920 - right
            assert edge == pytest.approx(0.08 * 1920, abs=LINE / 10)


# Fonts


def with_font(folder, font: bytes, text: str, **options) -> tuple[Image.Image, tuple[str, ...]]:
    """Return a frame of a job with a font file, and its warnings."""
    folder.mkdir(exist_ok=True)
    file = folder / "font"
    file.write_bytes(font)
    scene = load_here(lay_job(folder, subtitle=SRT.format(text=text), font=file, **options), 3)
    return to_picture(scene.source.draw(1).read()), scene.warnings


def test_families_differ_in_the_shapes_of_characters(tmp_path):
    text = "返直与角“Text”"
    found = [
        picture_of(tmp_path / family, text, font=family, **PLACED).tobytes()
        for family in get_args(FontFamily)
    ]
    assert len(set(found)) == len(found) == 5
    assert picture_of(tmp_path / "default", text, **PLACED).tobytes() == found[0]


def test_quotation_marks_are_narrow_in_all_families():
    for family in get_args(FontFamily):
        letters = Letters([find_font(family)], 75)
        (narrow,) = letters.shape(next(iter(NARROW_QUOTES)))
        assert 0 < narrow.advance < letters.em / 2


def test_a_font_file_draws_the_letters(tmp_path):
    default = picture_of(tmp_path / "default", "Text", **PLACED)
    picture, warnings = with_font(tmp_path / "own", latin_font(), "Text", **PLACED)
    assert warnings == ()
    assert pixels(picture, RED) > 1000
    assert area(picture, RED) != area(default, RED)


def test_a_font_file_is_completed_by_the_package(tmp_path):
    default = picture_of(tmp_path / "default", "字", **PLACED)
    picture, _ = with_font(tmp_path / "own", latin_font(), "字", **PLACED)
    assert pixels(picture, RED) > pixels(default, RED)  # the em of the file is larger


def test_letters_that_all_fonts_lack_are_refused_and_symbols_are_left_out(tmp_path):
    match = r"subtitle: Arabic characters that no font has: U\+0645 م .* expected Noto Sans Arabic"
    with pytest.raises(InputFaultError, match=match):
        with_font(tmp_path / "one", latin_font(), "م", **PLACED)
    _, warnings = with_font(tmp_path / "two", latin_font(), "a 😀", **PLACED)
    (warning,) = warnings
    assert warning == (
        "subtitle: left out, because no font has a glyph: U+1F600 😀 GRINNING FACE; expected Noto "
        "Color Emoji (Debian package fonts-noto-color-emoji) where the run is started, or in the "
        "folder CLOUDBURST_FONTS, or a font file with them: the option font (--font)"
    )


def test_a_collection_is_a_font_file(tmp_path):
    place = 16
    moved = bytearray(latin_font())
    for entry in range(struct.unpack_from(">H", moved, 4)[0]):
        at = 12 + 16 * entry + 8
        struct.pack_into(">I", moved, at, struct.unpack_from(">I", moved, at)[0] + place)
    (tmp_path / "a").mkdir()
    one, _ = with_font(tmp_path / "a", collection(place, fonts=bytes(moved)), "Text", **PLACED)
    other, _ = with_font(tmp_path / "b", latin_font(), "Text", **PLACED)
    assert one == other
