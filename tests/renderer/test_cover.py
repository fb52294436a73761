"""Cover of a video, and the frame that it shows."""

from __future__ import annotations

import hashlib

import pytest
from PIL import Image, ImageChops

from cloudburst.renderer.planes import to_picture, to_planes
from support.drawn_frames import photo
from support.render_job import lay_job, rendered_here, subtitle_file
from support.video_probe import frame

CUE = subtitle_file((0, 9, "字幕 subtitle"))


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    histogram = ImageChops.difference(one, other).convert("L").histogram()
    return sum(level * count for level, count in enumerate(histogram)) / sum(histogram)


@pytest.mark.few(1)
@pytest.mark.real
@pytest.mark.parametrize("effects", [[], ["pan_left"]], ids=["still", "moving"])
@pytest.mark.parametrize("is_portrait", [False, True])
def test_a_cover_is_the_middle_frame_without_subtitles(tmp_path, effects, is_portrait):
    (tmp_path / "plain").mkdir()
    options = {
        "picture": photo((640, 400)),
        "mark": Image.new("RGBA", (40, 20), (255, 0, 0, 255)),
        "effects": effects,
        "is_portrait": is_portrait,
        "size": "720p",
    }
    done = rendered_here(lay_job(tmp_path, subtitle=CUE, cover="true", **options))
    data = (tmp_path / "cover.jpg").read_bytes()
    assert done["cover"] == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    with Image.open(tmp_path / "cover.jpg") as cover:
        assert cover.format == "JPEG"
        assert cover.size == ((720, 1280) if is_portrait else (1280, 720))
        cover.load()
    plain = rendered_here(lay_job(tmp_path / "plain", **options))
    assert plain["cover"] is None
    assert not (tmp_path / "plain" / "cover.jpg").exists()
    video = tmp_path / "plain" / "video.mp4"
    assert mean_difference(cover, frame(video, 7 / 30)) < 2.5
    if effects:
        assert mean_difference(cover, frame(video)) > 2 * mean_difference(
            cover, frame(video, 7 / 30)
        )


@pytest.mark.real
def test_the_video_is_the_same_with_and_without_a_cover(tmp_path):
    hashes = set()
    for name, cover in (("with", True), ("without", False)):
        (tmp_path / name).mkdir()
        options = {"effects": ["zoom_in"], "size": "640x360"}
        folder = lay_job(tmp_path / name, subtitle=CUE, cover=cover, **options)
        hashes.add(rendered_here(folder)["sha256"])
    assert len(hashes) == 1


def test_planes_become_the_picture_that_they_are_made_of():
    picture = Image.merge(
        "RGB",
        [
            Image.linear_gradient("L").rotate(angle).resize((320, 180), Image.Resampling.BICUBIC)
            for angle in (0, 90, 180)
        ],
    )
    found = to_picture(to_planes(picture))
    assert found.size == picture.size
    extrema = ImageChops.difference(found, picture).crop((4, 4, 316, 176)).getextrema()
    assert max(high for _, high in extrema) <= 4


@pytest.mark.parametrize(
    "colour", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (90, 90, 90)]
)
def test_colours_are_kept(colour):
    found = to_picture(to_planes(Image.new("RGB", (8, 6), colour)))
    for pixel in (found.getpixel((0, 0)), found.getpixel((7, 5)), found.getpixel((4, 3))):
        assert pixel == pytest.approx(colour, abs=2)


def test_colour_edges_stay_in_their_place():
    """A chroma sample is sited at the left one of its two pixels."""
    picture = Image.new("RGB", (64, 32), (90, 90, 90))
    picture.paste((150, 70, 70), (32, 0, 64, 32))
    found = to_picture(to_planes(picture)).convert("RGB")
    red_minus_green = [
        found.getpixel((x, 16))[0] - found.getpixel((x, 16))[1] for x in range(24, 40)
    ]
    assert red_minus_green == sorted(red_minus_green)
    total = sum(red_minus_green) / max(red_minus_green)
    assert total == pytest.approx(8, abs=0.6)
