"""Subtitles in the frames that the render process encodes, and in its video."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from PIL import Image, ImageChops

from cloudburst.renderer.job import RenderJob
from cloudburst.renderer.planes import to_picture
from cloudburst.renderer.scene import load_scene
from support.dot_charts import LANDSCAPE, PORTRAIT
from support.render_job import drawn_lumas, lay_job, load_here, rendered_here
from support.video_probe import lumas

pytestmark = pytest.mark.real

SRT = "1\n00:00:00,100 --> 00:00:00,300\n{text}\n"
GREY = round(16 + 90 * 219 / 255)
"""Luma of the picture behind the subtitles."""


def box(luma: Image.Image, threshold: int = 12) -> tuple[int, int, int, int] | None:
    """Return left, top, right and bottom of what differs from the grey picture."""
    flat = Image.new("L", luma.size, GREY)
    different = ImageChops.difference(luma, flat).point(lambda value: 255 * (value > threshold))
    return different.getbbox()


def count(luma: Image.Image, low: int, high: int = 256) -> int:
    """Return the number of samples from ``low`` to below ``high``."""
    return sum(luma.histogram()[low:high])


def shown(folder, text: str, **options) -> Image.Image:
    """Return the luma of a frame that shows the text."""
    subtitle = text if "-->" in text else SRT.format(text=text)
    (luma,) = drawn_lumas(lay_job(folder, subtitle=subtitle, **options), 6, 4)
    return luma


@pytest.mark.few(1)
@pytest.mark.parametrize("effects", [[], ["zoom_out"]])
def test_subtitles_show_while_they_last(tmp_path, effects):
    folder = lay_job(tmp_path, effects=effects, subtitle=SRT.format(text="你好 hello"))
    rendered_here(folder)
    frames = lumas(folder / "video.mp4")
    assert [box(frame) is not None for frame in frames] == [3 <= n < 9 for n in range(15)]
    left, top, right, bottom = box(frames[5])
    assert abs((left + right) / 2 - 960) <= 2
    assert 800 < top < bottom < 1010


# The upper one of two cues stays there in a part that begins after the lower one.
FILM = """WEBVTT

00:00.000 --> 00:01.000
lower

00:00.500 --> 00:02.000
<00:00.500>upper <00:01.270>words <00:01.500>end

00:02.900 --> 00:04.000
late \U0001f9ff
"""

# The last cue is where the first one was, which the second one has left free.
IN_A_ROW = """WEBVTT

00:00.000 --> 00:01.000
lower

00:00.500 --> 00:01.200
upper

00:01.100 --> 00:02.000
lower again

