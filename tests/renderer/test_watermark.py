"""Size, place and opacity of a watermark in the video that the render process makes."""

from __future__ import annotations

import pytest
from PIL import Image, ImageChops
from pydantic import ValidationError

from cloudburst.models.options import RenderOptions, describe_option_errors
from support.render_job import drawn_lumas, lay_job, rendered_here
from support.video_probe import lumas

GREY = (90, 90, 90)
WHITE = Image.new("RGBA", (80, 40), (255, 255, 255, 255))
PLACES = [
    ({}, (10, 10, 250, 130)),
    ({"watermark_position": "top"}, (840, 10, 1080, 130)),
    ({"watermark_position": "top-right"}, (1670, 10, 1910, 130)),
    ({"watermark_position": "left"}, (10, 480, 250, 600)),
    ({"watermark_position": "center"}, (840, 480, 1080, 600)),
    ({"watermark_position": "bottom-right", "watermark_margin": "33"}, (1647, 927, 1887, 1047)),
    ({"watermark_position": "bottom", "watermark_width": "0.5"}, (480, 590, 1440, 1070)),
    ({"watermark_position": "right", "watermark_width": 1}, (10, 65, 1910, 1015)),
    (
        {"watermark_position": "bottom-left", "watermark_margin": 0, "is_portrait": True},
        (0, 1852, 135, 1920),
    ),
]
"""Options, and left, top, right and bottom of the watermark. The height of the last one is 67.5."""


def box(luma: Image.Image) -> tuple[int, int, int, int] | None:
    """Return left, top, right and bottom of what is brighter than the picture."""
    return luma.point(lambda value: 255 * (value > 160)).getbbox()


@pytest.mark.few(6, spread=True)
@pytest.mark.real
@pytest.mark.parametrize(("options", "expected"), PLACES)
@pytest.mark.parametrize("effects", [[], ["zoom_in"]], ids=["still", "moving"])
def test_places_and_widths(tmp_path, options, expected, effects):
    grey = Image.new("RGB", (320, 180), GREY)
    folder = lay_job(tmp_path, picture=grey, mark=WHITE, effects=effects, **options)
    for frame in drawn_lumas(folder, 3):
        assert box(frame) == pytest.approx(expected, abs=1)


@pytest.mark.real
@pytest.mark.parametrize(("opacity", "level"), [(1, 255), ("0.5", 172.5), (0, 90)])
@pytest.mark.parametrize("effects", [[], ["zoom_in"]], ids=["still", "moving"])
def test_opacity(tmp_path, opacity, level, effects):
    folder = lay_job(tmp_path, mark=WHITE, effects=effects, watermark_opacity=opacity)
    (frame,) = drawn_lumas(folder, 3, 0)
    assert frame.getpixel((130, 70)) == pytest.approx(16 + level * 219 / 255, abs=2)
    assert frame.getpixel((300, 200)) == pytest.approx(16 + 90 * 219 / 255, abs=2)


@pytest.mark.real
def test_opacity_scales_the_transparency_of_the_picture(tmp_path):
    mark = Image.new("RGBA", (80, 40), (255, 255, 255, 128))
    mark.paste((255, 255, 255, 0), (40, 0, 80, 40))
    (frame,) = drawn_lumas(lay_job(tmp_path, mark=mark, watermark_opacity=0.5), 3, 0)
    assert frame.getpixel((60, 70)) == pytest.approx(16 + 131.4 * 219 / 255, abs=2)
    assert frame.getpixel((200, 70)) == pytest.approx(16 + 90 * 219 / 255, abs=2)


@pytest.mark.real
def test_a_moving_video_shows_the_same_as_a_still_one_at_odd_places(tmp_path):
    """A layer has even edges. Fine lines would be blurred if it were moved to one."""
    mark = Image.new("RGBA", (241, 61), (255, 255, 255, 255))
    for column in range(0, 241, 2):
        mark.paste((0, 0, 0, 255), (column, 0, column + 1, 61))
    options = {"watermark_margin": 11, "watermark_width": 241 / 1920}
    frames = []
    for name, effects in (("still", []), ("moving", ["pan_left"])):
        (tmp_path / name).mkdir()
        folder = lay_job(tmp_path / name, mark=mark, seconds=0.1, effects=effects, **options)
        rendered_here(folder)
        frames.append(lumas(folder / "video.mp4")[0].crop((20, 20, 240, 60)))
    assert frames[0].getextrema()[1] - frames[0].getextrema()[0] > 150
    difference = ImageChops.difference(*frames).histogram()
    assert sum(level * count for level, count in enumerate(difference)) / (220 * 40) < 8


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("watermark_position", "middle"),
        ("watermark_width", 0.01),
        ("watermark_width", "wide"),
        ("watermark_margin", -1),
        ("watermark_margin", 501),
        ("watermark_opacity", 1.1),
        ("watermark_opacity", "nan"),
    ],
)
def test_errors_name_the_option(name, value):
    with pytest.raises(ValidationError) as caught:
        RenderOptions.model_validate({name: value})
    (text,) = describe_option_errors(caught.value)
    assert text.startswith(f"{name} is {value!r}; expected ")
