"""Eight pictures of different kinds on which versions of the renderer are compared."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import noto_cjk_sans_otc
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from renders.inputs import HEIGHT, SIZE, WIDTH, detailed_picture

PHOTOS = {
    "photo": "nature/Garden.jpg",
    "canvas": "abstract/Elephants_3840x2160.jpg",
    "leaf": "nature/Blinds.jpg",
}
"""Photographs in the folder of the option ``--photos``."""
PHOTOS_HINT = f"""no --photos: generated pictures replace {", ".join(PHOTOS)}. The photographs are
in a package of Debian (GPL-2+):
  apt-get download mate-backgrounds && dpkg -x mate-backgrounds_*.deb backgrounds
  --photos backgrounds/usr/share/backgrounds/mate"""
CARTOON = Path(__file__).parents[2] / "examples" / "story" / "02-cloud.png"
PAGE = (
    "The old mill stood where the river turned twice before it reached the sea.",
    "每天清晨，钟声都会在山谷里回响三次，然后一切又归于寂静。",
    "Nothing in the ledger explained 1,947 missing sacks (or who signed for them).",
    "村民们说，那口钟是用一艘沉船上的铜铸成的。",
)


def fitted(path: Path) -> Image.Image:
    """Return the picture of a file at the size of the video."""
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    if picture.width < WIDTH or picture.height < HEIGHT:
        sys.exit(f"{path} is {picture.width}x{picture.height}; use at least {WIDTH}x{HEIGHT}")
    return ImageOps.fit(picture, SIZE, Image.Resampling.LANCZOS)


def landscape() -> Image.Image:
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


def table() -> Image.Image:
    """Return the table of a web page: small text in thin lines, on white and grey."""
    rng = np.random.default_rng(13)
    words = ("1,284.50", "Invoice 77", "Muller & Co", "2026-11-29", "paid", "open")
    font = ImageFont.truetype(str(noto_cjk_sans_otc.FONT_PATH), 18)
    picture = Image.new("RGB", SIZE, "#f5f6f8")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, WIDTH, 60), fill="#23395d")
    draw.text((20, 18), "Reports   Accounts   Settings   Help", font=font, fill="white")
    for y in range(80, HEIGHT - 10, 33):
        fill = "white" if y // 33 % 2 else "#edf1f7"
        draw.rectangle((20, y, WIDTH - 20, y + 32), fill=fill, outline="#d0d4da")
        for x in range(20, WIDTH - 40, 156):
            draw.line((x, y, x, y + 32), fill="#d0d4da")
            ink = rng.choice(("#222222", "#222222", "#0a58ca", "#b02a37"))
            draw.text((x + 6, y + 4), str(rng.choice(words)), font=font, fill=str(ink))
    return picture


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


def soft_landscape() -> Image.Image:
    """Return a landscape out of focus."""
    return landscape().filter(ImageFilter.GaussianBlur(3))


GENERATED = {
    "photo": landscape,
    "canvas": lambda: detailed_picture(np.random.default_rng(7)),
    "leaf": soft_landscape,
    "table": table,
    "cartoon": lambda: fitted(CARTOON),
    "page": text_page,
    "noise": noise,
    "gradient": dark_gradient,
}
"""Functions that make the pictures, by name, without photographs."""


def make_pictures(photos: Path | None, names: Iterable[str], folder: Path) -> dict[str, Path]:
    """Make the files of some pictures, with the photographs of a folder if there is one."""
    made: dict[str, Path] = {}
    for name in names:
        file = photos / PHOTOS[name] if photos and name in PHOTOS else None
        picture = fitted(file) if file else GENERATED[name]()
        made[name] = folder / f"{name}.png"
        picture.save(made[name])
    return made
