"""Colour profiles of pictures, and pictures with several frames."""

from __future__ import annotations

import os

import pytest
from PIL import Image, ImageCms

from cloudburst.models.options import RenderOptions
from cloudburst.renderer import pictures
from cloudburst.renderer.pictures import scaled_watermark
from support.icc_profiles import ADOBE_RGB, DISPLAY_P3, profile
from support.render_job import lay_job, rendered_here

ADOBE = profile(ADOBE_RGB)
PIXELS = 30_000_000
BROKEN = "image: its colour profile cannot be read; its colours are taken for sRGB"
ANIMATED = "image: only the first picture of the animation is shown"


def loaded(path, **options):
    return pictures.load_picture(path, PIXELS, RenderOptions(**{"size": "320x240"} | options))


def colour(fitted):
    return fitted.image.getpixel((fitted.image.width // 2, fitted.image.height // 2))


@pytest.mark.few(5, spread=True)
@pytest.mark.parametrize("options", [{}, {"fit": "contain"}, {"panorama": True}])
@pytest.mark.parametrize("size", [(64, 36), (1500, 900)])  # the second in strips
@pytest.mark.parametrize(
    ("stored", "shown"),  # calculated; Chromium shows (217, 151, 119) and (0, 57, 123)
    [((200, 150, 122), (217, 151, 119)), ((29, 60, 116), (0, 57, 118))],
)
def test_adobe_rgb_becomes_srgb(tmp_path, monkeypatch, stored, shown, size, options):  # noqa: PLR0917
    monkeypatch.setattr(pictures, "_STRIP_PIXELS", 300_000)
    Image.new("RGB", size, stored).save(tmp_path / "p.png", icc_profile=ADOBE)
    fitted = loaded(tmp_path / "p.png", size="320x240", **options)
    assert colour(fitted) == pytest.approx(shown, abs=2)
    assert fitted.notes == ()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_profiles_of_all_formats_are_used(tmp_path, kind):
    path = tmp_path / "p"
    Image.new("RGB", (640, 360), (200, 150, 122)).save(path, kind, icc_profile=ADOBE)
    assert colour(loaded(path)) == pytest.approx((217, 151, 119), abs=4)


def test_display_p3_becomes_srgb(tmp_path):
    p3 = profile(DISPLAY_P3, gamma=2.2)
    Image.new("RGB", (64, 36), (200, 100, 60)).save(tmp_path / "p.png", icc_profile=p3)
    red, green, blue = colour(loaded(tmp_path / "p.png"))
    assert red > 205
    assert green < 100
    assert blue < 58


@pytest.mark.parametrize("name", [b"sRGB IEC61966-2.1", b"sRGB built-in"])
def test_the_colours_of_srgb_are_kept_exactly(tmp_path, name):
    for number, icc in enumerate(
        (profile(ADOBE_RGB, name=name), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")))
    ):
        data = icc if isinstance(icc, bytes) else icc.tobytes()
        Image.new("RGB", (64, 36), (200, 150, 122)).save(
            tmp_path / f"{number}.png", icc_profile=data
        )
        assert colour(loaded(tmp_path / f"{number}.png")) == (200, 150, 122)


def test_transparent_parts_stay_transparent(tmp_path):
    mark = Image.new("RGBA", (64, 64), (200, 150, 122, 255))
    mark.paste((200, 150, 122, 0), (0, 0, 32, 64))
    mark.save(tmp_path / "p.png", icc_profile=ADOBE)
    found = scaled_watermark(tmp_path / "p.png", PIXELS, 64, 64)
    assert found.getpixel((4, 4))[3] == 0
    assert found.getpixel((60, 4)) == pytest.approx((217, 151, 119, 255), abs=2)
    assert colour(loaded(tmp_path / "p.png"))[0] > 0


def test_palettes_and_grey_pictures_have_profiles_too(tmp_path):
    picture = Image.new("P", (64, 36), 3)
    picture.putpalette([0] * 9 + [200, 150, 122])
    picture.save(tmp_path / "p.png", icc_profile=ADOBE)
    assert colour(loaded(tmp_path / "p.png")) == pytest.approx((217, 151, 119), abs=2)
    grey = profile(ADOBE_RGB, space=b"GRAY", gamma=1.0)
    Image.new("L", (64, 36), 55).save(tmp_path / "grey.png", icc_profile=grey)
    assert colour(loaded(tmp_path / "grey.png")) == pytest.approx((128, 128, 128), abs=2)


@pytest.mark.parametrize(
    "icc", [os.urandom(3000), bytes(3000), ADOBE[:200], profile(ADOBE_RGB, space=b"CMYK")]
)
def test_a_broken_profile_is_a_warning(tmp_path, icc):
    Image.new("RGB", (64, 36), (200, 150, 122)).save(tmp_path / "p.png", icc_profile=icc)
    fitted = loaded(tmp_path / "p.png")
    assert (colour(fitted), fitted.notes) == ((200, 150, 122), (BROKEN,))


@pytest.mark.parametrize(("kind", "name"), [("GIF", "GIF"), ("PNG", "APNG"), ("WEBP", "WebP")])
def test_the_first_of_several_pictures_is_shown_with_a_warning(tmp_path, kind, name):
    frames = [Image.new("RGB", (64, 36), colour) for colour in ("red", "blue", "lime")]
    path = tmp_path / name
    frames[0].save(path, kind, save_all=True, append_images=frames[1:], lossless=True)
    fitted = loaded(path)
    assert (colour(fitted), fitted.notes) == ((255, 0, 0), (ANIMATED,))
    frames[0].save(path, kind)
    assert loaded(path).notes == ()
    if kind == "GIF":  # cut within the second picture
        frames[0].save(path, kind, save_all=True, append_images=frames[1:])
        path.write_bytes(path.read_bytes()[:-60])
        assert colour(loaded(path)) == (255, 0, 0)


def test_a_telephones_jpeg_with_a_second_picture_is_no_animation(tmp_path):
    frames = [Image.new("RGB", (640, 360), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "p.jpg", "MPO", save_all=True, append_images=frames[1:])
    fitted = loaded(tmp_path / "p.jpg")
    assert fitted.notes == ()
    assert colour(fitted) == pytest.approx((255, 0, 0), abs=3)


@pytest.mark.real
def test_warnings_of_the_picture_are_those_of_the_video(tmp_path):
    lay_job(tmp_path, seconds=0.2)
    frames = [Image.new("RGB", (64, 36), colour) for colour in ("red", "blue")]
    more = {"save_all": True, "append_images": frames[1:], "icc_profile": b"no profile"}
    frames[0].save(tmp_path / "image", "PNG", **more)
    assert rendered_here(tmp_path)["warnings"] == [BROKEN, ANIMATED]
