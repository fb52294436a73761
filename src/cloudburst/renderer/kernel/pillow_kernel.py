"""Pixel operations with Pillow, for machines without a compiled kernel."""

from __future__ import annotations

import ctypes

from PIL import Image

from .interface import PixelKernel, Plane, Rectangle

_PADDING = 4
"""Number of samples by which planes are extended before a zoom. The window extends beyond the plane
by up to 1 sample, and the cubic filter reads two more."""


class PillowKernel(PixelKernel):
    """Pixel operations with Pillow.

    They copy the rectangles from the plane and back, because Pillow has no documented way to write
    to memory of others. A zoom takes about 30 times as long as with the compiled kernel: 24 ms
    instead of 0.7 ms for a frame of 1920x1080 (AMD EPYC 9004, one core).
    """

    name = "pillow"

    def _zoom(self, source: Plane, target: Plane, left: float, top: float, zoom: float) -> None:
        width, height = source.width, source.height
        padded = _padded(_read(source, Rectangle(0, 0, width, height)))
        left, top = left + _PADDING, top + _PADDING
        # Two steps, because Pillow would scale rows first.
        columns = padded.resize(
            (padded.width, height),
            Image.Resampling.BICUBIC,
            box=(0, top, padded.width, top + height / zoom),
        )
        whole = columns.resize(
            (width, height),
            Image.Resampling.BICUBIC,
            box=(left, 0, left + width / zoom, height),
        )
        self._fill(target, whole.tobytes())

    def _blend(self, target: Plane, area: Rectangle, mask: bytes, value: int) -> None:
        image = _read(target, area)
        image.paste(value, (0, 0, *image.size), _image(area, mask))
        _write(target, area, image.tobytes())

    def _overlay(self, target: Plane, area: Rectangle, mask: bytes, picture: bytes) -> None:
        image = _read(target, area)
        image.paste(_image(area, picture), (0, 0), _image(area, mask))
        _write(target, area, image.tobytes())

    def _copy(self, source: Plane, target: Plane, area: Rectangle) -> None:
        for row in range(area.y, area.y + area.height):
            ctypes.memmove(_at(target, area.x, row), _at(source, area.x, row), area.width)

    def _fill(self, target: Plane, samples: bytes) -> None:
        _write(target, Rectangle(0, 0, target.width, target.height), samples)


def _at(plane: Plane, x: int, y: int) -> int:
    return plane.address + y * plane.stride + x


def _read(plane: Plane, area: Rectangle) -> Image.Image:
    rows = range(area.y, area.y + area.height)
    return _image(area, b"".join(ctypes.string_at(_at(plane, area.x, y), area.width) for y in rows))


def _write(plane: Plane, area: Rectangle, samples: bytes) -> None:
    for row in range(area.height):
        part = samples[row * area.width : (row + 1) * area.width]
        ctypes.memmove(_at(plane, area.x, area.y + row), part, area.width)


def _image(area: Rectangle, samples: bytes) -> Image.Image:
    return Image.frombytes("L", (area.width, area.height), samples)


def _padded(image: Image.Image) -> Image.Image:
    """Return the image with its outermost samples repeated beyond the edges."""
    width, height = image.size
    padded = Image.new("L", (width + 2 * _PADDING, height + 2 * _PADDING))
    padded.paste(image, (_PADDING, _PADDING))
    for x, to in ((_PADDING, 0), (_PADDING + width - 1, _PADDING + width)):
        column = padded.crop((x, 0, x + 1, padded.height))
        padded.paste(column.resize((_PADDING, padded.height)), (to, 0))
    for y, to in ((_PADDING, 0), (_PADDING + height - 1, _PADDING + height)):
        row = padded.crop((0, y, padded.width, y + 1))
        padded.paste(row.resize((padded.width, _PADDING)), (0, to))
    return padded
