"""Script that draws the pictures of ``docs/looks.md``, and writes the tables that show them.

python docs/make_looks.py

Each picture is one frame of a scene of ``examples/story``, drawn by `cloudburst.render_frame` with
the options in its caption.
"""
# ruff: noqa: INP001

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import anyio
from PIL import Image

from cloudburst import RenderOptions, render_frame

PAGE = Path(__file__).with_name("looks.md")
FOLDER = PAGE.with_name("looks")
STORY = PAGE.parent.with_name("examples") / "story"
WIDTH, HEIGHT = 400, 300
"""Maximum size of a picture on the page, in pixels."""
COLUMNS = 3

WORDS = """WEBVTT

00:00.000 --> 00:04.000
The <00:00.700>lamp <00:01.100>is <00:01.500>burning <00:02.200>again
"""
"""Subtitles with the times of words, for the options of the current word."""
LONG = """1
00:00:00,000 --> 00:00:09,000
A long line of text shows how wide the subtitles of a video may become
长句子会按照中文的换行规则自动换行，标点符号不会出现在行首
"""


class Look(NamedTuple):
    """Picture of the page."""

    name: str
    """Name of the file, without its suffix."""
    options: Mapping[str, Any]
    scene: str = "01-harbour"
    at: float = 2.0
    """Time in the scene, in seconds."""
    subtitle: str | None = None
    """Content of a subtitle file in place of that of the scene."""

    @property
    def caption(self) -> str:
        """Return the options as text."""
        parts = [f"`{name}={_text(value)}`" for name, value in self.options.items()]
        return " ".join(parts) or "no options"


STILL: Mapping[str, Any] = {"effects": ()}
LOOKS: Mapping[str, Sequence[Look]] = {
    "picture": (
        Look("cover", {"size": "square"}, "04-beacon"),
        Look("contain", {"size": "square", "fit": "contain"}, "04-beacon"),
        Look("backdrop", {"size": "4:5", "fit": "contain", "backdrop": "#203048"}, "04-beacon"),
        Look("focus-left", {"size": "portrait", "focus": "0.2 0.5"}, "06-morning"),
        Look("focus-right", {"size": "portrait", "focus": "0.8 0.5"}, "06-morning"),
        Look("wide", {"size": "1920x816"}, "04-beacon"),
    ),
    "motion": (
        Look("zoom-start", {"effects": "zoom_in", "motion_amount": 0.5}, "02-cloud", 0.0),
        Look("zoom-end", {"effects": "zoom_in", "motion_amount": 0.5}, "02-cloud", 4.0),
        Look(
            "zoom-focus",
            {"effects": "zoom_in", "motion_amount": 0.5, "focus": "0.75 0.4"},
            "02-cloud",
            4.0,
        ),
        Look("pan-start", {"effects": "pan_right", "motion_amount": 0.4}, "06-morning", 0.0),
        Look("pan-end", {"effects": "pan_right", "motion_amount": 0.4}, "06-morning", 4.0),
        Look("fade-in", {"effects": "", "fade_in": 2.0}, "06-morning", 0.8),
        *(
            Look(
                f"panorama-{at:g}",
                {"size": "square", "effects": "pan_right", "panorama": True},
                "06-morning",
                at,
            )
            for at in (0.0, 2.0, 4.0)
        ),
    ),
    "subtitles": (
        Look("default", {}),
        Look("outline", {"background_box": False}),
        Look("english", {"language": "english", "background_box": False}),
        Look("font", {"font": "Noto Sans CJK TC", "font_size": 30}),
        Look("colours", {"background_box": False, "text_color": "#ffd84a", "outline_width": 0.1}),
        Look(
            "outline-colour",
            {"background_box": False, "outline_color": "#b03030", "outline_width": 0.12},
        ),
        Look("shadow", {"background_box": False, "shadow": 0.12, "shadow_color": "#000000c0"}),
        Look("box", {"box_color": "#1f3c88d0", "box_padding": "0.6 0.3"}),
        Look("opacity", {"background_opacity": 0.6}),
        Look("position", {"subtitle_position": "top-left"}),
        Look("margin", {"subtitle_position": "bottom-left", "subtitle_margin": "0.02 0.04"}),
        Look("width", {"subtitle_width": 0.45}, subtitle=LONG),
    ),
    "captions": (
        Look("classic", {"caption": "classic"}),
        Look("karaoke", {"caption": "karaoke"}, subtitle=WORDS),
        Look("pop", {"caption": "pop"}, subtitle=WORDS),
        Look("classic-square", {"caption": "classic", "size": "square"}, subtitle=LONG),
        Look("karaoke-color", {"caption": "karaoke", "highlight": "color"}, subtitle=WORDS),
        Look("pop-box", {"caption": "pop", "highlight": "box"}, subtitle=WORDS),
    ),
    "words": (
        Look("word-colour", {"highlight": "color"}, subtitle=WORDS),
        Look("word-box", {"highlight": "box"}, subtitle=WORDS),
        Look(
            "word-own-colour",
            {"highlight": "color", "highlight_color": "#ff7f50", "background_box": False},
            subtitle=WORDS,
        ),
    ),
    "watermark": (
        Look("mark", {"watermark": "watermark.png"}, "05-starlight"),
        Look(
            "mark-corner",
            {"watermark": "watermark.png", "watermark_position": "bottom-right"},
            "05-starlight",
        ),
        Look(
            "mark-large",
            {
                "watermark": "watermark.png",
                "watermark_position": "top-right",
                "watermark_width": 0.3,
                "watermark_margin": 60,
                "watermark_opacity": 0.5,
            },
            "05-starlight",
        ),
    ),
}
"""Pictures of each section of the page."""


