"""Camera movements in frames: their extent, direction and speed are those asked for."""

from __future__ import annotations

import pytest

from support.dot_charts import LANDSCAPE, PORTRAIT, chart, find_dot
from support.render_job import drawn_lumas, lay_job

pytestmark = pytest.mark.real

DOT = (100.0, 60.0)
"""Place of the dot in the picture, in pixels right of and below the centre."""
EVEN = (0, 0.25, 0.5, 0.75, 1)
"""Finished parts of a movement in five frames, the first and the last among them."""
PANNED = 1 / 0.9
"""Magnification of a pan by default."""


@pytest.mark.few(5, spread=True)
@pytest.mark.parametrize(
    ("options", "start", "end", "parts"),
    [
        ({"effects": ["pan_up"]}, (0, 54, PANNED), (0, -54, PANNED), EVEN),
        ({"effects": ["pan_down"]}, (0, -54, PANNED), (0, 54, PANNED), EVEN),
        ({"effects": "zoom_in", "motion_amount": "0.5"}, (0, 0, 1), (0, 0, 1.5), EVEN),
        ({"effects": ["zoom_out"], "motion_amount": 0.02}, (0, 0, 1.02), (0, 0, 1), EVEN),
        (
            {"effects": ["pan_left"], "motion_amount": 0.3},
            (288, 0, 1 / 0.7),
            (-288, 0, 1 / 0.7),
            EVEN,
        ),
        (
            {"effects": ["pan_right"], "motion_easing": "ease_in"},
            (-96, 0, PANNED),
            (96, 0, PANNED),
            (0, 0.0625, 0.25, 0.5625, 1),
        ),
        (
            {"effects": ["zoom_in"], "motion_easing": "ease_out"},
            (0, 0, 1),
            (0, 0, 1.1),
            (0, 0.4375, 0.75, 0.9375, 1),
        ),
        (
            {"effects": ["pan_up"], "motion_easing": "ease_in_out"},
            (0, 54, PANNED),
            (0, -54, PANNED),
            (0, 0.15625, 0.5, 0.84375, 1),
        ),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_a_dot_moves_as_the_options_say(tmp_path, options, start, end, parts):
    """``start`` and ``end``: centre of the window, from that of the picture, and magnification."""
    lay_job(tmp_path, picture=chart(LANDSCAPE, DOT), **options)
    frames = drawn_lumas(tmp_path, 21, *range(0, 21, 5))
    for frame, part in zip(frames, parts, strict=True):
        x, y, zoom = (a + (b - a) * part for a, b in zip(start, end, strict=True))
        expected = ((DOT[0] - x) * zoom, (DOT[1] - y) * zoom)
        assert find_dot(frame, expected) == pytest.approx(expected, abs=0.3)


def test_a_pan_in_an_upright_video(tmp_path):
    options = {"effects": ["pan_down"], "motion_amount": 0.5}
    frames = drawn_lumas(lay_job(tmp_path, picture=chart(PORTRAIT, DOT), **options), 3)
    assert [frame.size for frame in frames] == [PORTRAIT] * 3
    for frame, centre in zip(frames, (-480, 0, 480), strict=True):
        expected = (2 * DOT[0], 2 * (DOT[1] - centre))
        if abs(expected[1]) < 900:
            assert find_dot(frame, expected) == pytest.approx(expected, abs=0.3)
        else:
            assert frame.getextrema()[1] < 60


@pytest.mark.parametrize(
    ("size", "options", "fixed", "shift"),
    [
        (LANDSCAPE, {"focus": "0.25 0.75"}, (-480, 270), (0, 0)),
        (LANDSCAPE, {"focus": (1, 0)}, (960, -540), (0, 0)),
        ((1920, 1440), {"focus": (0.5, 0)}, (0, -540), (0, 180)),
        ((1920, 1440), {"focus": (0.5, 0.4)}, (0, 0), (0, 144)),
        ((1080, 1080), {"focus": (1, 0.5), "fit": "contain"}, (540, 0), (0, 0)),
    ],
)
def test_zooms_do_not_move_the_focus(tmp_path, size, options, fixed, shift):
    """``fixed``: the focus in the video; ``shift``: distance by which the crop moves the dot."""
    place = (100.0, -60.0)
    picture = chart(size, place)
    options |= {"effects": ["zoom_in"], "motion_amount": 0.5, "size": "1920x1080"}
    frames = drawn_lumas(lay_job(tmp_path, picture=picture, **options), 3)
    for frame, zoom in zip(frames, (1, 1.25, 1.5), strict=True):
        expected = tuple(
            keep + (dot + move - keep) * zoom
            for dot, move, keep in zip(place, shift, fixed, strict=True)
        )
        assert find_dot(frame, expected) == pytest.approx(expected, abs=0.3)


@pytest.mark.parametrize(
    ("effect", "focus", "moved"),
    [
        ("pan_right", "0.1 0.2", ((-96, 96), (-32.4, -32.4))),
        ("pan_down", "0.1 0.2", ((-76.8, -76.8), (-54, 54))),
    ],
)
def test_pans_move_the_focus_only_along_their_direction(tmp_path, effect, focus, moved):
    """``moved``: first and last centre of the window, across and down."""
    options = {"effects": [effect], "focus": focus}
    lay_job(tmp_path, picture=chart(LANDSCAPE, DOT), **options)
    for frame, x, y in zip(drawn_lumas(tmp_path, 3, 0, 2), *moved, strict=True):
        expected = ((DOT[0] - x) / 0.9, (DOT[1] - y) / 0.9)
        assert find_dot(frame, expected) == pytest.approx(expected, abs=0.3)
