"""Five pictures of different kinds on which quality is compared.

None of them was used to choose settings of the encoder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import noto_cjk_sans_otc
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from renders.inputs import HEIGHT, SIZE, WIDTH

PHOTO_HINT = """no --photo: a generated picture replaces the photograph. A free one is in Debian:
  apt-get download mate-backgrounds && dpkg -x mate-backgrounds_*.deb backgrounds
  --photo backgrounds/usr/share/backgrounds/mate/nature/RainDrops.jpg   (1920x1200, GPL-2+)"""
PAGE = (
    "The old mill stood where the river turned twice before it reached the sea.",
    "每天清晨，钟声都会在山谷里回响三次，然后一切又归于寂静。",
    "Nothing in the ledger explained 1,947 missing sacks (or who signed for them).",
    "村民们说，那口钟是用一艘沉船上的铜铸成的。",
)


def photo(path: Path | None) -> Image.Image:
    """Return the photograph at the size of the video, or a generated picture in its place."""
    if path is None:
        return _landscape()
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    if picture.width < WIDTH or picture.height < HEIGHT:
        sys.exit(f"{path} is {picture.width}x{picture.height}; use at least {WIDTH}x{HEIGHT}")
    return ImageOps.fit(picture, SIZE, Image.Resampling.LANCZOS)


def _landscape() -> Image.Image:
    """Return a generated landscape: sky, rows of hills, and grass in the foreground."""
    rng = np.random.default_rng(11)
    rows = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None, None]
    sky = np.array([118, 156, 204], np.float32) + rows * np.array([110, 70, 20], np.float32)
    picture = Image.fromarray(np.broadcast_to(sky, (HEIGHT, WIDTH, 3)).clip(0, 255).astype("u1"))
    draw = ImageDraw.Draw(picture)
    xs = np.arange(0, WIDTH + 8, 8)
    for hill in range(5):
        waves = sum(
            rng.uniform(20, 60) / n * np.sin(xs * n / rng.uniform(180, 420) + rng.uniform(0, 6))
            for n in range(1, 7)
        )
        ridge = np.stack([xs, 430 + hill * 90 + waves], axis=-1).tolist()
        colour = (110 - hill * 18, 136 - hill * 14, 150 - hill * 28)
        draw.polygon([(0, HEIGHT), *map(tuple, ridge), (WIDTH, HEIGHT)], fill=colour)
    for _ in range(9000):
        x, y = rng.uniform(0, WIDTH), rng.uniform(820, HEIGHT + 40)
        tip = (x + rng.normal() * 14, y - rng.uniform(20, 110))
        green = int(rng.integers(70, 190))
        draw.line([(x, y), tip], fill=(green // 2 + 20, green, green // 4), width=2)
    grain = rng.normal(size=(HEIGHT, WIDTH, 1)) * 2
    return Image.fromarray((np.asarray(picture) + grain).clip(0, 255).astype(np.uint8))


def noise() -> Image.Image:
    """Return a picture of grey noise, with weaker noise in the colours."""
    rng = np.random.default_rng(12)
    total = 128 + rng.normal(size=(HEIGHT, WIDTH, 1)) * 30 + rng.normal(size=(HEIGHT, WIDTH, 3)) * 8
    return Image.fromarray(total.clip(0, 255).astype(np.uint8))


def line_art() -> Image.Image:
    """Return black lines of several widths and directions, and flat colours, on white."""
    scale = 2  # drawn larger and reduced, for smooth edges
    rng = np.random.default_rng(13)
    picture = Image.new("RGB", (WIDTH * scale, HEIGHT * scale), "white")
    draw = ImageDraw.Draw(picture)
    for _ in range(45):
        corners = int(rng.integers(3, 9))
        centre, radius = rng.uniform((0, 0), (picture.width, picture.height)), rng.uniform(60, 420)
        turn = rng.uniform(0, 6)
        draw.regular_polygon(
            (float(centre[0]), float(centre[1]), float(radius)),
            corners,
            rotation=turn * 57,
            fill=tuple(int(value) for value in rng.integers(120, 256, 3)),
            outline="black",
            width=int(rng.integers(2, 12)),
        )
    for _ in range(120):
        ends = rng.uniform((0, 0), (picture.width, picture.height), (2, 2))
        width = int(rng.integers(1, 9))
        draw.line([tuple(map(float, end)) for end in ends], fill="black", width=width)
    return picture.resize(SIZE, Image.Resampling.LANCZOS)


def text_page() -> Image.Image:
    """Return a page of small text in Chinese and English, almost black on almost white."""
    picture = Image.new("RGB", SIZE, (250, 248, 240))
    draw = ImageDraw.Draw(picture)
    top, line = 30, 0
    while top < HEIGHT - 40:
        size = (20, 24, 32, 44)[line // 4 % 4]
        font = ImageFont.truetype(str(noto_cjk_sans_otc.FONT_PATH), size)
        text = "  ".join(PAGE[(line + n) % len(PAGE)] for n in range(4))
        draw.text((40, top), text, fill=(20, 20, 24), font=font)
        top, line = top + round(size * 1.5), line + 1
    return picture


def dark_gradient() -> Image.Image:
    """Return a dark sky with a soft glow, in which a coarse quantizer makes visible bands."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    glow = np.exp(-(((x - 1300) / 900) ** 2) - ((y - 980) / 520) ** 2)
    colours = np.stack([8 + 40 * glow, 10 + 26 * glow, 22 + 30 * glow + 10 * y / HEIGHT], axis=-1)
    # Noise of less than one level hides the steps, as in a picture from a camera.
    dither = np.random.default_rng(14).uniform(-0.5, 0.5, size=(HEIGHT, WIDTH, 1))
    return Image.fromarray((colours + dither).round().clip(0, 255).astype(np.uint8))


def make_pictures(photograph: Path | None) -> dict[str, Callable[[], Image.Image]]:
    """Return the functions that make the pictures, by name."""
    return {
        "photo": lambda: photo(photograph),
        "noise": noise,
        "line art": line_art,
        "text page": text_page,
        "dark gradient": dark_gradient,
    }
