"""Pixel operations with Pillow, with which those of the compiled kernel are compared."""

from __future__ import annotations

import ctypes
import math
from operator import mul

from PIL import Image

from cloudburst.renderer.kernel.interface import Plane, Rectangle, needed_range
from cloudburst.renderer.kernel.library import Kernel


class PillowKernel(Kernel):
    """Pixel operations with Pillow."""

    # They copy the rectangles, because Pillow has no documented way to write to memory of others.

    def __init__(self) -> None:
        """Load no library."""

    def zoom(self, source: Plane, target: Plane, left: float, top: float, zoom: float) -> None:
        x, width = needed_range(left, target.width / zoom, source.width)
        y, height = needed_range(top, target.height / zoom, source.height)
        image = _read(source, Rectangle(x, y, width, height))
        # Two steps, because Pillow would scale rows first.
        columns = _zoomed(image, top - y, zoom, target.height, vertical=True)
        picture = _zoomed(columns, left - x, zoom, target.width, vertical=False)
        self.fill(target, picture.tobytes())

    def blend(self, target: Plane, area: Rectangle, mask: bytes, value: int) -> None:
        image = _read(target, area)
        image.paste(value, (0, 0, *image.size), _image(area, mask))
        _write(target, area, image.tobytes())

    def overlay(self, target: Plane, area: Rectangle, mask: bytes, picture: bytes) -> None:
        image = _read(target, area)
        image.paste(_image(area, picture), (0, 0), _image(area, mask))
        _write(target, area, image.tobytes())

    def copy(self, source: Plane, target: Plane, area: Rectangle) -> None:
        for row in range(area.y, area.y + area.height):
            ctypes.memmove(_at(target, area.x, row), _at(source, area.x, row), area.width)

    def fill(self, target: Plane, samples: bytes) -> None:
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
    # drawn apart.
    size = image.height if vertical else image.width
    step = 1 / zoom
    first, last = int(start < 0), length - int(start + length * step > size)
    result = Image.new("L", (image.width, length) if vertical else (length, image.height))
    if first < last:
        low, high = start + first * step, start + last * step
        box = (0, low, image.width, high) if vertical else (low, 0, high, image.height)
        shape = (image.width, last - first) if vertical else (last - first, image.height)
        part = image.resize(shape, Image.Resampling.LANCZOS, box=box)
        result.paste(part, (0, first) if vertical else (first, 0))
    for sample in {*range(first), *range(last, length)}:
        line = _line(image, start + (sample + 0.5) * step, max(1, step), vertical=vertical)
        result.paste(line, (0, sample) if vertical else (sample, 0))
    return result


def _line(image: Image.Image, centre: float, step: float, *, vertical: bool) -> Image.Image:
    """Return one row or column, with Lanczos' filter, whose support is cut at the edges."""
    size = image.height if vertical else image.width
    weights = [_lanczos((number + 0.5 - centre) / step) for number in range(size)]
    lines = [
        image.crop((0, n, image.width, n + 1) if vertical else (n, 0, n + 1, image.height))
        for n, weight in enumerate(weights)
        if weight
    ]
    used = [weight / sum(weights) for weight in weights if weight]
    sums = [
        sum(map(mul, used, values)) for values in zip(*map(Image.Image.tobytes, lines), strict=True)
    ]
    samples = bytes(min(255, max(0, round(value))) for value in sums)
    return Image.frombytes("L", lines[0].size, samples)


def _lanczos(x: float) -> float:
    if abs(x) >= 3:
        return 0.0
    x *= math.pi
    return 3 * math.sin(x) * math.sin(x / 3) / (x * x) if x else 1.0
