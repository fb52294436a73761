"""Frames: three planes that stay together."""

from __future__ import annotations

from statistics import fmean

import av
import pytest
from PIL import Image, ImageChops, ImageDraw

from cloudburst.models.video_format import Effect
from cloudburst.renderer.frames import Frame
from cloudburst.renderer.motion import WHOLE_PICTURE, Camera, Window
from cloudburst.renderer.planes import Layer, Planes, halve_plane, to_picture_layer, to_planes

SIZE = WIDTH, HEIGHT = 320, 180


def planes_of(frame: Frame) -> Planes:
    """Return what PyAV sees in a frame."""
    flat = [bytes(plane) for plane in frame.video.planes]
    rows = [
        b"".join(
            data[y * plane.line_size : y * plane.line_size + plane.width]
            for y in range(plane.height)
        )
        for data, plane in zip(flat, frame.video.planes, strict=True)
    ]
    return Planes(frame.width, frame.height, *rows)


def picture(seed=0, size=SIZE) -> Image.Image:
    bands = [Image.effect_noise(size, 60 + seed) for _ in range(3)]
    return Image.merge("RGB", bands)


def filled(image, size=SIZE) -> Frame:
    frame = Frame(*size)
    frame.fill(to_planes(image))
    return frame


def test_a_frame_is_what_the_encoder_expects():
    planes = to_planes(picture())
    frame = Frame(*SIZE)
    frame.fill(planes)
    assert planes_of(frame) == planes
    assert (frame.video.width, frame.video.height, frame.video.format.name) == (*SIZE, "yuv420p")
    assert (frame.video.colorspace, frame.video.color_range) == (1, 1)  # BT.709, limited


@pytest.mark.parametrize("size", [(2, 2), (322, 182), (1920, 64), (62, 1920)])
def test_sizes_with_gaps_between_rows(size):
    planes = to_planes(picture(size=size))
    frame, other = filled(picture(1, size), size), Frame(*size)
    frame.fill(planes)
    other.copy_rectangle(frame, 0, 0, *size)
    assert planes_of(other) == planes


