"""Sheets of captions: named looks and others on light, dark and busy pictures of three shapes.

    python benchmarks/captions.py FOLDER    # writes FOLDER/captions-*.png

They are to be looked at: there are no goals. Text is drawn as in a render, without encoding.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from cloudburst import RenderOptions
from cloudburst.media.subtitles import Cue, Word
from cloudburst.renderer.fonts import find_font
from cloudburst.renderer.frames import Frame
from cloudburst.renderer.job import JobOptions
from cloudburst.renderer.planes import to_picture, to_planes
from cloudburst.renderer.subtitle_painter import SubtitlePainter
from cloudburst.renderer.subtitle_style import subtitle_style
from cloudburst.renderer.subtitle_track import SubtitleTrack, subtitle_states

STORY = Path(__file__).parents[1] / "examples" / "story"
SIZES = {"wide": (1920, 1080), "tall": (1080, 1920), "square": (1080, 1080)}
LATIN = "The lamp is burning again, and the harbour wakes."
CHINESE = "灯又亮了，港口在清晨慢慢醒来。"
# Milliseconds of each word.
PACE = 400

LOOKS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "classic": {"caption": "classic"},
    "karaoke": {"caption": "karaoke"},
    "karaoke-color": {"caption": "karaoke", "highlight": "color"},
    "pop": {"caption": "pop"},
    "pop-1": {"caption": "pop", "words_at_once": 1},
}


def spoken(text: str, pattern: str = r"[\w,.，。]+") -> Cue:
    """Return a cue whose words are spoken one after the other."""
    found = enumerate(re.finditer(pattern, text))
    words = [Word(PACE * n, PACE * (n + 1), *match.span()) for n, match in found]
    return Cue(0, PACE * len(words), text, None, tuple(words))


CUES = {
    "latin": spoken(LATIN),
    "chinese": spoken(CHINESE, r"灯|又|亮了，|港口|在|清晨|慢慢|醒来。"),
}


def picture(kind: str, size: tuple[int, int]) -> Image.Image:
    """Return a light, dark or busy picture."""
    if kind == "busy":
        return ImageOps.fit(Image.open(STORY / "04-beacon.jpg").convert("RGB"), size)
    return Image.new("RGB", size, {"light": "#f4efe6", "dark": "#10141c"}[kind])


def drawn(back: Image.Image, cue: Cue, options: Mapping[str, Any], at: float) -> Image.Image:
    """Return a picture with the subtitles of a time, in seconds."""
    size = back.size
    style = subtitle_style(JobOptions.from_options(RenderOptions(**options)), *size)
    painter = SubtitlePainter([cue], style, [find_font()], *size)
    frames = max(1, round(at * 30) + 1)
    states = subtitle_states(painter.cues, frames, 30, with_words=True, pops=style.pops)
    canvas = Frame(*size)
    canvas.fill(to_planes(back))
    for layer in SubtitleTrack(states, painter).layers_at(frames - 1):
        canvas.blend(layer)
    return to_picture(canvas.read())


def part(shown: Image.Image) -> Image.Image:
    """Return the part of a picture in which the subtitles are."""
    width, height = shown.size
    return shown.crop(
        (
            0,
            height - width // 3 - height // 12 * (height > width),
            width,
            height - height // 12 * (height > width),
        )
    )


def sheet(rows: Sequence[Sequence[Image.Image]], width: int) -> Image.Image:
    """Return pictures in rows, each picture in this width."""
    small = [[ImageOps.contain(one, (width, 2 * width)) for one in row] for row in rows]
    heights = [max(one.height for one in row) for row in small]
    made = Image.new("RGB", (width * max(map(len, small)), sum(heights)), "#808080")
    top = 0
    for row, height in zip(small, heights, strict=True):
        for column, one in enumerate(row):
            made.paste(one, (column * width, top))
        top += height
    return made


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for shape, size in SIZES.items():
        rows = [
            [
                part(drawn(picture(kind, size), CUES[text], options, 1.4))
                for kind, text in product(("light", "dark", "busy"), CUES)
            ]
            for options in LOOKS.values()
        ]
        sheet(rows, 480).save(folder / f"captions-{shape}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
