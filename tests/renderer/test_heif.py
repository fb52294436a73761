"""HEIC and AVIF pictures."""

from __future__ import annotations

import io
import random
import time

import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from cloudburst.media import input_rules
from cloudburst.media.heif import HeifPicture
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.options import RenderOptions
from cloudburst.renderer import pictures
from cloudburst.renderer.job import InputFaultError
from support.hostile_media import heif, heif_with_opacities
from support.mutated_renders import mutated
from support.sample_media import BLACK, BLUE, GREEN, HEIC, RED, WHITE, quadrants

PIXELS = 10_000_000


def loaded(path):
    return pictures.load_picture(path, PIXELS, RenderOptions(size="720p"))


def corners(picture):
    width, height = picture.size
    places = [(x, y) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]
    return [picture.getpixel(place) for place in places]


def check_corners(picture, *colours, tolerance=4):
    for shown, drawn in zip(corners(picture), colours, strict=True):
        assert shown == pytest.approx(drawn, abs=tolerance)


def test_a_turned_grid_of_tiles_is_shown_upright():
    fitted = loaded(HEIC / "grid_turned.heic")
    assert fitted.size == (720, 1280)
    assert fitted.notes == ()
    check_corners(fitted.image, RED, GREEN, BLUE, WHITE)


def test_ten_bits_are_rounded():
    check_corners(loaded(HEIC / "ten_bits.heic").image, RED, GREEN, BLUE, WHITE)


def test_transparent_parts_are_black_and_stay_transparent_in_a_watermark():
    check_corners(loaded(HEIC / "opacity.heic").image, RED, BLACK, BLUE, WHITE)
    mark = pictures.scaled_watermark(HEIC / "opacity.heic", PIXELS, 64, 64)
    assert [colour[3] for colour in corners(mark)] == [255, 0, 255, 255]


def test_padding_of_the_encoder_is_cropped():
    with Image.open(HEIC / "cropped.heic") as picture:
        assert picture.size == (60, 100)
        check_corners(picture, RED, GREEN, BLUE, WHITE, tolerance=12)


def test_the_range_of_colours_is_that_of_the_header(tmp_path):
    data = (HEIC / "ten_bits.heic").read_bytes()
    at = data.index(b"nclx") + 10
    (tmp_path / "p").write_bytes(data[:at] + b"\0" + data[at + 1 :])
    white = corners(loaded(tmp_path / "p").image)[3]
    assert data[at] == 0x80
    assert white == pytest.approx((255, 255, 255), abs=1)  # 235 of 16 to 235


def test_the_colour_profile_is_used():
    check_corners(loaded(HEIC / "adobe_rgb.heic").image, *[(217, 151, 119)] * 4)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirror", [b"", b"\0", b"\1"])