def test_a_copied_rectangle():
    frame, other = filled(picture()), filled(picture(1))
    before, source = planes_of(frame), planes_of(other)
    frame.copy_rectangle(other, 10, 20, 50, 30)
    for index, found in enumerate(planes_of(frame)[2:]):
        step = 2 if index else 1
        size = (WIDTH // step, HEIGHT // step)
        expected = Image.frombytes("L", size, before[2 + index])
        box = (10 // step, 20 // step, 60 // step, 50 // step)
        expected.paste(Image.frombytes("L", size, source[2 + index]).crop(box), box[:2])
        assert found == expected.tobytes()


def test_a_layer_is_pasted_into_all_planes():
    image = Image.new("L", (60, 40))
    ImageDraw.Draw(image).ellipse((5, 5, 55, 35), fill=200)
    half = halve_plane(image)
    frame = filled(picture())
    before = planes_of(frame)
    frame.blend(Layer(100, 50, 60, 40, image.tobytes(), half.tobytes(), (180, 90, 200)))
    for index, found in enumerate(planes_of(frame)[2:]):
        step = 2 if index else 1
        expected = Image.frombytes("L", (WIDTH // step, HEIGHT // step), before[2 + index])
        mask = half if index else image
        at = (100 // step, 50 // step)
        expected.paste(
            (180, 90, 200)[index], (*at, *map(sum, zip(at, mask.size, strict=True))), mask
        )
        assert found == expected.tobytes()


def test_a_watermark_looks_as_if_pasted():
    background = Image.linear_gradient("L").resize(SIZE).convert("RGB")
    stamp = Image.new("RGBA", (141, 91), (0, 0, 0, 0))
    draw = ImageDraw.Draw(stamp)
    draw.ellipse((20, 5, 120, 85), fill=(255, 120, 0, 140))
    draw.ellipse((50, 25, 90, 65), fill=(255, 255, 255, 255))
    frame = filled(background)
    frame.blend(to_picture_layer(stamp, 10, 10))
    background.paste(stamp, (10, 10), stamp)
    pasted = to_planes(background)
    for found, expected in zip(planes_of(frame)[2:], pasted[2:], strict=True):
        pair = (Image.frombytes("L", (1, len(data)), data) for data in (found, expected))
        assert ImageChops.difference(*pair).getextrema()[1] <= 3


def test_transparent_pixels_do_not_tint_the_edge_of_a_watermark():
    """The hidden colour of transparent pixels, here green, is not visible in the chroma."""
    stamp = Image.new("RGBA", (40, 40), (0, 255, 0, 0))
    stamp.paste((255, 0, 0, 255), (11, 11, 30, 30))
    layer = to_picture_layer(stamp, 0, 0)
    assert isinstance(layer.colour, Planes)
    red = to_planes(Image.new("RGB", (2, 2), (255, 0, 0)))
    for samples, expected in ((layer.colour.u, red.u[0]), (layer.colour.v, red.v[0])):
        visible = [v for v, opacity in zip(samples, layer.half_mask, strict=True) if opacity > 60]
        assert len(visible) > 90
        assert max(abs(value - expected) for value in visible) <= 2


def column(image: Image.Image) -> float:
    """Return the column of the centre of what differs from the background, 128, in one row."""
    weights = [abs(value - 128) for value in image.tobytes()]
    return sum(x * weight for x, weight in enumerate(weights)) / sum(weights)


@pytest.mark.parametrize("zoom", [1.0, 1.013, 1.1, 1.5, 2.0])
def test_chroma_stays_with_luma(zoom):
    """The same soft line in luma and chroma is in the same place after a zoom.

    A chroma sample is sited at the left one of its two pixels: sample x at pixel 2 * x.
    """

    def line(width: int, centre: float, spread: float) -> bytes:
        values = (round(100 * 2 ** -(((x - centre) / spread) ** 2)) for x in range(width))
        return bytes(128 - value for value in values)

    luma, chroma = line(WIDTH, 120.0, 8), line(WIDTH // 2, 60.0, 4)
    halves = chroma * (HEIGHT // 2)
    source, frame = Frame(*SIZE), Frame(*SIZE)
    source.fill(Planes(*SIZE, luma * HEIGHT, halves, halves))
    window = Window(WIDTH * (1 - 1 / zoom) * 0.31, HEIGHT * (1 - 1 / zoom) / 2, zoom)
    frame.zoom_from(source, window)
    found = planes_of(frame)
    rows = [
        Image.frombytes("L", (side, 1), data[-side:])
        for side, data in ((WIDTH, found.y), (WIDTH // 2, found.u), (WIDTH // 2, found.v))
    ]
    expected = (120.5 - window.left) * zoom - 0.5
    assert column(rows[0]) == pytest.approx(expected, abs=0.05)
    for row in rows[1:]:
        assert 2 * column(row) == pytest.approx(
            expected, abs=0.1
        )  # 0.5 at zoom 2 if the siting is ignored


@pytest.mark.parametrize("effect", [Effect.ZOOM_IN, Effect.PAN_RIGHT])
def test_movement_is_exact(effect):
    """A line is where it should be; rounding to 8 bits moves its centre by up to 0.04 pixels."""
    values = (round(100 * 2 ** -(((x - 60) / 8) ** 2)) for x in range(WIDTH))
    luma, grey = bytes(128 - value for value in values), bytes([128]) * (WIDTH * HEIGHT // 4)
    source, frame = Frame(*SIZE), Frame(*SIZE)
    source.fill(Planes(*SIZE, luma * HEIGHT, grey, grey))
    errors = []
    for number in range(0, 300, 5):
        window = Camera(effect, SIZE).window(number, 300)
        frame.zoom_from(source, window)
        row = Image.frombytes("L", (WIDTH, 1), planes_of(frame).y[-WIDTH:])
        errors.append(column(row) - ((60.5 - window.left) * window.zoom - 0.5))
    assert max(map(abs, errors)) < 0.06
    assert abs(fmean(errors)) < 0.005


@pytest.mark.parametrize("size", [(640, 360), (180, 320)])
def test_all_windows_of_the_effects_are_drawn(size):
    """A flat picture stays flat, and the first frame of a zoom is the picture."""
    flat = filled(Image.new("RGB", size, (200, 90, 30)), size)
    noise = filled(picture(size=size), size)
    frame = Frame(*size)
    for effect in (Effect.ZOOM_IN, Effect.ZOOM_OUT, Effect.PAN_LEFT, Effect.PAN_RIGHT):
        for number in range(7):
            frame.zoom_from(flat, Camera(effect, size).window(number, 7))
            assert planes_of(frame) == planes_of(flat)
    frame.zoom_from(noise, WHOLE_PICTURE)
    assert planes_of(frame) == planes_of(noise)


def test_planes_that_do_not_fit_are_rejected():
    frame, other = Frame(*SIZE), Frame(WIDTH, HEIGHT + 2)
    layer = Layer(0, 0, 2, 2, bytes(4), bytes(1), (16, 128, 128))
    for size in ((3, 2), (2, 3)):
        with pytest.raises(ValueError, match="expected even"):
            Frame(*size)
    for change in ({"x": 1}, {"height": 3}):
        with pytest.raises(ValueError, match="expected even"):
            frame.blend(layer._replace(**change))
    for change in ({"x": WIDTH}, {"y": -2}, {"width": 4}, {"mask": b""}, {"half_mask": b"12"}):
        with pytest.raises(ValueError, match=r"outside|expected \dx\d"):
            frame.blend(layer._replace(**change))
    with pytest.raises(ValueError, match="outside"):
        frame.copy_rectangle(other, 0, 2, WIDTH, HEIGHT)
    with pytest.raises(ValueError, match="expected 320x180"):
        frame.fill(planes_of(other))
    with pytest.raises(ValueError, match="window is outside"):
        other.zoom_from(frame, Window(0, 0, 1))
    for zoom in (0.5, float("nan")):
        with pytest.raises(ValueError, match=r"zoom: .*; expected 0.65 to"):
            frame.zoom_from(other, Window(0, 0, zoom))


def test_the_frame_keeps_its_memory():
    """PyAV gives the memory of a frame free with the frame, so `Frame` must hold it."""
    frame = Frame(*SIZE)
    assert isinstance(frame.video, av.VideoFrame)
    assert [plane.address for plane in frame.planes] == [
        plane.buffer_ptr for plane in frame.video.planes
    ]
    for plane, owned in zip(frame.planes, frame.video.planes, strict=True):
        assert plane.stride * (plane.height - 1) + plane.width <= owned.buffer_size
