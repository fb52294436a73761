"""The camera: steps without a jump, edges, and the watermark on top."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cloudburst.models.options import Effect
from cloudburst.service.media import Planes, halved, planes
from cloudburst.service.motion import Camera, Stamp, Window, start, windows

WIDTH, HEIGHT = 1920, 1080
LANDSCAPE, PORTRAIT = (WIDTH, HEIGHT), (HEIGHT, WIDTH)


def chart(size, dots, scale=1):
    """Planes with a soft dot at each place, in pixels off the centre of the luma."""
    width, height = size

    def plane(step, siting):
        y, x = np.mgrid[0 : height // step, 0 : width // step].astype(np.float32)
        total = np.full(x.shape, 40, np.float32)
        for across, down in dots:
            # where the place of the luma is counted in samples of this plane
            at_x = ((width / 2 + across) / step) - 0.5 + siting
            at_y = ((height / 2 + down) / step) - 0.5
            total += 160 * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * (6 / step) ** 2))
        return np.rint(total).astype(np.uint8).tobytes()

    return Planes(width, height, plane(1, 0), plane(2, 0.25), plane(2, 0.25))


def dot(plane, near, step=1, siting=0.0):
    """Centre of the dot near a place, in pixels of the luma off its centre."""
    height, width = plane.shape
    x, y = width / 2 + near[0] / step, height / 2 + near[1] / step
    reach = 26 // step
    x0, y0 = round(x) - reach, round(y) - reach
    part = plane[y0 : y0 + 2 * reach, x0 : x0 + 2 * reach].astype(np.float64)
    part = np.maximum(part - 44, 0)
    rows, columns = np.mgrid[0 : part.shape[0], 0 : part.shape[1]]
    across = (part * columns).sum() / part.sum() + x0 + 0.5 - siting
    down = (part * rows).sum() / part.sum() + y0 + 0.5
    return (across - width / 2) * step, (down - height / 2) * step


@pytest.mark.timeout(60)
@pytest.mark.parametrize("effect", [Effect.ZOOM_IN, Effect.ZOOM_OUT])
def test_zoom_steps_within_a_tenth_of_a_pixel(effect):
    """300 frames; a dot 900 px off the centre goes 0.301 px a frame, in luma and in chroma."""
    frames, place = 300, (780.0, 450.0)
    camera = Camera(chart(LANDSCAPE, [place]))
    distances = {"luma": [], "chroma": []}
    for window in windows(effect, WIDTH, HEIGHT, frames):
        y, u, _ = camera.frame(window).planes
        near = (place[0] * window.zoom, place[1] * window.zoom)
        found = dot(y, near)
        assert math.dist(found, near) < 0.08
        distances["luma"].append(math.hypot(*found))
        found = dot(u, near, step=2, siting=0.25)
        assert math.dist(found, near) < 0.15  # of a plane of half the size
        distances["chroma"].append(math.hypot(*found))
    step = math.hypot(*place) * 0.1 / (frames - 1) * (1 if effect is Effect.ZOOM_IN else -1)
    assert abs(step) == pytest.approx(0.301, abs=0.001)
    for seen in distances.values():
        steps = [b - a for a, b in pairwise(seen)]
        assert len(steps) == 299
        assert max(abs(found - step) for found in steps) < 0.1


@pytest.mark.timeout(60)
@pytest.mark.parametrize("effect", [Effect.PAN_LEFT, Effect.PAN_RIGHT])
def test_pan_steps_evenly(effect):
    frames = 150
    camera = Camera(chart(LANDSCAPE, [(100.0, 300.0)]))
    seen = []
    for window in windows(effect, WIDTH, HEIGHT, frames):
        across = (WIDTH / 2 + 100 - window.left) * window.zoom - WIDTH / 2
        down = 300 * window.zoom
        found = dot(camera.frame(window).planes[0], (across, down))
        assert math.dist(found, (across, down)) < 0.08
        seen.append(found[0])
    step = (seen[-1] - seen[0]) / (frames - 1)
    assert step == pytest.approx((1.42 if effect is Effect.PAN_LEFT else -1.42), abs=0.02)
    assert max(abs(b - a - step) for a, b in pairwise(seen)) < 0.1


def test_chroma_stays_with_luma():
    """Over all phases the kernel errs to both sides alike; left is where samples are put."""
    camera = Camera(chart(LANDSCAPE, [(100.0, 300.0)]))
    aside = []
    for window in windows(Effect.PAN_LEFT, WIDTH, HEIGHT, 120):
        y, u, _ = camera.frame(window).planes
        near = ((WIDTH / 2 + 100 - window.left) * window.zoom - WIDTH / 2, 300 * window.zoom)
        aside.append(dot(u, near, step=2, siting=0.25)[0] - dot(y, near)[0])
    assert abs(np.mean(aside)) < 0.02  # 0.055 for a quarter sample forgotten


@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT])
def test_a_pan_goes_edge_to_edge_with_nine_tenths(size):
    width, height = size
    left, right = windows(Effect.PAN_LEFT, *size, 300), windows(Effect.PAN_RIGHT, *size, 300)
    there, back = list(right), list(left)
    np.testing.assert_allclose(there, back[::-1], atol=1e-9)
    assert there[0].left == 0
    assert there[-1].left + width / there[-1].zoom == pytest.approx(width)
    for window in there:
        assert width / window.zoom == pytest.approx(0.9 * width, abs=1.5)
        assert window.top == pytest.approx((height - height / window.zoom) / 2)


@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT])
@pytest.mark.parametrize("frames", [7, 150, 900, 4000])
def test_a_pan_never_needs_the_slow_way(size, frames):
    for window in windows(Effect.PAN_RIGHT, *size, frames):
        for edge in (
            window.left,
            window.left / 2 + (1 - 1 / window.zoom) / 4,
            window.top,
            window.top / 2,
        ):
            assert start(edge, window.zoom) is not None


def test_a_beginning_lies_near_a_whole_pixel():
    none = 0
    for edge in np.linspace(0, 96, 50):
        for zoom in np.linspace(1.02, 1.1, 50):
            found = start(edge, zoom)
            if found is None:
                none += 1
                continue
            assert found.source <= edge - 2
            assert zoom * (edge - found.source) == pytest.approx(found.offset, abs=0.0151)
    assert none < 100  # of 2500


def test_zooms_begin_and_end_where_they_say():
    into = list(windows(Effect.ZOOM_IN, *LANDSCAPE, 300))
    assert into[0] == Window(0, 0, 1)
    assert into[-1] == pytest.approx((WIDTH * (1 - 1 / 1.1) / 2, HEIGHT * (1 - 1 / 1.1) / 2, 1.1))
    out = list(windows(Effect.ZOOM_OUT, *LANDSCAPE, 300))
    np.testing.assert_allclose(out, into[::-1], atol=1e-9)
    assert list(windows(Effect.ZOOM_IN, *LANDSCAPE, 1)) == [Window(0, 0, 1)]


def test_a_random_effect_must_be_drawn_before():
    with pytest.raises(ValueError, match="drawn before"):
        list(windows(Effect.RANDOM, *LANDSCAPE, 2))


def test_the_first_frame_of_a_zoom_is_the_picture():
    picture = planes(Image.effect_noise(LANDSCAPE, 90).convert("RGB"))
    frame = Camera(picture).frame(Window(0, 0, 1))
    assert frame.data.tobytes() == picture.y + picture.u + picture.v


@pytest.mark.parametrize("zoom", [1.001, 1.005, 1.02, 1.1])
def test_no_edge_shows(zoom):
    """A flat picture stays flat to its last column, on the fast way and on the slow one."""
    camera = Camera(planes(Image.new("RGB", LANDSCAPE, (200, 90, 30))))
    for across in (0.0, 0.5, 1.0):
        left = (WIDTH - WIDTH / zoom) * across
        top = (HEIGHT - HEIGHT / zoom) * across
        frame = camera.frame(Window(left, top, zoom))
        assert [len(np.unique(plane)) for plane in frame.planes] == [1, 1, 1]


def test_a_stamp_looks_as_if_pasted():
    picture = Image.linear_gradient("L").resize(LANDSCAPE).convert("RGB")
    stamp = Image.new("RGBA", (241, 91), (0, 0, 0, 0))
    draw = ImageDraw.Draw(stamp)
    draw.ellipse((20, 5, 220, 85), fill=(255, 120, 0, 140))
    draw.ellipse((80, 25, 140, 65), fill=(255, 255, 255, 255))
    frame = Camera(planes(picture), Stamp(stamp)).frame(Window(0, 0, 1))
    picture.paste(stamp, (10, 10), stamp)
    pasted = planes(picture)
    for plane, raw in zip(frame.planes, pasted[2:], strict=True):
        expected = np.frombuffer(raw, np.uint8).reshape(plane.shape)
        assert np.abs(plane.astype(int) - expected).max() <= 3


def test_halved_keeps_what_is_flat():
    assert set(halved(Image.new("L", (40, 20), 77)).tobytes()) == {77}
