"""Shapes of cut paper, and a picture of sheets that cast shadows on each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter

SCALE = 2  # pictures are drawn this many times larger, then reduced

Shape = NDArray[np.float64]  # the corners of one polygon, in picture pixels
Pair = tuple[float, float]


def poly(*points: Pair) -> Shape:
    return np.array(points, dtype=float)


def box(x: float, y: float, w: float, h: float) -> Shape:
    return poly((x, y), (x + w, y), (x + w, y + h), (x, y + h))


def disc(x: float, y: float, rx: float, ry: float | None = None) -> Shape:
    turn = np.linspace(0, 2 * math.pi, 96, endpoint=False)
    return np.column_stack([x + rx * np.cos(turn), y + (ry or rx) * np.sin(turn)])


def arc(centre: Pair, radius: Pair, span: Pair, w: float) -> Shape:
    """Return a stroke of width ``w`` along an arc (degrees, clockwise from the right)."""
    turn = np.radians(np.linspace(*span, 64))
    rx, ry = radius
    ring = np.column_stack([np.cos(turn), np.sin(turn)])
    outer, inner = ring * (rx + w / 2, ry + w / 2), ring * (rx - w / 2, ry - w / 2)
    return place(np.concatenate([outer, inner[::-1]]), *centre)


def place(shape: Shape, x: float, y: float, scale: float = 1, degrees: float = 0) -> Shape:
    """Turn and scale a shape around its origin, then move the origin to (x, y)."""
    a = math.radians(degrees)
    turn = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
    moved: Shape = shape * scale @ turn + (x, y)
    return moved


def ridge(width: float, base: float, height: float, seed: int, waves: float = 1.5) -> Shape:
    """Return a hill or wave line across the picture, filled below."""
    rng = np.random.default_rng(seed)
    x = np.linspace(-40, width + 40, 300)
    y = np.zeros_like(x)
    for k, share in ((1, 1.0), (2.1, 0.45), (4.3, 0.16)):
        y += share * np.sin(2 * math.pi * waves * k * x / width + rng.uniform(0, 6.3))
    top = np.column_stack([x, base - height * (y - y.min()) / np.ptp(y)])
    return np.concatenate([top, poly((width + 40, base + 900), (-40, base + 900))])


def hill(x: float, top: float, half: float) -> Shape:
    """Return a broad, flat-topped headland whose foot is below the picture."""
    t = np.linspace(-2.2, 2.2, 120)
    slope = np.column_stack([x + half * t, top + 520 * (1 - np.exp(-(t**4)))])
    return np.concatenate([slope, poly((x + half * 2.2, top + 900), (x - half * 2.2, top + 900))])


def blade(x: float, y: float, length: float, lean: float, width: float) -> Shape:
    """Return a curved blade of grass that grows up from (x, y)."""
    t = np.linspace(0, 1, 24)
    spine = np.column_stack([x + lean * t**2, y - length * (t - 0.18 * t**2 * abs(lean) / length)])
    half = np.column_stack([width / 2 * (1 - t) ** 0.7, np.zeros_like(t)])
    return np.concatenate([spine - half, (spine + half)[::-1]])


class Picture:
    """Picture of a sky, on which sheets of paper and light are laid."""

    def __init__(self, size: tuple[int, int], seed: int, sky: Sequence[str]) -> None:
        self.width, self.height = size
        self.rng = np.random.default_rng(seed)
        self.image = self._gradient((size[0] * SCALE, size[1] * SCALE), sky)

    @staticmethod
    def _gradient(size: tuple[int, int], colours: Sequence[str]) -> Image.Image:
        stops = np.array([ImageColor.getrgb(c)[:3] for c in colours], dtype=float)
        at = np.linspace(0, len(stops) - 1, size[1])
        column = [np.interp(at, np.arange(len(stops)), stops[:, i]) for i in range(3)]
        strip = np.stack(column, axis=-1).round().astype(np.uint8)[:, None, :]
        return Image.fromarray(strip).resize(size)

    def _mask(self, shapes: Iterable[Shape], pad: float) -> tuple[Image.Image, tuple[int, int]]:
        """Return the shapes as one mask, cut to the part of the picture that they can cover."""
        shapes = list(shapes)
        points = np.concatenate(shapes)
        limit = np.array([self.width, self.height], dtype=float)
        low = np.clip(points.min(axis=0) - pad, -8, limit - 1)
        high = np.clip(points.max(axis=0) + pad, low + 1, limit)
        x0, y0 = (low * SCALE).astype(int)
        x1, y1 = np.ceil(high * SCALE).astype(int)
        mask = Image.new("L", (int(x1 - x0), int(y1 - y0)))
        pen = ImageDraw.Draw(mask)
        for shape in shapes:
            pen.polygon([(x * SCALE - x0, y * SCALE - y0) for x, y in shape], fill=255)
        return mask, (int(x0), int(y0))

    def sheet(
        self,
        shapes: Iterable[Shape],
        *colours: str,
        shadow: float = 0.35,
        spread: float = 14,
        rim: float = 0.16,
        alpha: float = 1,
        inside: Sequence[Shape] | None = None,
    ) -> None:
        """Lay cut paper down: its soft shadow, its graded colour, its lit upper edge."""
        mask, at = self._mask(shapes, spread * 2.5)
        if inside is not None:
            whole, corner = self._mask(inside, 0)
            clip = Image.new("L", mask.size)
            clip.paste(whole, (corner[0] - at[0], corner[1] - at[1]))
            mask = ImageChops.multiply(mask, clip)
        area = mask.getbbox()
        if area is None:
            return
        if shadow:
            small = mask.resize((max(1, mask.width // 4), max(1, mask.height // 4)))
            small = small.filter(ImageFilter.GaussianBlur(spread * SCALE / 4))
            shade = small.resize(mask.size, Image.Resampling.BICUBIC)
            if inside is not None:
                shade = ImageChops.multiply(shade, clip)
            shade = shade.point(lambda v: round(v * shadow))
            self.image.paste("#0b1030", (at[0], at[1] + round(spread * SCALE / 4)), shade)
        fill = Image.new("RGB", mask.size)
        size = (area[2] - area[0], area[3] - area[1])
        fill.paste(self._gradient(size, colours if len(colours) > 1 else colours * 2), area[:2])
        if rim:
            edge = ImageChops.subtract(mask, ImageChops.offset(mask, 0, 2 * SCALE))
            fill.paste("#ffffff", None, edge.point(lambda v: round(v * rim)))
        self.image.paste(fill, at, mask.point(lambda v: round(v * alpha)) if alpha < 1 else mask)

    def flat(self, shapes: Iterable[Shape], *colours: str, alpha: float = 1) -> None:
        """Paint shapes without thickness: no shadow, no lit edge."""
        self.sheet(shapes, *colours, shadow=0, rim=0, alpha=alpha)

    def glow(self, x: float, y: float, radius: float, colour: str, strength: float = 1) -> None:
        """Add round light that fades to nothing at ``radius``."""
        step = 8
        gy, gx = np.mgrid[0 : self.height : step, 0 : self.width : step]
        light = np.clip(1 - np.hypot(gx - x, gy - y) / radius, 0, 1) ** 2.2 * strength
        self._shine(light, colour)

    def beam(self, x: float, y: float, degrees: float, spread: float, reach: float) -> None:
        """Add the lighthouse's beam, fading along its length."""
        step = 4
        gy, gx = np.mgrid[0 : self.height : step, 0 : self.width : step]
        turn = np.degrees(np.arctan2(gy - y, gx - x)) - degrees
        off = np.abs((turn + 180) % 360 - 180) / spread
        far = np.hypot(gx - x, gy - y) / reach
        light = np.clip((1 - off) * 3, 0, 1) ** 1.5 * np.clip(1 - far, 0, 1) ** 1.1
        core = np.clip((0.45 - off) * 4, 0, 1) * np.clip(1 - far, 0, 1) ** 1.6
        self._shine(0.5 * light + 0.3 * core, "#ffdf86")

    def _shine(self, light: NDArray[np.float64], colour: str) -> None:
        mask = Image.fromarray((light.clip(0, 1) * 255).astype(np.uint8))
        mask = mask.resize(self.image.size, Image.Resampling.BICUBIC)
        self.image.paste(colour, (0, 0), mask)

    def finish(self, grain: float) -> Image.Image:
        """Reduce to the final size, darken the corners a little and add paper grain."""
        small = self.image.resize((self.width, self.height), Image.Resampling.LANCZOS)
        gy, gx = np.mgrid[-1 : 1 : self.height * 1j, -1 : 1 : self.width * 1j]
        pixels = np.asarray(small, dtype=float) * (1 - 0.11 * (gx**2 + gy**2) ** 1.5 / 2)[..., None]
        if grain:
            noise = self.rng.normal(0, 255, (self.height, self.width)).clip(-255, 255) / 2 + 127
            soft = Image.fromarray(noise.astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8))
            pixels += ((np.asarray(soft, dtype=float) - 127) / 35 * grain)[..., None]
        return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))
