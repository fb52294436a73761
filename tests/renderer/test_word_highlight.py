"""The word that is spoken at the moment: its letters in a colour, or a box behind it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from PIL import Image, ImageChops
from pydantic import ValidationError

from cloudburst.media.subtitles import Cue, parse_subtitles
from cloudburst.models.options import RenderOptions, describe_option_errors
from cloudburst.renderer.fonts import find_font
from cloudburst.renderer.planes import bt709
from cloudburst.renderer.subtitle_painter import SubtitlePainter
from cloudburst.renderer.subtitle_style import subtitle_style
from support.render_job import drawn_lumas, lay_job, load_here, rendered_here
from support.substation import ass, dialogue
from support.video_probe import frame

FONT = find_font()
LANDSCAPE, PORTRAIT = (1920, 1080), (1080, 1920)
RED = {"highlight_color": "#ff0000"}
SUNG = {
    "latin": "{\\k10}One {\\k10}two {\\k10}three",
    "chinese": "{\\k10}你{\\k10}好{\\k10}吗",
    "wrapped": "{\\k10}在很久很久以前有一个小小的村庄，{\\k10}"
    + "村里的人们每天清晨都会听见钟声。" * 3
    + "{\\k10}完",
}


def cue(text: str) -> Cue:
    (found,) = parse_subtitles(ass(dialogue(text))).cues
    return found


def painted(found: Cue, word: int = -1, *, size: tuple[int, int] = LANDSCAPE, **options):
    look = subtitle_style(RenderOptions(**{"subtitle_lines": 0} | options), *size)
    return SubtitlePainter([found], look, [FONT], *size).paint([0], [word])


def whole(layers, size=LANDSCAPE):
    """The masks of layers together on a picture."""
    together = Image.new("L", size)
    for layer in layers:
        mask = Image.frombytes("L", (layer.width, layer.height), layer.mask)
        place = Image.new("L", size)
        place.paste(mask, (layer.x, layer.y))
        together = ImageChops.add(together, place)
    return together


def in_colour(layers, rgb):
    return [layer for layer in layers if layer.colour == bt709(*rgb)]


@pytest.mark.few(7, spread=True)
@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT])
@pytest.mark.parametrize("text", SUNG)
@pytest.mark.parametrize("word", range(3))
def test_the_letters_of_a_word_have_the_colour_and_no_letter_moves(text, word, size):
    found = cue(SUNG[text])
    plain = painted(found, size=size)
    _, *letters = painted(found, word, size=size, highlight="color", **RED)
    red, white = in_colour(letters, (255, 0, 0)), in_colour(letters, (255, 255, 255))
    assert len(red) == len(white) == 1
    difference = ImageChops.difference(whole([*red, *white], size), whole(plain[1:], size))
    assert difference.getextrema()[1] <= 2  # where two letters share a pixel


def test_words_follow_each_other():
    for text in ("latin", "chinese"):
        boxes = [
            whole(painted(cue(SUNG[text]), n, highlight="color", **RED)[-1:]).getbbox()
            for n in range(3)
        ]
        assert boxes[0][2] <= boxes[1][0] < boxes[1][2] <= boxes[2][0]


@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT])
@pytest.mark.parametrize("boxed", [True, False])
def test_a_box_lies_behind_the_word_and_letters_stay_as_they_are(size, boxed):
    found = cue(SUNG["latin"])
    plain = painted(found, size=size, background_box=boxed)
    layers = painted(found, 1, size=size, background_box=boxed, highlight="box", **RED)
    (red,) = in_colour(layers, (255, 0, 0))
    others = [layer for layer in layers if layer is not red]
    assert others == plain
    assert layers.index(red) == (1 if boxed else 0)  # above the box, below the outline
    (word,) = in_colour(painted(found, 1, size=size, highlight="color", **RED), (255, 0, 0))
    left, top, right, bottom = whole([red], size).getbbox()
    inner = whole([word], size).getbbox()
    assert left <= inner[0] <= left + 12
    assert right - 12 <= inner[2] <= right
    assert top < inner[1] < inner[3] < bottom
    assert set(red.mask) == {0, 255}


def test_each_line_of_a_word_has_a_box():
    found = cue(SUNG["wrapped"])
    boxes = in_colour(painted(found, 1, highlight="box", **RED), (255, 0, 0))
    areas = [whole([box]).getbbox() for box in boxes]
    assert len(areas) >= 2
    for upper, lower in pairwise(areas):
        assert lower[1] == pytest.approx(upper[3] + 0.1 * 75, abs=1)


def test_opacity_and_default_colours():
    found = cue(SUNG["latin"])
    half = painted(found, 0, highlight="box", highlight_color="#ff000080")
    assert max(in_colour(half, (255, 0, 0))[0].mask) == 0x80
    assert in_colour(painted(found, 0, highlight="color"), (0xFF, 0xD6, 0x0A))
    assert in_colour(painted(found, 0, highlight="box"), (0x1F, 0x6F, 0xEB))


def test_letters_that_have_a_colour_of_their_own():
    found = cue("{\\c&H00FF00&\\k10}green {\\k10}and {\\k10}{\\c&HFF0000&}blue")
    _, *layers = painted(found, 2, highlight="color", **RED)
    colours = [layer.colour for layer in layers]
    assert colours == [bt709(0, 255, 0), bt709(255, 0, 0)]


def test_words_in_capital_letters_have_the_times_of_the_text(tmp_path):
    text = "WEBVTT\n\n00:00.000 --> 00:01.000\n<i>Große <00:00.400>{} <00:00.700>fünf</i>\n"
    pictures = []
    for name, (word, uppercase) in {"a": ("Maße", True), "b": ("MASSE", False)}.items():
        (tmp_path / name).mkdir()
        written = text.format(word)
        if not uppercase:
            written = written.replace("Große", "GROSSE").replace("fünf", "FÜNF")
        options = {"highlight": "box", "uppercase": uppercase}
        lay_job(tmp_path / name, size="480x270", subtitle=written, **options)
        pictures.append([one.tobytes() for one in drawn_lumas(tmp_path / name, 30, 6, 15, 25)])
    assert pictures[0] == pictures[1]
    assert len(set(pictures[0])) == 3


@pytest.mark.parametrize("options", [{}, {"highlight": "none"}, {"highlight_color": "#ff0000"}])
def test_words_have_no_effect_unless_they_are_highlighted(options):
    found = cue(SUNG["latin"])
    expected = painted(found._replace(words=()))
    assert painted(found, 1, **options) == expected
    assert painted(found, -1, highlight="color") == expected


VTT = "WEBVTT\n\n00:00.100 --> 00:00.700\n{}\n"
LRC = "[00:00.10]{}\n[00:00.70]"


@pytest.mark.few(1)
@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "options"),
    [
        (VTT.format("一一<00:00.300>一一<00:00.500>一一"), {"highlight": "color"}),
        (VTT.format("一一<00:00.300>一一<00:00.500>一一"), {"highlight": "box"}),
        (LRC.format("<00:00.10>一一<00:00.30>一一<00:00.50>一一"), {"highlight": "box"}),
        (
            LRC.format("<00:00.10>一一<00:00.30>一一<00:00.50>一一"),
            {"highlight": "color", "effects": ["zoom_in"], "is_portrait": True},
        ),
        (
            ass(dialogue("{\\k20}一一{\\k20}一一{\\k20}一一", "0:00:00.10", "0:00:00.70")),
            {"highlight": "color", "background_box": False},
        ),
    ],
    ids=["vtt, color", "vtt, box", "lrc, box", "lrc, zoom, portrait", "ass, outline"],
)
def test_the_frames_of_a_video_show_the_current_word(tmp_path, file, options):
    lay_job(tmp_path, subtitle=file, seconds=0.8, **RED, **options)
    assert rendered_here(tmp_path)["warnings"] == (
        ["subtitle: ignored style font, style outline"] if "[Script" in file else []
    )
    frames = (2, 3, 8, 9, 14, 15, 20, 21)
    pictures = [frame(tmp_path / "video.mp4", number / 30) for number in frames]
    middle = pictures[0].width / 2
    places = [red_columns(picture) for picture in pictures]
    before, *shown, after = places
    assert before is after is None
    for first, last in zip(shown[::2], shown[1::2], strict=True):
        assert first == pytest.approx(last, abs=4)  # one word, from its first to its last frame
    assert shown[0][1] <= shown[2][0] + 15
    assert shown[2][1] <= shown[4][0] + 12
    assert sum(shown[2]) / 2 == pytest.approx(middle, abs=4)


def red_columns(picture):
    """Return the first and last column of a picture that has red pixels."""
    red, green, blue = picture.split()
    high = red.point(lambda value: 255 * (value > 150))
    low = ImageChops.lighter(green, blue).point(lambda value: 255 * (value < 60))
    box = ImageChops.multiply(high, low).getbbox()
    return None if box is None else (box[0], box[2])


@pytest.mark.real
def test_subtitles_without_times_of_words_have_a_warning(tmp_path):
    subtitle = "1\n00:00:00,000 --> 00:00:01,000\n一一\n"
    (warning,) = load_here(lay_job(tmp_path, subtitle=subtitle, highlight="box"), 6).warnings
    assert (
        warning == "subtitle: ignored highlight (also part of caption), because no word has a time"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"highlight": "blink"}, "highlight is 'blink'; expected none, color, box or grow"),
        ({"highlight_color": "red"}, "highlight_color is 'red'; expected a colour such as #ff0000"),
        ({"highlight_color": "#12345"}, "highlight_color is '#12345'; expected a colour such as"),
    ],
)
def test_wrong_values(options, message):
    with pytest.raises(ValidationError) as caught:
        RenderOptions.model_validate(options)
    (found,) = describe_option_errors(caught.value)
    assert found.startswith(message)
