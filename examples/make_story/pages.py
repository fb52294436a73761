"""Pictures of the six scenes, and the watermark."""

from __future__ import annotations

import math
from collections.abc import Sequence

from paper import Picture, arc, box, hill, place, poly, ridge
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont
from props import boat, cloud, glitter, gulls, lighthouse, orb, sea, stars, trees, verge, village

FONT = "/usr/share/fonts/truetype/quicksand/Quicksand-Bold.ttf"


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
    """Draw the harbour of the first and last scene; ``tones`` are from far hills to near pines."""
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
    """Draw a small cloud with a bolt and the name beside it, white with a faint dark edge."""
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
