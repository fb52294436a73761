"""Draw, speak and caption the picture-book story in ``examples/story``.

Everything is made here from nothing: the pictures are layers of "cut paper" drawn with Pillow
and numpy at twice their size, the voices come from espeak-ng, and every subtitle is timed by
measuring the phrase it belongs to.

Debian packages: ``espeak-ng sox ffmpeg fonts-quicksand``.  Python packages: ``pillow numpy``.

    python examples/make_story.py            # all of it, into examples/story
    python examples/make_story.py 03-storm   # one scene only
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter, ImageFont

OUT = Path(__file__).resolve().parent / "story"
FONT = "/usr/share/fonts/truetype/quicksand/Quicksand-Bold.ttf"
SCALE = 2  # pictures are drawn this many times larger, then reduced

Shape = NDArray[np.float64]  # the corners of one polygon, in picture pixels
Pair = tuple[float, float]

# ------------------------------------------------------------------------------- shapes


def poly(*points: Pair) -> Shape:
    return np.array(points, dtype=float)


def box(x: float, y: float, w: float, h: float) -> Shape:
    return poly((x, y), (x + w, y), (x + w, y + h), (x, y + h))


def disc(x: float, y: float, rx: float, ry: float | None = None) -> Shape:
    turn = np.linspace(0, 2 * math.pi, 96, endpoint=False)
    return np.column_stack([x + rx * np.cos(turn), y + (ry or rx) * np.sin(turn)])


def arc(centre: Pair, radius: Pair, span: Pair, w: float) -> Shape:
    """A stroke of width ``w`` along part of an ellipse (degrees, clockwise from the right)."""
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
    """A hill or wave line across the picture, filled far down."""
    rng = np.random.default_rng(seed)
    x = np.linspace(-40, width + 40, 300)
    y = np.zeros_like(x)
    for k, share in ((1, 1.0), (2.1, 0.45), (4.3, 0.16)):
        y += share * np.sin(2 * math.pi * waves * k * x / width + rng.uniform(0, 6.3))
    top = np.column_stack([x, base - height * (y - y.min()) / np.ptp(y)])
    return np.concatenate([top, poly((width + 40, base + 900), (-40, base + 900))])


def hill(x: float, top: float, half: float) -> Shape:
    """A broad, flat-topped headland whose foot is below the picture."""
    t = np.linspace(-2.2, 2.2, 120)
    slope = np.column_stack([x + half * t, top + 520 * (1 - np.exp(-(t**4)))])
    return np.concatenate([slope, poly((x + half * 2.2, top + 900), (x - half * 2.2, top + 900))])


def blade(x: float, y: float, length: float, lean: float, width: float) -> Shape:
    """One curved blade of grass growing up from (x, y)."""
    t = np.linspace(0, 1, 24)
    spine = np.column_stack([x + lean * t**2, y - length * (t - 0.18 * t**2 * abs(lean) / length)])
    half = np.column_stack([width / 2 * (1 - t) ** 0.7, np.zeros_like(t)])
    return np.concatenate([spine - half, (spine + half)[::-1]])


# ------------------------------------------------------------------------------ picture


class Picture:
    """A sheet of sky on which further sheets of paper and light are laid."""

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
        """The shapes as one mask, cut to the part of the picture they can touch."""
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


# ------------------------------------------------------------------------ things to draw


def orb(pic: Picture, at: Pair, r: float, light: str, ring: str) -> None:
    """A sun or moon inside rings of thin paper."""
    x, y = at
    pic.glow(x, y, r * 6, light, 0.5)
    for i in range(5, 0, -1):
        pic.sheet([disc(x, y, r * (1 + 0.62 * i))], ring, shadow=0.03, alpha=0.13, rim=0.05)
    pic.flat([disc(x, y, r)], "#fffdf0", light)


def stars(pic: Picture, count: int, floor: float, colour: str = "#fff6d8") -> None:
    points = pic.rng.uniform((0, 0), (pic.width, floor), (count, 2))
    sizes = pic.rng.pareto(2.6, count).clip(0, 3.2) * 2.4 + 1.4
    turn, reach = np.arange(8) * math.pi / 4, np.tile([2.6, 0.6], 4)
    spark = np.column_stack([reach * np.sin(turn), reach * np.cos(turn)])
    for (x, y), r in zip(points, sizes, strict=True):
        pic.flat([disc(x, y, r * 0.8)], colour, alpha=0.8)
        if r > 5:
            pic.glow(x, y, r * 6, colour, 0.35)
            pic.flat([place(spark, x, y, r)], colour)


def cloud(pic: Picture, at: Pair, w: float, tones: Sequence[str], mood: str = "") -> None:
    """The hero: sheets of paper in two pairs of tones and, given a mood, a face."""
    x, y = at
    bumps = [(-0.36, 0.1, 0.15), (-0.19, -0.03, 0.2), (0.05, -0.12, 0.25), (0.27, 0.0, 0.19)]
    bumps += [(0.41, 0.12, 0.12), (-0.05, 0.1, 0.19), (0.15, 0.12, 0.17), (-0.23, 0.14, 0.15)]
    puff = [disc(*bump) for bump in bumps]
    body = [place(p, x, y, w) for p in puff]
    behind = [place(p, x + w * 0.05, y - w * 0.035, w * 1.07) for p in puff]
    pic.sheet(behind, *tones[2:], shadow=0.3, spread=w / 28)
    pic.sheet(body, *tones[:2], shadow=0.28, spread=w / 34, rim=0.4)
    for dx, dy, k in ((0.02, 0.07, 0.86), (-0.05, 0.15, 0.7)):
        inner = [place(p, x + w * dx, y + w * dy, w * k) for p in puff]
        pic.sheet(inner, *tones[:2], shadow=0.1, spread=w / 40, rim=0.4, inside=body)
    if mood:
        face(pic, x, y + w * 0.03, w, mood)


def face(pic: Picture, x: float, y: float, w: float, mood: str) -> None:
    """Eyes, cheeks and mouth, drawn once around the origin for a cloud one unit wide."""

    def put(shape: Shape, colour: str = "#2c2a4a", alpha: float = 1) -> None:
        pic.flat([place(shape, x, y, w)], colour, alpha=alpha)

    for side in (-1, 1):
        eye = side * 0.105
        put(disc(side * 0.19, 0.062, 0.042, 0.027), "#ff8f8f", 0.6)
        if mood == "sleepy":
            put(arc((eye, 0), (0.033, 0.024), (10, 170), 0.014))
        elif mood == "happy":
            put(arc((eye, 0.02), (0.033, 0.036), (195, 345), 0.014))
        else:
            put(disc(eye, 0, 0.022, 0.03))
            put(disc(eye + 0.007, -0.011, 0.008), "#ffffff")
        if mood == "worried":
            put(arc((eye, -0.026), (0.06, 0.03), (244 + side * 22, 296 + side * 22), 0.013))
    if mood == "happy":
        put(arc((0, 0.045), (0.025, 0.025), (0, 180), 0.05), "#a8324f")
    elif mood == "sleepy":
        put(arc((0, 0.048), (0.022, 0.013), (10, 170), 0.014))
    elif mood == "worried":
        put(arc((0, 0.08), (0.03, 0.02), (200, 340), 0.014))
    else:
        put(disc(0, 0.075, 0.019, 0.024))


def lighthouse(pic: Picture, x: float, y: float, h: float, lit: bool = True) -> None:
    """A striped tower standing on (x, y); its lamp hangs 0.86 of its height above."""

    def at(*shapes: Shape) -> list[Shape]:
        return [place(shape, x, y, h) for shape in shapes]

    def arch(up: float, r: float, tall: float) -> list[Shape]:
        return at(disc(0, -up, r), box(-r, -up, 2 * r, tall))

    foot = disc(0, 0, 0.135, 0.02)[:49]
    tower = at(np.concatenate([foot, poly((-0.085, -0.76), (0.085, -0.76))]))
    pic.sheet(tower, "#fff3e2", "#e6d2cf", spread=18, shadow=0.4, rim=0)
    for up in (0.64, 0.395, 0.15):
        stripe = at(disc(0, 0.06 - up, 0.2, 0.032), box(-0.2, -up, 0.4, 0.07))
        pic.sheet(stripe, "#e2574f", "#c23e4b", shadow=0.12, spread=5, rim=0, inside=tower)
    shade = at(box(0.045, -1, 0.2, 1.1))
    pic.sheet(shade, "#3b2a5c", shadow=0, rim=0, alpha=0.16, inside=tower)
    for up, r in ((0.7, 0.019), (0.455, 0.022)):
        pic.sheet(arch(up, r, r * 2), "#ffdf8a" if lit else "#4a4f78", spread=4, rim=0)
    pic.sheet(arch(0.09, 0.042, 0.107), "#6b3b52", "#4d2b46", shadow=0.2, spread=4)
    if lit:
        pic.glow(x, y - h * 0.86, h * 0.75, "#ffd878", 0.8)
    glass = ("#fff7cf", "#ffd25e") if lit else ("#b9d9e8", "#8fb6cf")
    pic.sheet(at(box(-0.062, -0.93, 0.124, 0.17)), *glass, shadow=0.2, spread=5)
    pic.flat(at(*(box(i * 0.05 - 0.004, -0.93, 0.008, 0.16) for i in (-1, 0, 1))), "#3a3157")
    dome = arc((0, -0.92), (0.05, 0.05), (180, 360), 0.1)
    roof = at(dome, disc(0, -1.03, 0.013), box(-0.09, -0.935, 0.18, 0.016))
    pic.sheet(roof, "#d9504d", "#a83245", shadow=0.3, spread=6)
    rail = [box(i * 0.03 - 0.1225, -0.82, 0.005, 0.06) for i in range(9)]
    rail += [box(-0.1225, -0.822, 0.245, 0.008), box(-0.125, -0.775, 0.25, 0.024)]
    pic.sheet(at(*rail), "#3a3157", shadow=0.3, spread=6, rim=0.1)


def boat(pic: Picture, at: Pair, s: float, tilt: float = 0, lit: bool = True) -> None:
    x, y = at
    parts = (
        (poly((-0.02, -0.1), (0.02, -0.1), (0.014, -1.12), (-0.014, -1.12)), "#4d2b46", "#4d2b46"),
        (poly((0.05, -1.05), (0.52, -0.2), (0.05, -0.16)), "#fff3e2", "#f0cfc4"),
        (poly((-0.05, -0.95), (-0.4, -0.22), (-0.05, -0.18)), "#f6b25e", "#e08a4f"),
        (poly((0.0, -1.12), (0.2, -1.06), (0.0, -0.99)), "#e2574f", "#e2574f"),
        (poly((-0.62, -0.1), (0.66, -0.12), (0.44, 0.17), (-0.42, 0.17)), "#8c3a4d", "#5b2745"),
        (poly((-0.62, -0.1), (0.66, -0.12), (0.62, -0.05), (-0.58, -0.04)), "#fff3e2", "#fff3e2"),
    )
    for shape, *colours in parts:
        pic.sheet([place(shape, x, y, s, tilt)], *colours, shadow=0.25, spread=s / 16)
    if lit:
        lamp_x, lamp_y = place(poly((-0.5, -0.22)), x, y, s, tilt)[0]
        pic.glow(lamp_x, lamp_y, s * 0.9, "#ffcf70", 0.8)
        pic.flat([disc(lamp_x, lamp_y, s * 0.045)], "#fff3b8")


def village(pic: Picture, at: Pair, s: float, count: int, lit: bool) -> None:
    x, y = at
    walls = ("#f3c9a5", "#e9a98f", "#d98d86", "#f0dcc0", "#c98a98")
    roofs = ("#a3485a", "#7b3b5e", "#5d3a66", "#8f4a4f")
    for i in range(count):
        w, h = s * pic.rng.uniform(0.8, 1.15), s * pic.rng.uniform(0.75, 1.4)
        eaves = y - h
        pic.sheet([box(x, eaves, w, h + s)], walls[i % 5], walls[(i + 2) % 5], spread=6)
        pic.sheet([box(x + w * 0.68, eaves - s * 0.5, w * 0.14, s * 0.4)], "#5d3a66", spread=3)
        gable = poly((x - w * 0.1, eaves), (x + w / 2, eaves - s * 0.55), (x + w * 1.1, eaves))
        pic.sheet([gable], roofs[i % 4], spread=6)
        for j in range(4):
            across, down = w * (0.2 + 0.38 * (j % 2)), s * (0.16 + j // 2 * 0.42)
            pic.flat(
                [box(x + across, eaves + down, w / 5, s / 4)],
                "#ffe08c" if lit and pic.rng.random() < 0.75 else "#5a4a70",
            )
        x += w * pic.rng.uniform(0.92, 1.15)


def trees(pic: Picture, spots: Iterable[tuple[float, float, float]], *colours: str) -> None:
    for x, y, h in spots:
        pic.flat([place(box(-0.02, -0.02, 0.04, 0.14), x, y, h)], "#4d2b46")
        for i in range(3):
            half, low = 0.2 - 0.045 * i, -0.24 * i
            tier = poly((-half, low), (0, low - 0.46), (half, low))
            pic.sheet([place(tier, x, y, h)], *colours, shadow=0.25, spread=5)


def sea(pic: Picture, top: float, colours: Sequence[str], seed: int) -> None:
    """Rows of waves from the horizon to the bottom edge, darker and larger as they come near."""
    rows = len(colours)
    for i, colour in enumerate(colours):
        y = top + 16 + (pic.height - top) * (i / rows) ** 1.25
        deep = colours[min(i + 1, rows - 1)]
        wave = ridge(pic.width, y, 5 + 6 * i, seed + i, 4.5 - 0.45 * i)
        pic.sheet([wave], colour, deep, deep, shadow=0.22, spread=12, rim=0.2 if i else 0.05)
        for x, dy, size in pic.rng.uniform((0, 14, 18), (pic.width, 50, 46), (12, 3)):
            pic.flat([disc(x, y + dy, size * (0.6 + 0.2 * i), 1.6)], "#ffffff", alpha=0.15)


def glitter(pic: Picture, x: float, top: float, bottom: float, colour: str) -> None:
    """The broken reflection of a light on the water."""
    for y in np.repeat(np.arange(top, bottom, 13), 2):
        t = (y - top) / (bottom - top)
        half = pic.rng.uniform(14, 60) * (1 - 0.4 * t)
        dash = disc(x + pic.rng.normal(0, 14 + 44 * t), y, half, 2.6)
        pic.flat([dash], colour, alpha=0.75 * (1 - t) ** 0.7)


def verge(pic: Picture, colours: Sequence[str], petals: Sequence[str], reach: float = 0.3) -> None:
    """Grass and flowers in the two lower corners: the frame that a slow zoom slides past."""
    rng, low = pic.rng, pic.height + 10
    tips: list[Shape] = []
    for layer, colour in enumerate(colours):
        deep = 1 - 0.2 * layer
        for edge, inward in ((0, 1), (pic.width, -1)):
            blades = []
            for near in rng.beta(1, 1.7, 34) * deep:
                tall = (250 * deep * (1 - near) ** 0.6 + 70) * rng.uniform(0.7, 1.15)
                x = edge + inward * near * reach * pic.width
                blades.append(blade(x, low, tall, rng.normal(30, 50) * inward, 17))
            mound = disc(edge, low + 60, reach * deep * pic.width, 190 * deep)
            pic.sheet([mound, *blades], colour, shadow=0.35, spread=12)
            tips += [stalk[len(stalk) // 2] for stalk in blades[:: 5 + layer * 3]]
    petal = [place(disc(9, 0, 9, 5.5), 0, 0, 1, turn) for turn in range(0, 360, 60)]
    for i, tip in enumerate(tips if petals else ()):
        pic.sheet([p + tip for p in petal], petals[i % len(petals)], spread=6)
        pic.flat([disc(tip[0], tip[1], 5)], "#ffd25e")


def gulls(pic: Picture, spots: Iterable[tuple[float, float, float]], colour: str) -> None:
    wings = (arc((-1, 0), (1, 0.55), (200, 358), 0.16), arc((1, 0), (1, 0.55), (182, 340), 0.16))
    for x, y, s in spots:
        pic.sheet([place(w, x, y, s) for w in wings], colour, shadow=0.12, spread=5, rim=0)


# ------------------------------------------------------------------------------- scenes

WIDE, TALL = (1920, 1080), (1080, 1920)
WHITE = ("#ffffff", "#e4e6fa", "#c9cdf0", "#a9addd")
BLUE = ("#8d94d8", "#5f65b5", "#5a60ac", "#454a91")
PINK = ("#fff4f2", "#ffc9cf", "#ffb3c1", "#f592ad")
GREY = ("#8e9dbd", "#667799", "#5b6b8f", "#455579")
SLATE = ("#4a5f80", "#3c4f70", "#34466a", "#2c3c5e")
DEEP = ("#3f5aa0", "#34498c", "#2a3a78", "#222e66", "#1a2352", "#131a40")


def hills(pic: Picture, y: float, seed: int, far: Sequence[str], near: Sequence[str]) -> None:
    pic.sheet([ridge(pic.width, y - 15, 180, seed, 1.3)], *far, spread=18)
    pic.sheet([ridge(pic.width, y, 105, seed + 1, 2.2)], *near, spread=18)


def bay(pic: Picture, tones: Sequence[str], waves: Sequence[str], lit: bool) -> None:
    """The harbour that opens and closes the story; tones run from the far hills to the pines."""
    hills(pic, 680, 11, tones[0:2], tones[2:4])
    pic.sheet([hill(210, 585, 520)], *tones[4:6], spread=18)
    trees(
        pic, [(40 + i * 43, 600 + (i * 37) % 40, 100 + (i * 29) % 60) for i in range(6)], *tones[8:]
    )
    trees(pic, [(640, 655, 80), (690, 680, 60), (545, 610, 90)], *tones[8:])
    village(pic, (130, 680), 66, 7, lit)
    sea(pic, 695, waves, 40)
    pic.sheet([hill(1640, 766, 560)], *tones[6:8], spread=20)
    trees(pic, [(1640, 790, 110), (1710, 790, 160), (1790, 800, 190), (1880, 810, 220)], *tones[8:])
    lighthouse(pic, 1440, 795, 560, lit)


def harbour() -> Picture:
    pic = Picture(WIDE, 1, ("#3d3a7c", "#8a5a9c", "#e98a8f", "#ffc98f", "#ffe3ad"))
    orb(pic, (860, 540), 88, "#ffd27a", "#ffd9a8")
    tones: tuple[str, ...] = ("#c87f9f", "#e9a29a", "#9a6398", "#c07e97", "#6b4a86", "#8d5c8c")
    tones += ("#5d4080", "#33285f", "#54407e", "#3d2f68")
    waves = ("#d98a9a", "#a8699a", "#7a5093", "#583f84", "#3d3070", "#2a2355")
    bay(pic, tones, waves, lit=True)
    glitter(pic, 860, 714, 940, "#ffe6b0")
    boat(pic, (1010, 805), 105, 3)
    boat(pic, (660, 765), 62, -3)
    gulls(pic, [(1110, 300, 26), (1210, 250, 19), (1040, 232, 15)], "#fff3e2")
    verge(pic, ("#3f2f6d", "#2f2457", "#221a44"), ("#ff9a8f", "#ffd6c9"))
    return pic


def cloud_comes() -> Picture:
    pic = Picture(WIDE, 21, ("#141b4d", "#26357a", "#3f5aa6", "#7f9bd1"))
    orb(pic, (520, 270), 100, "#ffeeb8", "#a9b8f0")
    stars(pic, 150, 560)
    hills(pic, 735, 8, ("#3f5199", "#5871b5"), ("#31418a", "#4358a0"))
    sea(pic, 735, DEEP, 60)
    glitter(pic, 520, 755, 980, "#fff1c4")
    pic.sheet([hill(150, 803, 480)], "#2a3170", "#1b2050", spread=20)
    trees(pic, [(40, 820, 210), (120, 830, 150), (190, 840, 110)], "#27306e", "#1d2458")
    pic.beam(330, 516, -14, 7, 1500)
    lighthouse(pic, 330, 835, 370)
    cloud(pic, (1230, 400), 760, WHITE, "sleepy")
    cloud(pic, (1780, 200), 260, BLUE)
    cloud(pic, (800, 150), 180, BLUE)
    boat(pic, (1130, 850), 84, -4)
    verge(pic, ("#232c68", "#1a2152", "#12173c"), ("#8fb2ff", "#d9e2ff"), 0.25)
    return pic


def storm() -> Picture:
    pic = Picture(WIDE, 3, ("#16203f", "#26395f", "#3f6079", "#7d9a99"))
    for i in range(6):
        cloud(pic, (90 + i * 360, 90 + (i * 53) % 80), 430, SLATE)
    hills(pic, 715, 31, ("#34526c", "#55788a"), ("#2c4962", "#456a7d"))
    pic.glow(880, 620, 560, "#fff2b0", 0.7)
    bolt = poly(
        (0.06, 0), (-0.3, 0.52), (-0.04, 0.5), (-0.22, 1), (0.34, 0.36), (0.07, 0.4), (0.3, 0)
    )
    pic.sheet([place(bolt, 900, 495, 285)], "#fffbd6", "#ffd25e", spread=10)
    cloud(pic, (830, 350), 780, GREY, "worried")
    drops = pic.rng.uniform((0, 240, 18), (1920, 1000, 60), (300, 3))
    rain = [place(box(-1.1, -s / 2, 2.2, s), x, y, 1, -14) for x, y, s in drops]
    pic.flat(rain[:160], "#dcecf5", alpha=0.3)
    sea(pic, 720, ("#4a7488", "#3a6079"), 70)
    boat(pic, (1330, 800), 130, 17)
    swells = (("#2f4f6d", "#27425f"), ("#243d5a", "#1b2f4a"), ("#192b45", "#101c33"))
    for i, (crest, deep) in enumerate(swells):
        wave = ridge(1920, 900 + 92 * i, 110, 84 + i, 3.2 - i * 0.5)
        pic.sheet([wave], crest, deep, deep, spread=16, rim=0.3)
    pic.sheet([hill(1920, 800, 380)], "#22344f", "#121d35", spread=20)
    trees(pic, [(1730, 820, 150), (1800, 810, 210), (1880, 810, 260)], "#203149", "#15223a")
    verge(pic, ("#1e3049", "#17253c", "#0f1a2e"), ())
    pic.flat(rain[160:], "#eef6fa", alpha=0.4)
    return pic


def beacon() -> Picture:
    pic = Picture(TALL, 4, ("#101843", "#232f78", "#4a4fa3", "#8a6fb5", "#e39aa8"))
    stars(pic, 130, 1120)
    hills(pic, 1370, 3, ("#5a5aa8", "#9a7db8"), ("#47479a", "#6f62ab"))
    sea(pic, 1370, DEEP, 20)
    pic.sheet([hill(760, 1515, 560)], "#3a3a84", "#1c1f52", spread=24)
    trees(pic, [(880, 1570, 170), (950, 1560, 240), (1040, 1570, 300)], "#2d3078", "#20245e")
    pic.beam(660, 862, -121, 11, 1150)
    pic.beam(660, 862, 12, 9, 800)
    lighthouse(pic, 660, 1550, 800)
    cloud(pic, (430, 420), 640, WHITE, "surprised")
    cloud(pic, (930, 215), 240, BLUE)
    boat(pic, (200, 1510), 96, 5)
    verge(pic, ("#2a2c70", "#1f2158", "#151740"), ("#b9a5ff", "#ffc9d6"), 0.42)
    return pic


def starlight() -> Picture:
    pic = Picture(WIDE, 5, ("#0c1238", "#1b2663", "#3a3f8f", "#7a5fa8", "#d08aa6"))
    for i in range(9):
        pic.glow(250 + i * 200, 620 - 62 * i + 60 * math.sin(i), 330, "#b9a5ff", 0.28)
    stars(pic, 400, 520)
    hills(pic, 715, 44, ("#463f8f", "#7d62a6"), ("#36347f", "#564c97"))
    sea(pic, 715, DEEP, 90)
    pic.sheet([hill(1740, 780, 520)], "#2c2f72", "#191c4c", spread=20)
    trees(pic, [(1700, 800, 130), (1780, 810, 190), (1870, 810, 230)], "#272b6c", "#1c2056")
    pic.beam(1560, 406, 163, 8, 1700)
    lighthouse(pic, 1560, 810, 470)
    cloud(pic, (520, 330), 430, WHITE, "happy")
    for x, y, w in ((170, 250, 190), (900, 190, 220), (1190, 330, 140), (1800, 230, 230)):
        cloud(pic, (x, y), w, BLUE)
    for x, y, s in ((250, 775, 66), (560, 810, 95), (930, 860, 115)):
        glitter(pic, x - s * 0.4, y + s * 0.15, y + s * 1.3, "#ffdf9a")
        boat(pic, (x, y), s, 2)
    verge(pic, ("#25286a", "#1b1d52", "#12143a"), ("#b9a5ff", "#ffc9d6"))
    return pic


def morning() -> Picture:
    pic = Picture(WIDE, 6, ("#58b4e4", "#a3dbec", "#ffefcf", "#ffd7a6", "#ffd7a6"))
    for i, c in enumerate(("#f58a8a", "#f9b27a", "#fbe08a", "#a5d99b", "#8fc7ea", "#b5a5e6")):
        bow = arc((930, 760), (760 - 24 * i, 620 - 24 * i), (180, 360), 24)
        pic.sheet([bow], c, shadow=0.05, spread=5, rim=0, alpha=0.6)
    orb(pic, (1080, 600), 90, "#ffdf8a", "#fff3d0")
    tones: tuple[str, ...] = ("#9cc9c4", "#c9e0cd", "#74b0a8", "#a5cdb5", "#5a9e8c", "#7db899")
    tones += ("#5fa37f", "#2f6f6a", "#3f8a75", "#2a6c66")
    bay(pic, tones, ("#8fd0d8", "#66b5cb", "#4a9abd", "#377fa9", "#296691", "#1f5079"), lit=False)
    glitter(pic, 1080, 718, 900, "#fff6d8")
    for x, y, s, tilt in ((700, 765, 64, -3), (900, 800, 100, 3), (1170, 780, 72, -2)):
        boat(pic, (x, y), s, tilt, lit=False)
    cloud(pic, (740, 330), 560, PINK, "happy")
    cloud(pic, (1760, 190), 260, WHITE)
    cloud(pic, (190, 210), 230, WHITE)
    gulls(pic, [(1190, 330, 26), (1280, 280, 19), (1120, 262, 15)], "#ffffff")
    verge(pic, ("#3f8f6f", "#2f7763", "#1f5a54"), ("#ff8f9f", "#fff1f4", "#ffd25e"))
    return pic


def watermark() -> Image.Image:
    """A small cloud with a bolt and the name beside it, white with a faint dark edge."""
    width, height, k = 480, 104, 4
    ink = Image.new("L", (width * k, height * k))
    pen = ImageDraw.Draw(ink)
    for x, y, r in ((27, 62, 21), (52, 44, 29), (82, 58, 24)):
        pen.ellipse([(x - r) * k, (y - r) * k, (x + r) * k, (y + r) * k], fill=255)
    pen.rounded_rectangle([6 * k, 52 * k, 106 * k, 83 * k], 15 * k, fill=255)
    bolt = [(61, 40), (39, 68), (53, 68), (46, 95), (74, 60), (59, 60), (68, 40)]
    bolt = [(x * k, y * k) for x, y in bolt]
    pen.line([*bolt, *bolt[:2]], fill=0, width=7 * k, joint="curve")
    flash = Image.new("L", ink.size)
    ImageDraw.Draw(flash).polygon(bolt, fill=255)
    font = ImageFont.truetype(FONT, 62 * k)
    pen.text((120 * k, 52 * k), "cloudburst", font=font, anchor="lm", fill=255)
    edge = ImageChops.lighter(ink, flash).filter(ImageFilter.GaussianBlur(2.5 * k))
    mark = Image.new("RGBA", ink.size, "#10163a00")
    mark.putalpha(edge.point(lambda v: round(v * 0.55)))
    mark.paste("#ffffff", mask=ink)
    mark.paste("#ffd25e", mask=flash)
    mark = mark.resize((width, height), Image.Resampling.LANCZOS)
    return mark.quantize(40, method=Image.Quantize.FASTOCTREE).convert("RGBA")


# -------------------------------------------------------------------------- words and voices


@dataclass(frozen=True)
class Scene:
    """One page. A line is a phrase to speak and, after a ``|``, its translation to show as well."""

    name: str
    draw: Callable[[], Picture]
    picture: str  # file type
    sound: str  # file type
    voice: str  # espeak-ng voice
    lines: tuple[str, ...]


HARBOUR = ("At the edge of a quiet harbour,", "a little lighthouse counted the boats home.")
CLOUD = ("One night, a sleepy cloud drifted in,", "and sat down right in front of the light.")
STORM = ("夜里起了大风，", "小船迷了路。")
BEACON = ("灯塔说：", "云啊，请你让一让，", "让我的光照出去。")
STARS = (
    "云笑了，慢慢散开。|The cloud smiled, and drew apart.",
    "满天的星星都亮了。|All the stars came out to shine.",
)
MORNING = ("In the morning, every boat was home,", "and the cloud turned pink with joy.")
SCENES = (
    Scene("01-harbour", harbour, "jpg", "mp3", "en-gb", HARBOUR),
    Scene("02-cloud", cloud_comes, "png", "mp3", "en-gb", CLOUD),
    Scene("03-storm", storm, "webp", "mp3", "cmn", STORM),
    Scene("04-beacon", beacon, "jpg", "mp3", "cmn", BEACON),
    Scene("05-starlight", starlight, "webp", "m4a", "cmn", STARS),
    Scene("06-morning", morning, "jpg", "mp3", "en-gb", MORNING),
)
LEAD, PAUSE, TAIL = 0.35, 0.3, 0.6  # seconds of quiet before, between and after the phrases
SPEED = {"en-gb": "128", "cmn": "130"}  # words per minute: a little slower than ordinary speech
TRIM = "silence 1 0.01 0.6% reverse silence 1 0.01 0.6% reverse"
# Softer: no rumble, no hiss, even loudness, a small room, no clicks at the ends.  (sox runs
# with -D, without random dither, so that every run makes the same files.)
WARM = "highpass 90 lowpass 6500 compand 0.01,0.15 6:-60,-60,-36,-20,-18,-12,0,-7 0 -60 0.05"
ROOM = "reverb 18 50 45 0 8 -2 fade t 0.05 -0 0.35"
LEVEL = "loudnorm=I=-16:TP=-3:LRA=11,aresample=44100"
CODECS = {"mp3": ("libmp3lame", "56k"), "m4a": ("aac", "56k")}


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def speak(scene: Scene, sound: Path) -> list[tuple[float, float]]:
    """Record the lines of a scene; returns when each of them begins and ends."""
    times = []
    clock = LEAD
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        takes: list[Path] = []
        for i, line in enumerate(scene.lines):
            raw, trimmed, take = (work / f"{step}{i}.wav" for step in ("raw", "trim", "take"))
            say = ("espeak-ng", "-v", scene.voice, "-s", SPEED[scene.voice], "-p", "42", "-w", raw)
            run(*say, line.partition("|")[0])
            run("sox", "-D", raw, "-r", "44100", trimmed, *TRIM.split())
            last = i == len(scene.lines) - 1
            pad = ("pad", str(0 if i else LEAD), str(TAIL if last else PAUSE))
            run("sox", "-D", trimmed, take, *pad)
            length = float(run("soxi", "-D", trimmed))
            times.append((clock, clock + length))
            clock += length + PAUSE
            takes.append(take)
        run("sox", "-D", *takes, work / "voice.wav", *WARM.split(), *ROOM.split())
        codec, rate = CODECS[scene.sound]
        quiet = ("ffmpeg", "-v", "error", "-y", "-i", work / "voice.wav", "-af", LEVEL)
        run(*quiet, "-c:a", codec, "-b:a", rate, "-ac", "1", "-bitexact", sound)
    return times


def stamp(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"


def caption(scene: Scene, times: Sequence[tuple[float, float]]) -> str:
    """The lines as SubRip text; a cue lingers a moment, but never into the next one."""
    cues = []
    for i, (line, (start, end)) in enumerate(zip(scene.lines, times, strict=True)):
        span = f"{stamp(start)} --> {stamp(end + PAUSE / 2)}"
        cues.append(f"{i + 1}\n{span}\n{line.replace('|', chr(10))}\n")
    return "\n".join(cues)


def save(picture: Image.Image, path: Path) -> None:
    if path.suffix == ".png":  # 256 well-chosen colours keep a lossless picture small
        few = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=3)
        picture.quantize(palette=few).save(path, optimize=True)
    else:
        picture.save(path, quality=85, method=6, optimize=True, progressive=True)


def main(wanted: Sequence[str]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    story = []
    for scene in SCENES:
        image, audio = f"{scene.name}.{scene.picture}", f"{scene.name}.{scene.sound}"
        subtitle = f"{scene.name}.srt"
        story.append({"name": scene.name, "image": image, "audio": audio, "subtitle": subtitle})
        if wanted and scene.name not in wanted:
            continue
        save(scene.draw().finish(grain=0 if scene.picture == "png" else 1.2), OUT / image)
        times = speak(scene, OUT / audio)
        (OUT / subtitle).write_text(caption(scene, times), encoding="utf-8")
        print(image, audio, subtitle)
    watermark().save(OUT / "watermark.png", optimize=True)
    (OUT / "story.json").write_text(json.dumps(story, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
