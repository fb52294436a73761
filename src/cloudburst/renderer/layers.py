"""Layers: one-coloured areas with a mask, which the renderer blends over a frame."""

from __future__ import annotations

from typing import NamedTuple

from PIL import Image

from cloudburst.renderer.planes import halve_plane

MASK_MARGIN = 4
"""Pixels around the visible part of a mask that a layer keeps. A sample of the half mask depends on
luma pixels up to a distance of 2; with 4, all samples that are not 0 have these pixels."""


class Layer(NamedTuple):
    """Area of one colour to blend over a frame in YUV 4:2:0.

    Position and size are even numbers of pixels, and the area lies within the frame.
    """

    x: int
    y: int
    width: int
    height: int
    mask: bytes
    """Opacity of each luma pixel, row by row: 0 is transparent, 255 is opaque."""
    half_mask: bytes
    """Opacity of each chroma sample, at half the width and height; samples are sited left."""
    colour: tuple[int, int, int]
    """Y, U and V in limited range, BT.709."""


def layer_from_mask(
    mask: Image.Image, x: int, y: int, colour: tuple[int, int, int]
) -> Layer | None:
    """Return a layer for the visible part of a mask, or ``None`` if the mask is empty.

    The mask has the mode "L", and its position and size are even numbers of pixels. It is
    transparent at its edges, up to a distance of `MASK_MARGIN`, unless they are edges of the frame.
    """
    bounds = mask.getbbox()
    if bounds is None:
        return None
    left, top = (max(0, edge - MASK_MARGIN) & ~1 for edge in bounds[:2])
    right = min(mask.width, (bounds[2] + MASK_MARGIN + 1) & ~1)
    bottom = min(mask.height, (bounds[3] + MASK_MARGIN + 1) & ~1)
    part = mask.crop((left, top, right, bottom))
    half = halve_plane(part)
    return Layer(x + left, y + top, part.width, part.height, part.tobytes(), half.tobytes(), colour)
