"""Pixel operations with Pillow, with which those of the compiled kernel are compared."""

from __future__ import annotations

import ctypes

from PIL import Image

from cloudburst.renderer.kernel.interface import PixelKernel, Plane, Rectangle, needed_range


class PillowKernel(PixelKernel):
    """Pixel operations with Pillow."""

    # They copy the rectangles, because Pillow has no documented way to write to memory of others.

    name = "pillow"

    def _zoom(self, source: Plane, target: Plane, left: float, top: float, zoom: float) -> None:
        x, width = needed_range(left, target.width / zoom, source.width)
        y, height = needed_range(top, target.height / zoom, source.height)
        image = _read(source, Rectangle(x, y, width, height))
        # Two steps, because Pillow would scale rows first.
        columns = _zoomed(image, top - y, zoom, target.height, vertical=True)
        picture = _zoomed(columns, left - x, zoom, target.width, vertical=False)
        self._fill(target, picture.tobytes())

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


def _zoomed(
    image: Image.Image, start: float, zoom: float, length: int, *, vertical: bool
) -> Image.Image:
    # Pillow accepts no window that extends beyond the image. Then the first or the last sample is
    # drawn apart, as a window of one sample with the same centre.
    size = image.height if vertical else image.width
    step = 1 / zoom
    end = start + length * step
    if start < 0:
        parts = [(0.0, 2 * start + step, 1), (start + step, end, length - 1)]
    elif end > size:
        parts = [(start, end - step, length - 1), (2 * end - step - size, size, 1)]
    else:
        parts = [(start, end, length)]
    result = Image.new("L", (image.width, length) if vertical else (length, image.height))
    position = 0
    for low, high, count in parts:
        box = (0, low, image.width, high) if vertical else (low, 0, high, image.height)
        shape = (image.width, count) if vertical else (count, image.height)
        if count:
            part = image.resize(shape, Image.Resampling.LANCZOS, box=box)
            result.paste(part, (0, position) if vertical else (position, 0))
        position += count
    return result
