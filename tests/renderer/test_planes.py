"""Conversion of pictures to the planes that the encoder expects."""

from __future__ import annotations

import pytest
from PIL import Image

from cloudburst.renderer.planes import halve_plane, to_planes


@pytest.mark.parametrize(
    ("rgb", "yuv"),
    [
        ((255, 255, 255), (235, 128, 128)),
        ((0, 0, 0), (16, 128, 128)),
        ((255, 0, 0), (63, 102, 240)),
        ((0, 255, 0), (173, 42, 26)),
        ((0, 0, 255), (32, 240, 118)),
    ],
)
def test_colours_are_bt709(rgb, yuv):
    """Figures of ITU-R BT.709-6 for 100 % bars, 8 bits."""
    frame = to_planes(Image.new("RGB", (16, 8), rgb))
    assert (set(frame.y), set(frame.u), set(frame.v)) == tuple({value} for value in yuv)
    assert (len(frame.y), len(frame.u), len(frame.v)) == (128, 32, 32)


def test_chroma_lies_on_even_columns():
    """A ramp keeps its value at the columns where H.264 expects the samples."""
    ramp = Image.new("RGB", (64, 2))
    for x in range(64):
        ramp.paste((0, 0, 4 * x), (x, 0, x + 1, 2))
    frame = to_planes(ramp)
    for sample in range(2, 30):
        blue = 4 * 2 * sample
        assert frame.u[sample] == pytest.approx(128 + 0.5 * 224 / 255 * blue, abs=1)


def test_halved_keeps_what_is_flat():
    assert set(halve_plane(Image.new("L", (40, 20), 77)).tobytes()) == {77}