00:02.900 --> 00:04.000
late \U0001f9ff
"""


@pytest.mark.few(6, spread=True)
@pytest.mark.parametrize("first", [0, 1, 13, 30, 60])
@pytest.mark.parametrize(
    ("effects", "film"),
    [([], FILM), (["zoom_out"], FILM), ([], IN_A_ROW)],
    ids=["still", "moving", "in a row"],
)
def test_a_part_of_subtitles_is_drawn_as_in_the_whole(tmp_path, first, effects, film):
    lay_job(tmp_path, subtitle=film, fps=24, size="320x240", highlight="box", effects=effects)
    whole = RenderJob.from_json((tmp_path / "job.json").read_bytes())

    def drawn(job, frames, wanted):
        loaded = load_scene(tmp_path, job, frames, lambda _: None, encodes=False)
        blank = [loaded.source.draw(number, subtitles=False).read() for number in wanted]
        full = [loaded.source.draw(number).read() for number in wanted]
        return loaded, [one == other for one, other in zip(full, blank, strict=True)], full

    _, silent, expected = drawn(whole, 80, range(first, first + 20))
    loaded, empty, found = drawn(replace(whole, subtitle_frame=first), 20, range(20))
    assert empty == silent
    assert effects or found == expected
    assert any("left out" in warning for warning in loaded.warnings) == (first == 60)


LONG = {
    "chinese": "在很久很久以前，有一个小小的村庄坐落在群山之间，村里的人们每天清晨都会听见钟声。"
    * 2,
    "english": "Once upon a time a small village lay between the mountains, and a bell rang. " * 3,
}


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("language", LONG)
@pytest.mark.parametrize(("is_portrait", "background_box"), [(False, True), (True, False)])
def test_long_lines_wrap(tmp_path, language, is_portrait, background_box):
    frame = shown(
        tmp_path,
        LONG[language],
        language=language,
        is_portrait=is_portrait,
        background_box=background_box,
    )
    width, height = PORTRAIT if is_portrait else LANDSCAPE
    left, top, right, bottom = box(frame)
    assert left > 0.04 * width
    assert right < 0.96 * width
    assert bottom < 0.95 * height
    assert bottom - top > 100  # two lines


def test_letters_are_letters_and_not_empty_boxes(tmp_path):
    """Each is shown for two frames."""
    cues = [
        f"{n}\n00:00:00,{n * 67:03} --> 00:00:00,{(n + 1) * 67:03}\n{text}\n"
        for n, text in enumerate(("a 你", "a 好", "a Ω"))
    ]
    frames = drawn_lumas(lay_job(tmp_path, subtitle="\n".join(cues)), 6, 1, 3, 5)
    seen = [frame.point(lambda value: 255 * (value > 180)) for frame in frames]
    for one, other in pairwise(seen):
        assert count(ImageChops.difference(one, other), 1) > 200


def test_braces_and_backslashes_show(tmp_path):
    plain, braces = (shown(tmp_path, text) for text in ("an8 nb", "{an8} \\nb"))
    assert box(plain)[1] > 800
    assert box(braces)[1] > 800
    assert box(braces)[1] == pytest.approx(box(plain)[1], abs=4)  # one line
    assert count(braces, 181) > count(plain, 181)


def test_a_position_in_the_text_places_it_and_does_not_show(tmp_path):
    """``\\an1`` to ``\\an9`` lie like the keys of a number pad; each is shown for two frames."""
    cues = [
        f"{n}\n00:00:00,{(n - 1) * 67:03} --> 00:00:00,{n * 67:03}\n{{\\an{n}}}一一\n"
        for n in range(1, 10)
    ]
    frames = drawn_lumas(lay_job(tmp_path, subtitle="\n".join(cues)), 18, *range(1, 18, 2))
    for n, frame in enumerate(frames):
        left, top, right, bottom = box(frame)
        width = right - left
        assert 100 < width < 300, n  # two letters and their box: the tag is not shown
        assert int((left + right) / 2 // (1920 / 3)) == n % 3
        assert int((top + bottom) / 2 // (1080 / 3)) == 2 - n // 3


def test_webvtt_is_drawn_with_its_settings(tmp_path):
    text = "WEBVTT\n\n00:00.100 --> 00:00.300 line:0 align:start\n<v Bob>一一</v>\n"
    left, _, right, bottom = box(shown(tmp_path, text))
    assert 100 < right - left < 300
    assert right < 640
    assert bottom < 360


def test_white_letters_have_an_outline_where_the_box_is_clear(tmp_path):
    white = Image.new("RGB", (320, 180), (255, 255, 255))
    assert count(shown(tmp_path, "一一", picture=white, background_opacity=1), 0, 60) > 500


def test_opacity_is_transparency(tmp_path):
    dark, clear = (shown(tmp_path, "一", background_opacity=value) for value in (0, 1))
    left, top, _, _ = box(dark)
    at = (left + 4, top + 4)
    assert dark.getpixel(at) < 20
    assert clear.getpixel(at) == pytest.approx(GREY, abs=3)


def test_outline_has_its_colour(tmp_path):
    options = {"background_box": False, "outline_color": "&H000000FF"}
    lay_job(tmp_path, subtitle=SRT.format(text="一一一"), **options)
    red, green, blue = to_picture(load_here(tmp_path, 6).source.draw(4).read()).split()
    high = red.point(lambda value: 255 * (value > 170))
    low = ImageChops.lighter(green, blue).point(lambda value: 255 * (value < 70))
    assert count(ImageChops.multiply(high, low), 255) > 100


@pytest.mark.parametrize("effects", [[], ["zoom_in"]])
def test_watermark(tmp_path, effects):
    mark = Image.new("RGBA", (80, 40), (0, 0, 0, 0))
    mark.paste((255, 255, 255, 128), (0, 0, 40, 40))
    folder = lay_job(tmp_path, mark=mark, effects=effects)
    for frame in drawn_lumas(folder, 15, 0, 14):
        left, top, right, bottom = box(frame)
        assert (left, top) == pytest.approx((10, 10), abs=1)
        assert (right, bottom) == pytest.approx((130, 130), abs=2)
        assert frame.getpixel((60, 60)) == pytest.approx(16 + 172.5 * 219 / 255, abs=3)
