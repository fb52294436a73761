"""Windows of the camera effects: even steps, from edge to edge."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cloudburst.models.video_format import Effect
from cloudburst.renderer.motion import WHOLE_PICTURE, Camera, Window

LANDSCAPE, PORTRAIT = (1920, 1080), (1080, 1920)


def windows(effect, width, height, frames, *options):
    camera = Camera(effect, (width, height), *options)
    return [camera.window(frame, frames) for frame in range(frames)]


@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT])
def test_a_pan_goes_edge_to_edge_with_nine_tenths(size):
    width, height = size
    there = windows(Effect.PAN_RIGHT, *size, 300)
    assert there[0].left == 0
    assert there[-1].left + width / there[-1].zoom == pytest.approx(width)
    for window in there:
        assert width / window.zoom == pytest.approx(0.9 * width)
        assert window.top == pytest.approx((height - height / window.zoom) / 2)
    steps = [after.left - before.left for before, after in pairwise(there)]
    assert steps == pytest.approx([width / 10 / 299] * 299)
    back = reversed(windows(Effect.PAN_LEFT, *size, 300))
    for window, other in zip(there, back, strict=True):
        assert window == pytest.approx(other)


@pytest.mark.parametrize("amount", [0.01, 0.1, 0.25, 0.5])
@pytest.mark.parametrize(
    ("effect", "turned"), [(Effect.PAN_DOWN, Effect.PAN_RIGHT), (Effect.PAN_UP, Effect.PAN_LEFT)]
)
def test_a_vertical_pan_is_a_horizontal_one_of_the_turned_picture(effect, turned, amount):
    for down, across in zip(
        windows(effect, *LANDSCAPE, 90, amount),
        windows(turned, *PORTRAIT, 90, amount),
        strict=True,
    ):
        assert down == pytest.approx((across.top, across.left, across.zoom))


@pytest.mark.parametrize("amount", [0.01, 0.25, 0.5])
@pytest.mark.parametrize("effect", [effect for effect in Effect if effect is not Effect.RANDOM])
def test_movements_of_any_extent_cross_the_picture(effect, amount):
    found = windows(effect, *LANDSCAPE, 90, amount)
    for left, top, zoom in found:
        assert 1 <= zoom <= 2
        assert -1e-9 <= left <= 1920 - 1920 / zoom + 1e-9
        assert -1e-9 <= top <= 1080 - 1080 / zoom + 1e-9
    if effect in {Effect.ZOOM_IN, Effect.ZOOM_OUT}:
        assert {found[0].zoom, found[-1].zoom} == {1, 1 + amount}
    else:
        assert {window.zoom for window in found} == {1 / (1 - amount)}
        distance = [abs(found[-1].left - found[0].left), abs(found[-1].top - found[0].top)]
        assert sorted([distance[0] / 1920, distance[1] / 1080]) == pytest.approx([0, amount])


@pytest.mark.parametrize(
    ("easing", "speeds"),
    [
        ("linear", (1, 1, 1)),
        ("ease_in", (0, 1, 2)),
        ("ease_out", (2, 1, 0)),
        ("ease_in_out", (0, 1.5, 0)),
    ],
)
@pytest.mark.parametrize(
    "effect", [Effect.PAN_RIGHT, Effect.PAN_LEFT, Effect.ZOOM_IN, Effect.ZOOM_OUT]
)
def test_the_speed_of_a_movement_changes_evenly(effect, easing, speeds):
    """No two steps differ by more than the acceleration, so nothing jumps."""
    found = windows(effect, *LANDSCAPE, 300, 0.1, easing)
    zooms = effect in {Effect.ZOOM_IN, Effect.ZOOM_OUT}
    places = [window.zoom if zooms else window.left for window in found]
    total = abs(places[-1] - places[0])
    assert total == pytest.approx(0.1 if zooms else 192)
    steps = [abs(after - before) / total * 299 for before, after in pairwise(places)]
    assert [steps[0], steps[149], steps[-1]] == pytest.approx(speeds, abs=0.02)
    largest = 6 / 299  # the acceleration of ease_in_out at its ends, a frame later
    assert all(abs(after - before) <= largest for before, after in pairwise(steps))
    unchanged = windows(effect, *LANDSCAPE, 300, 0.1)
    assert (found[0], found[-1]) == (unchanged[0], unchanged[-1])


def test_zooms_begin_and_end_where_they_say():
    into = windows(Effect.ZOOM_IN, *LANDSCAPE, 300)
    assert into[0] == WHOLE_PICTURE == Window(0, 0, 1)
    assert into[-1] == pytest.approx((1920 * (1 - 1 / 1.1) / 2, 1080 * (1 - 1 / 1.1) / 2, 1.1))
    steps = [after.zoom - before.zoom for before, after in pairwise(into)]
    assert steps == pytest.approx([0.1 / 299] * 299)
    out = reversed(windows(Effect.ZOOM_OUT, *LANDSCAPE, 300))
    for window, other in zip(into, out, strict=True):
        assert window == pytest.approx(other)


def test_a_single_frame_shows_the_start():
    assert windows(Effect.ZOOM_IN, *LANDSCAPE, 1) == [WHOLE_PICTURE]


def test_a_random_effect_must_be_drawn_before():
    with pytest.raises(ValueError, match="the effect that was chosen"):
        windows(Effect.RANDOM, *LANDSCAPE, 2)
