"""Objects in the pictures of the story: cloud, lighthouse, boats, sea, lights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from paper import Pair, Picture, Shape, arc, blade, box, disc, place, poly, ridge


def orb(pic: Picture, at: Pair, r: float, light: str, ring: str) -> None:
    """Draw a sun or moon inside rings of thin paper."""
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
    """Draw the cloud: sheets of paper in two pairs of tones and, with a mood, a face."""
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
    """Draw eyes, cheeks and mouth of a cloud of width ``w``."""

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
    """Draw a striped tower that stands on (x, y), with its lamp at 0.86 of its height."""

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
    """Draw rows of waves from the horizon to the bottom edge, darker and larger when near."""
    rows = len(colours)
    for i, colour in enumerate(colours):
        y = top + 16 + (pic.height - top) * (i / rows) ** 1.25
        deep = colours[min(i + 1, rows - 1)]
        wave = ridge(pic.width, y, 5 + 6 * i, seed + i, 4.5 - 0.45 * i)
        pic.sheet([wave], colour, deep, deep, shadow=0.22, spread=12, rim=0.2 if i else 0.05)
        for x, dy, size in pic.rng.uniform((0, 14, 18), (pic.width, 50, 46), (12, 3)):
            pic.flat([disc(x, y + dy, size * (0.6 + 0.2 * i), 1.6)], "#ffffff", alpha=0.15)


def glitter(pic: Picture, x: float, top: float, bottom: float, colour: str) -> None:
    """Draw the broken reflection of a light on the water."""
    for y in np.repeat(np.arange(top, bottom, 13), 2):
        t = (y - top) / (bottom - top)
        half = pic.rng.uniform(14, 60) * (1 - 0.4 * t)
        dash = disc(x + pic.rng.normal(0, 14 + 44 * t), y, half, 2.6)
        pic.flat([dash], colour, alpha=0.75 * (1 - t) ** 0.7)


def verge(pic: Picture, colours: Sequence[str], petals: Sequence[str], reach: float = 0.3) -> None:
    """Draw grass and flowers in the two lower corners, which a slow zoom moves past."""
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
