"""The camera: steps without a jump, edges, and the watermark on top."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cloudburst.models.camera_effects import Effect
from cloudburst.renderer.camera_motion import (
    Camera,
    WatermarkOverlay,
    Window,
    camera_windows,
    crop_start,
)
from cloudburst.renderer.planes import halve_plane, to_planes
from support.dot_charts import HEIGHT, LANDSCAPE, PORTRAIT, WIDTH, chart, dot


@pytest.mark.timeout(60)
@pytest.mark.parametrize("effect", [Effect.ZOOM_IN, Effect.ZOOM_OUT])
def test_zoom_steps_within_a_tenth_of_a_pixel(effect):
    """300 frames; a dot 900 px off the centre goes 0.301 px a frame, in luma and in chroma."""
    frames, place = 300, (780.0, 450.0)
    camera = Camera(chart(LANDSCAPE, [place]))
    distances = {"luma": [], "chroma": []}
    for window in camera_windows(effect, WIDTH, HEIGHT, frames):
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
    for window in camera_windows(effect, WIDTH, HEIGHT, frames):
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
    for window in camera_windows(Effect.PAN_LEFT, WIDTH, HEIGHT, 120):
        y, u, _ = camera.frame(window).planes
        near = ((WIDTH / 2 + 100 - window.left) * window.zoom - WIDTH / 2, 300 * window.zoom)
        aside.append(dot(u, near, step=2, siting=0.25)[0] - dot(y, near)[0])
    assert abs(np.mean(aside)) < 0.02  # 0.055 for a quarter sample forgotten


@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT])
def test_a_pan_goes_edge_to_edge_with_nine_tenths(size):
    width, height = size
    left, right = (
        camera_windows(Effect.PAN_LEFT, *size, 300),
        camera_windows(Effect.PAN_RIGHT, *size, 300),
    )
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
    for window in camera_windows(Effect.PAN_RIGHT, *size, frames):
        for edge in (
            window.left,
            window.left / 2 + (1 - 1 / window.zoom) / 4,
            window.top,
            window.top / 2,
        ):
            assert crop_start(edge, window.zoom) is not None


def test_a_beginning_lies_near_a_whole_pixel():
    none = 0
    for edge in np.linspace(0, 96, 50):
        for zoom in np.linspace(1.02, 1.1, 50):
            found = crop_start(edge, zoom)
            if found is None:
                none += 1
                continue
            assert found.source <= edge - 2
            assert zoom * (edge - found.source) == pytest.approx(found.offset, abs=0.0151)
    assert none < 100  # of 2500


def test_zooms_begin_and_end_where_they_say():
    into = list(camera_windows(Effect.ZOOM_IN, *LANDSCAPE, 300))
    assert into[0] == Window(0, 0, 1)
    assert into[-1] == pytest.approx((WIDTH * (1 - 1 / 1.1) / 2, HEIGHT * (1 - 1 / 1.1) / 2, 1.1))
    out = list(camera_windows(Effect.ZOOM_OUT, *LANDSCAPE, 300))
    np.testing.assert_allclose(out, into[::-1], atol=1e-9)
    assert list(camera_windows(Effect.ZOOM_IN, *LANDSCAPE, 1)) == [Window(0, 0, 1)]


def test_a_random_effect_must_be_drawn_before():
    with pytest.raises(ValueError, match="the effect that was chosen"):
        list(camera_windows(Effect.RANDOM, *LANDSCAPE, 2))


def test_the_first_frame_of_a_zoom_is_the_picture():
    picture = to_planes(Image.effect_noise(LANDSCAPE, 90).convert("RGB"))
    frame = Camera(picture).frame(Window(0, 0, 1))
    assert frame.data.tobytes() == picture.y + picture.u + picture.v


@pytest.mark.parametrize("zoom", [1.001, 1.005, 1.02, 1.1])
def test_no_edge_shows(zoom):
    """A flat picture stays flat to its last column, on the fast way and on the slow one."""
    camera = Camera(to_planes(Image.new("RGB", LANDSCAPE, (200, 90, 30))))
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
    frame = Camera(to_planes(picture), WatermarkOverlay(stamp)).frame(Window(0, 0, 1))
    picture.paste(stamp, (10, 10), stamp)
    pasted = to_planes(picture)
    for plane, raw in zip(frame.planes, pasted[2:], strict=True):
        expected = np.frombuffer(raw, np.uint8).reshape(plane.shape)
        assert np.abs(plane.astype(int) - expected).max() <= 3


def test_halved_keeps_what_is_flat():
    assert set(halve_plane(Image.new("L", (40, 20), 77)).tobytes()) == {77}
