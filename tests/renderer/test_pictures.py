"""Pictures of every shape and format, and pictures that cannot be used."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageOps

from cloudburst.inputs.media_checks import check_picture
from cloudburst.inputs.media_file import open_media_file
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.limits import Limits
from cloudburst.models.options import RenderOptions
from cloudburst.renderer import pictures
from cloudburst.renderer.job import InputFaultError
from cloudburst.renderer.pictures import scaled_watermark
from support.fitted_pictures import load_picture

PIXELS = 10_000_000
DEFAULTS = RenderOptions()
RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "image"


def near(picture, at, colour, tolerance=6):
    found = picture.getpixel(at)
    return all(abs(a - b) <= tolerance for a, b in zip(found, colour, strict=True))


@pytest.mark.parametrize(
    ("size", "is_portrait", "canvas"),
    [
        ((400, 300), None, (1920, 1080)),
        ((300, 400), None, (1080, 1920)),
        ((300, 300), None, (1920, 1080)),
        ((400, 300), True, (1080, 1920)),
        ((300, 400), False, (1920, 1080)),
        ((5000, 50), None, (1920, 1080)),
    ],
)
def test_canvas(file, size, is_portrait, canvas):
    Image.new("RGB", size, RED).save(file, "PNG")
    picture = load_picture(file, PIXELS, RenderOptions(is_portrait=is_portrait))
    assert picture.size == canvas
    assert picture.mode == "RGB"
    assert near(picture, (500, 500), RED)


def test_filled_by_a_centre_crop_never_stretched(file):
    image = Image.new("RGB", (1000, 1000), BLUE)
    image.paste(RED, (400, 400, 600, 600))
    image.save(file, "PNG")
    picture = load_picture(file, PIXELS, DEFAULTS)
    reds = [x for x in range(1920) if near(picture, (x, 540), RED, 60)]
    rows = [y for y in range(1080) if near(picture, (960, y), RED, 60)]
    assert (reds[0], reds[-1]) == (768, 1151)  # 384 wide about 960
    assert (rows[0], rows[-1]) == (348, 731)  # 384 high about 540


def quarters(size=(160, 90)):
    """Red, green over blue, black."""
    image = Image.new("RGB", size, BLACK)
    width, height = size
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


SEEN = {
    1: (RED, GREEN, BLUE),
    2: (GREEN, RED, BLACK),
    3: (BLACK, BLUE, GREEN),
    4: (BLUE, BLACK, RED),
    5: (RED, BLUE, GREEN),
    6: (BLUE, RED, BLACK),
    7: (BLACK, GREEN, BLUE),
    8: (GREEN, BLACK, RED),
}
"""Upper left, upper right and lower left after the rotation that EXIF asks for."""
TURNED: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "MPO": {"quality": 95, "subsampling": 0, "save_all": True},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "TIFF compressed": {"compression": "tiff_lzw"},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
}


@pytest.mark.parametrize("kind", TURNED)
@pytest.mark.parametrize("orientation", SEEN)
def test_a_picture_is_rotated_once_as_exif_says(file, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    quarters().save(file, kind.split()[0], exif=exif, **TURNED[kind])
    picture = load_picture(file, PIXELS, DEFAULTS)
    width, height = picture.size
    with open_media_file(file, "", Limits()) as media:
        upright = check_picture(media, Limits()).upright
    assert (width < height) == upright == (orientation >= 5)
    corners = ((200, 200), (width - 200, 200), (200, height - 200))
    for at, colour in zip(corners, SEEN[orientation], strict=True):
        assert near(picture, at, colour, 12)


@pytest.mark.parametrize("kind", ["TIFF", "TIFF compressed"])
def test_a_picture_of_floating_point_numbers_is_refused_by_client_and_renderer(file, kind):
    Image.new("F", (160, 90), 0.9).save(file, "TIFF", **TURNED[kind])
    with pytest.raises(InputFaultError) as caught:
        load_picture(file, PIXELS, DEFAULTS)
    assert caught.value.fault.found == "TIFF (F), pixels of floating-point numbers"
    with (
        pytest.raises(InvalidInputError, match="pixels of integers"),
        open_media_file(file, "", Limits()) as media,
    ):
        check_picture(media, Limits())


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_nonsense_in_exif_is_no_fault(file, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    quarters().save(file, "JPEG", exif=exif, quality=95)
    assert near(load_picture(file, PIXELS, DEFAULTS), (200, 200), RED, 12)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *(("RGB", kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")),
        ("P", "PNG"),
        ("P", "GIF"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("RGBA", "PNG"),
        ("RGBA", "WEBP"),
    ],
)
def test_modes_and_formats(file, mode, kind):
    quarters((640, 360)).convert(mode).save(file, kind)
    picture = load_picture(file, PIXELS, DEFAULTS)
    assert near(picture, (300, 300), RED, 12)
    assert near(picture, (1600, 300), GREEN, 12)
    assert near(picture, (300, 900), BLUE, 12)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_greys(file, mode):
    high = 65535 if mode == "I;16" else 255
    image = Image.new(mode, (160, 90), (high, 255) if mode == "LA" else high)
    image.save(file, "PNG")
    assert near(load_picture(file, PIXELS, DEFAULTS), (900, 500), (255, 255, 255), 1)


def test_16_bits_of_grey_keep_their_middle(file):
    Image.new("I;16", (160, 90), 128 * 257).save(file, "PNG")
    assert near(load_picture(file, PIXELS, DEFAULTS), (900, 500), (128, 128, 128), 1)


def test_transparent_parts_are_black(file):
    image = Image.new("RGBA", (160, 90), (255, 255, 255, 0))
    image.paste((255, 0, 0, 128), (0, 0, 80, 90))
    image.save(file, "PNG")
    picture = load_picture(file, PIXELS, DEFAULTS)
    assert near(picture, (1500, 500), BLACK, 1)
    assert near(picture, (300, 500), (128, 0, 0), 2)


def test_palette_with_a_transparent_colour(file):
    image = Image.new("P", (160, 90), 1)
    image.putpalette([255, 255, 255, 0, 0, 255])
    image.paste(0, (0, 0, 80, 90))
    image.save(file, "GIF", transparency=0)
    picture = load_picture(file, PIXELS, DEFAULTS)
    assert near(picture, (300, 500), BLACK, 1)
    assert near(picture, (1500, 500), BLUE, 1)


def bomb(side):
    """A PNG of a kilobyte that claims to be ``side`` squared."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    data = (
        chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + data


