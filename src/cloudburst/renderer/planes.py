"""Colours and pictures in YUV planes (BT.709), by Pillow alone, and layers that are blended."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

from PIL import Image

from cloudburst.renderer.kernel.interface import Rectangle

# Y, U and V in limited range of 8 bits, BT.709.
Yuv: TypeAlias = tuple[int, int, int]
BLACK: Yuv = (16, 128, 128)
GREY: Yuv = (128, 128, 128)

# Matrix from R'G'B' to Y'CbCr of ITU-R BT.709-6, limited range of 8 bits.
_RGB_TO_BT709 = (
    *(0.2126 * 219 / 255, 0.7152 * 219 / 255, 0.0722 * 219 / 255, 16),
    *(-0.2126 / 1.8556 * 224 / 255, -0.7152 / 1.8556 * 224 / 255, 0.5 * 224 / 255, 128),
    *(0.5 * 224 / 255, -0.7152 / 1.5748 * 224 / 255, -0.0722 / 1.5748 * 224 / 255, 128),
)
_LUMA, _CHROMA = 255 / 219, 255 / 224
_GREEN_OF_CB, _GREEN_OF_CR = -0.0722 * 1.8556 / 0.7152, -0.2126 * 1.5748 / 0.7152
# Inverse of the matrix above.
_BT709_TO_RGB = (
    *(_LUMA, 0, 1.5748 * _CHROMA, -16 * _LUMA - 128 * 1.5748 * _CHROMA),
    *(_LUMA, _GREEN_OF_CB * _CHROMA, _GREEN_OF_CR * _CHROMA),
    -16 * _LUMA - 128 * (_GREEN_OF_CB + _GREEN_OF_CR) * _CHROMA,
    *(_LUMA, 1.8556 * _CHROMA, 0, -16 * _LUMA - 128 * 1.8556 * _CHROMA),
)
# Pixels around the visible part of a mask that a layer keeps. A sample of the half mask depends on
# luma pixels up to a distance of 2; with 4, all samples that are not 0 have these pixels.
MASK_MARGIN = 4


class Rgba(NamedTuple):
    """Red, green, blue and opacity, from 0 to 255."""

    red: int
    green: int
    blue: int
    alpha: int = 255

    @classmethod
    def parse(cls, text: str) -> Rgba:
        """Return the colour of a validated ``#rrggbb`` or ``#rrggbbaa``."""
        return cls(*bytes.fromhex(text.removeprefix("#")))

    @property
    def yuv(self) -> Yuv:
        """The colour without its opacity, for frames."""
        return bt709(self.red, self.green, self.blue)


def bt709(red: int, green: int, blue: int) -> Yuv:
    """Return a colour of 8 bits per channel as Y, U, V of ITU-R BT.709-6 in limited range."""
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return (
        round(16 + luma * 219 / 255),
        round(128 + (blue - luma) / 1.8556 * 224 / 255),
        round(128 + (red - luma) / 1.5748 * 224 / 255),
    )


class Planes(NamedTuple):
    """Frame in YUV 4:2:0, BT.709, limited range, with chroma sited left as H.264 assumes."""

    width: int
    height: int
    y: bytes
    u: bytes
    v: bytes


