"""Crops around a focus, and whole pictures in front of a backdrop."""

from __future__ import annotations

from itertools import pairwise

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageStat

from cloudburst.models.options import RenderOptions
from cloudburst.models.video_format import Effect, VideoSize
from cloudburst.renderer import pictures
from cloudburst.renderer.fitting import kept_size
from cloudburst.renderer.kernel.interface import MIN_ZOOM
from cloudburst.renderer.motion import Camera
from cloudburst.renderer.motion_video import MotionVideo
from cloudburst.renderer.planes import to_picture, to_planes
from cloudburst.renderer.subtitle_track import SubtitleTrack
from support.fitted_pictures import load_picture

PIXELS = 20_000_000
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "image"


def near(picture, at, colour, tolerance):
    return picture.getpixel(at) == pytest.approx(colour, abs=tolerance)


def dotted(size=(1600, 900), at=(0.1, 0.2)):
    """Return a grey picture with a green dot of an eighth of its height."""
    image = Image.new("RGB", size, (90, 90, 90))
    x, y, radius = size[0] * at[0], size[1] * at[1], size[1] / 16
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill=GREEN)
    return image


def green_centre(picture):
    """Return the centre of the green area as shares of width and height; ``None`` without any."""
    red, green, _ = picture.split()
    mask = ImageChops.subtract(green, red).point(lambda value: 255 * (value > 80))
    if (bounds := mask.getbbox()) is None:
        return None
    left, top, right, bottom = bounds
    return (left + right) / 2 / picture.width, (top + bottom) / 2 / picture.height


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("at", "size", "centre"),
    [
        ((0.4, 0.5), "square", (0.5, 0.5)),  # there is room on both sides
        ((0.1, 0.5), "square", (0.1 * 16 / 9, 0.5)),  # the left edge is the limit
        ((0.9, 0.5), "square", (1 - 0.1 * 16 / 9, 0.5)),
        ((0.5, 0.1), "4096x240", (0.5, 0.5)),
    ],
)
def test_the_crop_keeps_the_focus_near_the_centre(file, at, size, centre):
    dotted(at=at).save(file, "PNG")
    options = RenderOptions(size=size, focus=at)
    if size == "4096x240":  # the dot is as high as the crop
        picture = load_picture(file, PIXELS, options)
        assert near(picture, (2048, 120), GREEN, 20)
    else:
        found = green_centre(load_picture(file, PIXELS, options))
        assert found == pytest.approx(centre, abs=0.01)
    assert green_centre(load_picture(file, PIXELS, RenderOptions(size=size))) != pytest.approx(
        centre, abs=0.05
    )


TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""Turn of the stored picture that the turn of each EXIF orientation undoes."""


@pytest.mark.few(5, spread=True)
@pytest.mark.parametrize("size", [(3000, 900), (900, 3000)])
@pytest.mark.parametrize("orientation", sorted(TURNS))
def test_the_focus_is_a_point_of_the_picture_as_it_is_seen(file, orientation, size):
    seen = dotted(size, (0.3, 0.35))
    turn = TURNS[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    (seen if turn is None else seen.transpose(turn)).save(file, "JPEG", exif=exif, quality=95)
    picture = load_picture(file, PIXELS, RenderOptions(size="square", focus=(0.3, 0.35)))
    assert green_centre(picture) == pytest.approx(
        (0.5, 0.35) if size[0] > 900 else (0.3, 0.5), abs=0.01
    )


@pytest.mark.few(6, spread=True)
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize(
    ("size", "options", "box"),
    [
        ((900, 900), {"size": "landscape"}, (420, 0, 1500, 1080)),
        ((1600, 900), {"size": "portrait"}, (0, 656, 1080, 1264)),
        ((90, 160), {"size": "square"}, (236, 0, 844, 1080)),
        ((160, 90), {"size": "landscape"}, (0, 0, 1920, 1080)),
        ((8000, 80), {"size": "square"}, (0, 534, 1080, 545)),
    ],
)
def test_a_contained_picture_is_whole_and_in_the_middle(file, orientation, size, options, box):
    seen = Image.new("RGB", size, RED)
    turn = TURNS[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    (seen if turn is None else seen.transpose(turn)).save(file, "PNG", exif=exif)
    look = RenderOptions(fit="contain", backdrop="#0000ff", **options)
    picture = load_picture(file, PIXELS, look)
    red = picture.getchannel("R").point(lambda value: 255 * (value > 127))
    assert red.getbbox() == pytest.approx(box, abs=1)
    width, height = picture.size
    if box != (0, 0, width, height):
        assert near(picture, (3, 3), BLUE, 0)
        assert near(picture, (width - 3, height - 3), BLUE, 0)


def test_a_blurred_backdrop_is_the_picture_itself_without_detail(file):
    stripes = Image.new("RGB", (900, 900), RED)
    for x in range(0, 900, 20):
        stripes.paste(GREEN, (x, 0, x + 10, 900))
    stripes.save(file, "PNG")
    picture = load_picture(file, PIXELS, RenderOptions(size="landscape", fit="contain"))
    assert max(high - low for low, high in picture.crop((430, 10, 1490, 1070)).getextrema()) > 200
    side = picture.crop((40, 40, 380, 1040))
    (low, high), (low_green, high_green), blue = side.getextrema()
    assert 60 < low <= high < 110  # half of the stripes are red, and it is darkened
    assert 60 < low_green <= high_green < 110
    assert blue == (0, 0)
    assert high - low < 25


def test_the_backdrop_shows_through_transparent_parts(file):
    image = Image.new("RGBA", (900, 900), (255, 255, 255, 0))
    image.paste((255, 0, 0, 128), (0, 0, 450, 900))
    image.save(file, "PNG")
    look = RenderOptions(size="landscape", fit="contain", backdrop="#00ff00")
    picture = load_picture(file, PIXELS, look)
    assert near(picture, (100, 500), GREEN, 1)
    assert near(picture, (1200, 500), GREEN, 1)
    assert near(picture, (600, 500), (128, 127, 0), 2)
    blurred = load_picture(file, PIXELS, look.model_copy(update={"backdrop": "blur"}))
    assert blurred.getpixel((1200, 500)) != (0, 255, 0)
    assert blurred.getpixel((1200, 500))[0] < 60  # transparent parts are black in the backdrop


@pytest.mark.nightly
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16"])
def test_a_large_picture_is_contained_as_if_it_had_been_resized_at_once(file, mode):
    image = Image.linear_gradient("L").resize((3000, 6000), Image.Resampling.BICUBIC)
    stored = (
        image.convert("I;16").point(lambda v: v * 257) if mode == "I;16" else image.convert(mode)
    )
    stored.save(file, "PNG")
    look = RenderOptions(size="square", fit="contain", backdrop="#000000")
    found = load_picture(file, 10**8, look).crop((270, 0, 810, 1080))
    expected = image.resize((540, 1080), Image.Resampling.LANCZOS).convert("RGB")
    extrema = ImageChops.difference(found, expected).getextrema()
    assert max(high for _, high in extrema) <= 2


@pytest.mark.parametrize(
    ("size", "video", "effect", "amount", "kept"),
    [
        ((1920, 1080), (1920, 1080), "zoom_in", 0.5, (1920, 1080)),
        ((800, 4000), (1920, 1080), "zoom_in", 0.5, (1920, 1080)),  # too narrow
        ((4032, 3024), (1920, 1080), "zoom_in", 0.1, (2172, 1222)),
        ((4032, 3024), (1920, 1080), "zoom_out", 0.5, (2966, 1668)),
        ((2016, 1512), (1920, 1080), "zoom_in", 0.5, (2016, 1134)),
        ((4032, 3024), (1080, 1920), "pan_up", 0.1, (1236, 2196)),
        ((4032, 3024), (1920, 1080), "pan_left", 0.1, (2198, 1236)),
        ((2016, 1512), (1920, 1080), "pan_left", 0.1, (1938, 1090)),
        ((4032, 3024), (854, 480), "pan_left", 0.5, (1324, 744)),
        ((4032, 3024), (4096, 240), "zoom_in", 0.01, (4096, 240)),
    ],
)
def test_a_picture_is_kept_as_large_as_the_movement_needs(size, video, effect, amount, kept):
    found = kept_size(size, VideoSize(*video), Effect(effect), amount, contain=False)
    assert found == kept
    camera = Camera(Effect(effect), video, amount, "linear", (0.2, 0.9), found)
    plain = Camera(Effect(effect), video, amount, "linear", (0.2, 0.9))
    scale = found[0] / video[0]
    for frame in range(5):
        window, expected = camera.window(frame, 5), plain.window(frame, 5)
        assert MIN_ZOOM <= window.zoom == pytest.approx(expected.zoom / scale, rel=0.002)
        assert window[:2] == pytest.approx([scale * start for start in expected[:2]], abs=2)
        for start, length, side in zip(window[:2], video, found, strict=True):
            assert -1e-9 <= start <= side - length / window.zoom + 1e-9


def test_a_contained_picture_is_kept_with_its_detail(file):
    Image.new("RGB", (2000, 2000)).save(file, "PNG")
    look = RenderOptions(fit="contain", size="640x360", motion_amount=0.5)
    found = pictures.load_picture(file, PIXELS, look, Effect.ZOOM_IN)
    assert (found.size, found.image.size) == ((640, 360), (988, 556))


def edges(picture):
    """Return the mean difference of neighbouring pixels."""
    moved = (ImageChops.offset(picture, x, y) for x, y in ((1, 0), (0, 1)))
    return sum(ImageStat.Stat(ImageChops.difference(picture, other)).mean[0] for other in moved)


@pytest.mark.few(1)
@pytest.mark.parametrize("effect", ["zoom_in", "pan_right"])
@pytest.mark.parametrize("amount", [0.1, 0.3])
def test_a_movement_shows_the_detail_of_a_large_picture_evenly(file, effect, amount):
    video = VideoSize(480, 270)
    source = Image.effect_noise((960, 540), 120).filter(ImageFilter.GaussianBlur(0.8))
    source.convert("RGB").save(file, "PNG")
    look = RenderOptions(size="480x270", motion_amount=amount)
    fitted = pictures.load_picture(file, PIXELS, look, Effect(effect))
    camera = Camera(Effect(effect), video, amount, picture=fitted.image.size)
    moving = MotionVideo(to_planes(fitted.image), 300, camera, None, SubtitleTrack())
    drawn = [to_picture(moving.draw(frame).read()).convert("L") for frame in range(295, 300)]
    window = Camera(Effect(effect), video, amount).window(299, 300)
    left, top, zoom = window
    box = [2 * edge for edge in (left, top, left + 480 / zoom, top + 270 / zoom)]
    exact = source.resize(video, Image.Resampling.LANCZOS, box)
    assert edges(drawn[-1]) / edges(exact) > 0.93
    energies = list(map(edges, drawn))
    assert max(abs(b / a - 1) for a, b in pairwise(energies)) < 0.002