def cut(kind):
    out = io.BytesIO()
    Image.effect_noise((320, 180), 80).convert("RGB").save(out, kind)
    return out.getvalue()[: len(out.getvalue()) // 2]


@pytest.mark.parametrize("maker", [load_picture, scaled_watermark])
@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"", "an empty file"),
        (b"this is no picture", "cannot identify"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage", "cannot identify"),
        (bomb(60_000), "60000×60000"),
        (bomb(20), ""),
        (cut("PNG"), ""),
        (cut("JPEG"), "truncated"),
        (cut("WEBP"), ""),
    ],
    ids=["empty", "text", "postscript", "bomb", "short", "cut png", "cut jpeg", "cut webp"],
)
def test_bad_pictures_are_faults(file, maker, raw, found):
    file.write_bytes(raw)
    with pytest.raises(InputFaultError) as caught:
        load_picture(file, PIXELS, DEFAULTS) if maker is load_picture else scaled_watermark(
            file, PIXELS, 240, 1070
        )
    fault = caught.value.fault
    assert fault.field == ("image" if maker is load_picture else "watermark")
    assert found in fault.found
    assert str(file) not in fault.found
    assert "10,000,000 pixels" in fault.expected


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("size", "kind", "found"),
    [
        ((33_000, 400), "PNG", "33000×400 pixels"),
        ((101, 1), "PNG", "101×1 pixels"),
        ((6000, 6000), "WEBP", "6000×6000 pixels of WebP, which take 648 MB"),
    ],
)
def test_pictures_that_cost_too_much_are_faults(file, size, kind, found):
    Image.new("L", size).save(file, kind, method=0)  # WebP's fastest
    for read in (
        lambda: load_picture(file, 10**8, DEFAULTS),
        lambda: scaled_watermark(file, 10**8, 240, 1070),
    ):
        with pytest.raises(InputFaultError) as caught:
            read()
        assert caught.value.fault.found.startswith(found)


@pytest.mark.few(4, spread=True)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "I;16", "CMYK"])
@pytest.mark.parametrize("size", [(867, 616), (200, 1100)])
def test_a_large_picture_looks_as_if_it_had_been_resized_at_once(file, mode, size, monkeypatch):
    monkeypatch.setattr(pictures, "_STRIP_PIXELS", 110_000)  # in several strips at this size
    colours = Image.merge("RGB", [Image.linear_gradient("L").rotate(90 * n) for n in range(3)])
    if mode == "I;16":
        image = colours.convert("L").resize(size, Image.Resampling.BICUBIC).convert("I;16")
        image = image.point(lambda value: value * 257)
    else:
        image = colours.convert(mode if mode not in {"P", "CMYK"} else "RGB")
        image = image.resize(size, Image.Resampling.BICUBIC)
        image = image.quantize(64) if mode == "P" else image.convert(mode)
    image.save(file, "TIFF" if mode == "CMYK" else "PNG")
    if mode == "I;16":
        plain = image.point(lambda value: value / 257).convert("L").convert("RGB")
    else:
        plain = image.convert("RGB")
    found = load_picture(file, 10**8, RenderOptions(size="640x360"))
    expected = ImageOps.fit(plain, found.size, Image.Resampling.LANCZOS)
    extrema = ImageChops.difference(found, expected).getextrema()
    assert max(high for _, high in extrema) <= (12 if mode == "P" else 2)


def test_a_mark_has_the_width_and_keeps_its_transparency(file):
    Image.new("RGBA", (400, 100), (0, 255, 0, 100)).save(file, "PNG")
    found = scaled_watermark(file, PIXELS, 240, 1070)
    assert (found.size, found.mode) == ((240, 60), "RGBA")
    assert found.getpixel((100, 30)) == (0, 255, 0, 100)
    assert scaled_watermark(file, PIXELS, 135, 1910).size == (135, 34)


def test_tall_marks_are_cut_and_endless_ones_refused(file):
    tall = Image.linear_gradient("L").resize((10, 100)).convert("RGB")
    tall.save(file, "PNG")
    found = scaled_watermark(file, PIXELS, 240, 1070)
    whole = scaled_watermark(file, PIXELS, 240, 2400).crop((0, 0, 240, 1070))
    assert found.size == (240, 1070)
    assert max(high for _, high in ImageChops.difference(found, whole).getextrema()) <= 1
    Image.new("RGB", (100, 9000)).save(file, "PNG")
    with pytest.raises(InputFaultError, match="less tall"):
        scaled_watermark(file, PIXELS, 240, 1070)