def uniform(width: int, height: int, colour: Yuv) -> Planes:
    """Return a frame of one colour. Width and height are even."""
    pixels = width * height
    y, u, v = (bytes([value]) * pixels for value in colour)
    return Planes(width, height, y, u[: pixels // 4], v[: pixels // 4])


def to_planes(picture: Image.Image) -> Planes:
    """Convert an RGB picture with even width and height to planes."""
    width, height = picture.size
    y, cb, cr = picture.convert("RGB", _RGB_TO_BT709).split()
    return Planes(width, height, y.tobytes(), halve_plane(cb).tobytes(), halve_plane(cr).tobytes())


def to_picture(planes: Planes) -> Image.Image:
    """Convert the planes of a frame to a picture in RGB."""
    size = (planes.width, planes.height)
    half = (planes.width // 2, planes.height // 2)
    luma = Image.frombytes("L", size, planes.y)
    chroma = (_double_plane(Image.frombytes("L", half, plane)) for plane in (planes.u, planes.v))
    return Image.merge("RGB", (luma, *chroma)).convert("RGB", _BT709_TO_RGB)


def to_picture_layer(picture: Image.Image, x: int, y: int) -> Layer:
    """Convert an RGBA picture at (x, y) to a layer, whose edges are at even numbers."""
    left, top = x % 2, y % 2
    width, height = (n + n % 2 for n in (left + picture.width, top + picture.height))
    even = Image.new("RGBA", (width, height))
    even.paste(picture, (left, top))
    # Pillow weighs colours by their opacity, so that transparent pixels do not tint the chroma.
    half = halve_plane(even)
    luma = even.convert("RGB").convert("RGB", _RGB_TO_BT709).getchannel(0)
    _, cb, cr = half.convert("RGB").convert("RGB", _RGB_TO_BT709).split()
    planes = Planes(width, height, luma.tobytes(), cb.tobytes(), cr.tobytes())
    mask, half_mask = (alpha.getchannel("A").tobytes() for alpha in (even, half))
    return Layer(x - left, y - top, width, height, mask, half_mask, planes)


def _double_plane(plane: Image.Image) -> Image.Image:
    """Return a colour plane at twice its width and height, with its samples sited left."""
    width, height = plane.size
    padded = Image.new(plane.mode, (width + 1, height))
    padded.paste(plane, (1, 0))  # repeats the last column on the right
    padded.paste(plane)
    return padded.resize(
        (2 * width, 2 * height), Image.Resampling.BILINEAR, box=(0.25, 0, width + 0.25, height)
    )


def halve_plane(plane: Image.Image) -> Image.Image:
    """Return a colour plane, or a picture, at half its width and height."""
    # Horizontally, each sample lies where the left one of its two source samples was, as in H.264.
    width, height = plane.size
    padded = Image.new(plane.mode, (width + 1, height))
    padded.paste(plane)  # repeats the first column on the left
    padded.paste(plane, (1, 0))
    return padded.resize(
        (width // 2, height // 2),
        Image.Resampling.BILINEAR,
        box=(0.5, 0, width + 0.5, height),
    )


class Layer(NamedTuple):
    """Area to blend over a frame in YUV 4:2:0, within it and at even numbers."""

    x: int
    y: int
    width: int
    height: int
    mask: bytes
    """Opacity of each luma pixel, row by row; 255 is opaque."""
    half_mask: bytes
    """Opacity of each chroma sample."""
    colour: Yuv | Planes
    """Y, U and V in limited range, BT.709; or a picture of the same size."""

    @property
    def area(self) -> Rectangle:
        """What the layer may cover."""
        return Rectangle(self.x, self.y, self.width, self.height)


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


def layer_from_picture(picture: Image.Image, x: int, y: int) -> Layer | None:
    """Return a layer for the visible part of a picture in RGBA, or ``None`` if there is none."""
    bounds = picture.getchannel("A").getbbox()
    if bounds is None:
        return None
    return to_picture_layer(picture.crop(bounds), x + bounds[0], y + bounds[1])


def even_area(
    edges: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return the part of a frame of this size that an area touches, with a margin for masks.

    Areas are left, top, right and bottom; those of the result are even.
    """
    left, top, right, bottom = edges
    return (
        max(0, math.floor(left - MASK_MARGIN)) & ~1,
        max(0, math.floor(top - MASK_MARGIN)) & ~1,
        min(size[0], (math.ceil(right + MASK_MARGIN) + 1) & ~1),
        min(size[1], (math.ceil(bottom + MASK_MARGIN) + 1) & ~1),
    )


def scaled_layer(
    layer: Layer, scale: float, centre: tuple[float, float], size: tuple[int, int]
) -> Layer | None:
    """Return a layer of a frame of this size larger or smaller, with one point in its place."""
    left, top = (at + (edge - at) * scale for at, edge in zip(centre, layer[:2], strict=True))
    edges = left, top, left + layer.width * scale, top + layer.height * scale
    area = even_area(edges, size)
    mask = Image.frombytes("L", (layer.width, layer.height), layer.mask)
    content = mask
    if isinstance(layer.colour, Planes):
        content = to_picture(layer.colour)
        content.putalpha(mask)
    scaled = content.transform(
        (area[2] - area[0], area[3] - area[1]),
        Image.Transform.AFFINE,
        (1 / scale, 0, (area[0] - left) / scale, 0, 1 / scale, (area[1] - top) / scale),
        Image.Resampling.BICUBIC,
    )
    if isinstance(layer.colour, Planes):
        return layer_from_picture(scaled, area[0], area[1])
    return layer_from_mask(scaled, area[0], area[1], layer.colour)