def tables(page: str) -> str:
    """Return the page with the tables of all pictures."""
    for section, looks in LOOKS.items():
        begin, end = f"<!-- pictures of {section} -->", f"<!-- end of {section} -->"
        block = "\n".join([begin, *_table(looks), end])
        page, count = re.subn(f"(?s){begin}.*?{end}", lambda _, text=block: text, page)
        assert count == 1, f"{PAGE.name}: expected one {begin}"
    return page


def _table(looks: Sequence[Look]) -> Iterator[str]:
    for start in range(0, len(looks), COLUMNS):
        row = looks[start : start + COLUMNS]
        pictures = (f"![{look.name}]({FOLDER.name}/{look.name}.jpg)" for look in row)
        yield ""
        yield f"| {' | '.join(pictures)} |"
        yield "|" + "---|" * len(row)
        yield f"| {' | '.join(look.caption for look in row)} |"
    yield ""


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) or '""'


async def draw(look: Look, folder: Path) -> Image.Image:
    """Return the frame of a look; ``folder`` is for its subtitles."""
    files = {path.suffix: path for path in STORY.glob(f"{look.scene}.*")}
    scene = {
        "name": look.scene,
        "image": next(files[s] for s in (".jpg", ".png", ".webp") if s in files),
        "audio": next(files[s] for s in (".mp3", ".m4a") if s in files),
        "subtitle": files[".srt"],
    }
    if look.subtitle is not None:
        scene["subtitle"] = folder / f"{look.name}.txt"
        scene["subtitle"].write_text(look.subtitle, encoding="utf-8")
    options = {**STILL, **look.options}
    if "watermark" in options:
        options["watermark"] = STORY / options["watermark"]
    picture = await render_frame(scene, look.at, options=RenderOptions.model_validate(options))
    return Image.open(io.BytesIO(picture))


async def main() -> None:
    """Draw all pictures and write the page."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for look in (look for looks in LOOKS.values() for look in looks):
            picture = (await draw(look, Path(folder))).convert("RGB")
            picture.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
            picture.save(FOLDER / f"{look.name}.jpg", quality=80)
    known = {f"{look.name}.jpg" for looks in LOOKS.values() for look in looks}
    for path in FOLDER.iterdir():
        if path.name not in known:
            path.unlink()
    PAGE.write_text(tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    anyio.run(main)
