"""Pictures whose colours are described by codes: HDR, and Display P3 without a profile."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from PIL import Image, ImageCms

from cloudburst.models.options import RenderOptions
from cloudburst.renderer import pictures
from support.hdr_colours import TO_BT_2020, TO_P3, in_hlg, in_p3, in_pq, sky, with_cicp, with_codes
from support.icc_profiles import ADOBE_RGB, profile
from support.sample_media import HEIC

PIXELS = 10_000_000
COLOURS = (
    *((250, 250, 250), (255, 255, 255), (128, 128, 128), (0, 0, 0)),
    *((200, 40, 40), (40, 180, 60), (40, 60, 200), (230, 180, 150)),
)
CODED = {
    "PQ": (in_pq, (9, 16)),
    "PQ in P3": (lambda colour: in_pq(colour, TO_P3), (12, 16)),
    "HLG": (in_hlg, (9, 18)),
    "P3": (in_p3, (12, 13)),
}
UNKNOWN = "image: the codes (22, 8) of its colours are unknown; its colours are taken for sRGB"


def stored(colour, mode="RGB", size=(64, 36)):
    """A picture of a colour whose values are from 0 to 1."""
    values = tuple(round(255 * max(0, min(1, value))) for value in colour)
    return Image.new(mode, size, values if mode == "RGB" else (*values, 255))


def saved(picture, kind, codes, **options):
    file = io.BytesIO()
    if kind == "AVIF":
        options |= {"quality": 100, "subsampling": "4:4:4"}
    picture.save(file, kind, **options)
    return (with_codes if kind == "AVIF" else with_cicp)(file.getvalue(), *codes)


def loaded(path, data):
    path.write_bytes(data)
    return pictures.load_picture(path, PIXELS, RenderOptions(size="320x240"))


def shown(fitted):
    return fitted.image.getpixel((160, 120))


@pytest.mark.parametrize("kind", ["AVIF", "PNG"])
@pytest.mark.parametrize("name", CODED)
def test_colours_in_hdr_or_p3_are_those_of_the_original(tmp_path, kind, name):
    encode, codes = CODED[name]
    picture = Image.new("RGB", (320, 240))
    for place, colour in enumerate(COLOURS):
        picture.paste(stored(encode(colour), size=(40, 240)), (40 * place, 0))
    fitted = loaded(tmp_path / "p", saved(picture, kind, codes))
    assert fitted.notes == ()
    for place, colour in enumerate(COLOURS):
        # AVIF has 8 bits in YCbCr here, and red of BT.709 is then a difference of large numbers.
        tolerance = 6 if min(colour) >= 250 else 18 if kind == "AVIF" else 10
        assert fitted.image.getpixel((40 * place + 20, 120)) == pytest.approx(colour, abs=tolerance)


def test_ten_bits_of_hdr_make_a_smooth_sky(tmp_path):
    fitted = loaded(tmp_path / "p", (HEIC / "hdr_sky.heic").read_bytes())
    column = fitted.image.resize((1, 180))
    colours = [column.getpixel((0, row)) for row in range(180)]
    errors = [
        abs(a - b) for row, one in enumerate(colours) for a, b in zip(one, sky(row), strict=True)
    ]
    steps = [
        abs(a - b) for one, other in pairwise(colours) for a, b in zip(one, other, strict=True)
    ]
    assert sum(errors) / len(errors) < 1.2
    assert max(steps) <= 3  # 6 with eight bits


def test_lights_brighter_than_white_keep_some_of_their_hue(tmp_path):
    lamp = in_pq((255, 150, 100), TO_BT_2020, brightness=3)
    red, green, blue = shown(loaded(tmp_path / "p", saved(stored(lamp), "PNG", (9, 16))))
    assert red == 255
    assert 180 < green < 235  # neither as dark as without HDR, nor clipped
    assert 120 < blue < green - 30


@pytest.mark.parametrize("kind", ["AVIF", "PNG"])
def test_opacity_is_not_converted(tmp_path, kind):
    picture = stored(in_pq((200, 40, 40)), "RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 32, 36))
    (tmp_path / "p").write_bytes(saved(picture, kind, (9, 16)))
    mark = pictures.scaled_watermark(tmp_path / "p", PIXELS, 64, 64)
    assert mark.getpixel((60, 18)) == pytest.approx((200, 40, 40, 255), abs=6)
    assert mark.getpixel((4, 18))[3] == 0


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_grey_and_palettes_are_converted(tmp_path, mode):
    grey = round(255 * in_pq((128, 128, 128))[0])
    picture = Image.new(mode, (64, 36), grey * 257 if mode == "I;16" else grey)
    if mode == "P":
        picture.putpalette([value for value in range(256) for _ in range(3)])
    fitted = loaded(tmp_path / "p", saved(picture, "PNG", (9, 16)))
    assert shown(fitted) == pytest.approx((128, 128, 128), abs=3)


@pytest.mark.parametrize("codes", [(1, 13), (1, 1), (2, 2), (1, 14)])
@pytest.mark.parametrize("kind", ["AVIF", "PNG"])
def test_colours_of_srgb_stay_as_they_are(tmp_path, kind, codes):
    fitted = loaded(tmp_path / "p", saved(Image.new("RGB", (64, 36), (200, 150, 122)), kind, codes))
    assert shown(fitted) == pytest.approx((200, 150, 122), abs=1 if kind == "AVIF" else 0)
    assert fitted.notes == ()


@pytest.mark.parametrize("kind", ["AVIF", "PNG"])
def test_unknown_codes_are_a_warning(tmp_path, kind):
    picture = Image.new("RGB", (64, 36), (200, 150, 122))
    fitted = loaded(tmp_path / "p", saved(picture, kind, (22, 8)))
    assert (shown(fitted), fitted.notes) == (pytest.approx((200, 150, 122), abs=1), (UNKNOWN,))


def test_a_profile_counts_in_avif_and_the_codes_in_png(tmp_path):
    """MIAF (ISO/IEC 23000-22) and the third edition of PNG say so."""
    adobe, picture = profile(ADOBE_RGB), Image.new("RGB", (64, 36), (200, 150, 122))
    avif = loaded(tmp_path / "p", saved(picture, "AVIF", (9, 16), icc_profile=adobe))
    assert shown(avif) == pytest.approx((217, 151, 119), abs=2)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    coded = stored(in_pq((200, 40, 40)))
    png = loaded(tmp_path / "p", saved(coded, "PNG", (9, 16), icc_profile=srgb))
    assert shown(png) == pytest.approx((200, 40, 40), abs=6)
    png = loaded(tmp_path / "p", saved(picture, "PNG", (1, 13), icc_profile=adobe))
    assert shown(png) == (200, 150, 122)


def test_codes_that_end_too_early_are_a_fault(tmp_path):
    data = saved(Image.new("RGB", (64, 36)), "PNG", (9, 16))
    with pytest.raises(pictures.InputFaultError):
        loaded(tmp_path / "p", data[: data.index(b"cICP") + 5])
