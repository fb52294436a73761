"""Layers: masks at both sizes."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw

from cloudburst.renderer.planes import halve_plane, layer_from_mask


def test_an_empty_mask_is_no_layer():
    assert layer_from_mask(Image.new("L", (20, 10)), 0, 0, (16, 128, 128)) is None


@pytest.mark.parametrize("box", [(31, 21, 50, 40), (30, 20, 51, 41), (33, 23, 44, 33)])
def test_a_layer_is_the_visible_part_of_its_mask(box):
    mask = Image.new("L", (100, 60))
    ImageDraw.Draw(mask).rounded_rectangle(box, 4, fill=200)
    layer = layer_from_mask(mask, 40, 60, (235, 128, 128))
    area = (layer.x, layer.y, layer.width, layer.height)
    assert all(edge % 2 == 0 for edge in area)
    assert layer.width < 35
    assert layer.height < 35
    whole = Image.new("L", mask.size)
    size = (layer.width, layer.height)
    whole.paste(Image.frombytes("L", size, layer.mask), (layer.x - 40, layer.y - 60))
    assert whole.tobytes() == mask.tobytes()
    half = Image.new("L", (50, 30))
    place = ((layer.x - 40) // 2, (layer.y - 60) // 2)
    half.paste(Image.frombytes("L", (layer.width // 2, layer.height // 2), layer.half_mask), place)
    assert half.tobytes() == halve_plane(mask).tobytes()  # nothing is lost at the edges


def test_a_mask_up_to_the_edge_of_the_picture_stays_opaque_there():
    layer = layer_from_mask(Image.new("L", (8, 6), 255), 0, 0, (16, 128, 128))
    assert (layer.width, layer.height) == (8, 6)
    assert set(layer.half_mask) == {255}
