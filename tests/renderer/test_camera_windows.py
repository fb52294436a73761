"""Windows of the camera effects: even steps, from edge to edge."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cloudburst.models.camera_effects import Effect
from cloudburst.renderer.motion import WHOLE_PICTURE, Window, camera_window

LANDSCAPE, PORTRAIT = (1920, 1080), (1080, 1920)


def windows(effect, width, height, frames):
    return [camera_window(effect, width, height, frame, frames) for frame in range(frames)]


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