def test_the_properties_of_a_heic_turn_and_mirror_it_once(tmp_path, turns, mirror):
    data = (HEIC / "grid_turned.heic").read_bytes().replace(b"irot\3", b"irot" + bytes([turns]))
    if mirror:  # in the place of the property that says how the colours are coded
        at = data.index(b"colrnclx")
        data = data[:at] + b"imir" + mirror.ljust(11, b"\0") + data[at + 15 :]
    (tmp_path / "p").write_bytes(data)
    with Image.open(tmp_path / "p") as picture:
        drawn = picture.rotate(90 * turns, expand=True)
    drawn = {b"": drawn, b"\0": ImageOps.flip(drawn), b"\1": ImageOps.mirror(drawn)}[mirror]
    fitted = loaded(tmp_path / "p")
    assert (fitted.image.width < fitted.image.height) == (turns % 2 == 1)
    check_corners(fitted.image, *corners(drawn))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_rotation_and_mirror_is_undone(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation  # Pillow writes the properties of HEIF, too
    stored = quadrants(320, 180)
    stored.save(tmp_path / "p.avif", exif=exif)
    stored.getexif()[0x0112] = orientation
    check_corners(loaded(tmp_path / "p.avif").image, *corners(ImageOps.exif_transpose(stored)))


@pytest.mark.parametrize(
    ("mode", "size", "options"),
    [
        ("RGB", (320, 180), {"subsampling": "4:4:4"}),
        ("RGB", (321, 181), {"subsampling": "4:4:4", "range": "limited"}),
        ("L", (320, 180), {}),
        ("RGBA", (320, 180), {}),
    ],
)
def test_colours_are_those_that_another_decoder_finds(tmp_path, mode, size, options):
    picture = Image.radial_gradient("L").resize(size)
    picture = Image.merge("RGB", (picture, picture.rotate(30), picture.rotate(60))).convert(mode)
    picture.save(tmp_path / "p.avif", quality=90, **options)
    with (
        Image.open(tmp_path / "p.avif") as found,
        Image.open(tmp_path / "p.avif", formats=("AVIF",)) as expected,
    ):
        assert (type(found).__mro__[1], found.size) == (HeifPicture, size)
        difference = ImageChops.difference(found.convert("RGB"), expected.convert("RGB"))
    assert max(ImageStat.Stat(difference).mean) < 1


@pytest.mark.parametrize("further", [0, 2])
def test_the_first_picture_of_a_sequence_is_shown_with_a_warning(tmp_path, further):
    frames = [Image.new("RGB", (64, 36), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(tmp_path / "p", "AVIF", save_all=True, append_images=frames[1 : 1 + further])
    fitted = loaded(tmp_path / "p")
    check_corners(fitted.image, *[(255, 0, 0)] * 4)
    note = "image: only the first picture of the animation is shown"
    assert fitted.notes == ((note,) if further else ())


def with_size(data, old, new):
    head = b"ispe" + bytes(4)
    patched = data.replace(head + bytes.fromhex(old), head + bytes.fromhex(new))
    assert patched != data
    return patched


@pytest.mark.parametrize("size", ["00000145000000b4", "00000010000000b4"], ids=["more", "fewer"])
def test_a_header_that_lies_about_the_size_is_a_fault(tmp_path, size):
    data = (HEIC / "ten_bits.heic").read_bytes()
    (tmp_path / "p").write_bytes(with_size(data, "00000140000000b4", size))
    with pytest.raises((InputFaultError, MemoryError)):
        loaded(tmp_path / "p")


@pytest.mark.parametrize("name", ["grid_turned", "opacity"])
def test_a_picture_without_some_of_its_data_is_a_fault(tmp_path, name):
    data = (HEIC / f"{name}.heic").read_bytes()
    (tmp_path / "p").write_bytes(data[:-200])
    with pytest.raises(InputFaultError):
        loaded(tmp_path / "p")


def test_memory_is_that_of_the_picture_and_one_tile():
    grid, whole = (
        HeifPicture(io.BytesIO(heif(size, tile)), "")
        for size, tile in (((8064, 6048), (512, 512)), ((8064, 6048), (8064, 6048)))
    )
    input_rules.check_picture(grid, 50_000_000)
    with pytest.raises(InvalidInputError, match="memory to decode"):
        input_rules.check_picture(whole, 50_000_000)


def test_an_opacity_that_is_larger_than_the_picture_counts():
    picture = HeifPicture(io.BytesIO(heif_with_opacities(1, (12_000, 10_000), 0)), "")
    with pytest.raises(InvalidInputError, match="memory to decode"):
        input_rules.check_picture(picture, 50_000_000)


def test_a_property_that_thousands_of_items_own_is_read_quickly():
    data = heif_with_opacities(12_000, (64, 64), 1_000_000)
    begin = time.process_time()
    assert HeifPicture(io.BytesIO(data), "").size == (64, 64)
    assert time.process_time() - begin < 1  # 2 s if each item had a copy


def test_damaged_headers_are_refused_quickly():
    whole = [path.read_bytes() for path in sorted(HEIC.glob("*.heic"))]
    begin, random_ = time.process_time(), random.Random(1)
    refused = 0
    for number in range(1000):
        data = mutated(whole[number % len(whole)], random_)
        try:
            HeifPicture(io.BytesIO(data), "")
        except (SyntaxError, InvalidInputError):
            refused += 1
    assert 0 < refused < 1000
    assert time.process_time() - begin < 3
