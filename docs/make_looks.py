"""Script that draws the pictures of ``docs/looks``, and writes the tables that show them.

python docs/make_looks.py [NAME…]

Each picture shows a scene of ``examples/looks/scenes.json`` with the flags below the picture: as a
loop of three seconds, or as one frame if nothing moves. Run it in the folder of the project.
"""
# ruff: noqa: INP001

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import anyio
import av
from PIL import Image

from cloudburst import Client, RenderOptions, Scene, local, read_scenes, render_frame
from cloudburst.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = [*(ROOT / "docs/looks").glob("*.md"), *(ROOT / "docs/zh/looks").glob("*.md")]
FOLDER = ROOT / "docs/looks/pictures"
SCENES = "examples/looks/scenes.json"
WIDTH, HEIGHT = 320, 240
"""Maximum size of a picture, in pixels."""
FPS = 10
SECONDS = 3.0
QUALITIES = (70, 40, 32, 25, 20, 15, 10)
"""Qualities of WebP, of which the first one that makes a loop small enough is used."""
FULL_FRAMES = {"kmin": 0, "kmax": 1}
"""Options for loops in which everything moves: differences between frames would show blocks."""
MAX_BYTES = 120_000
COLUMNS = 3


Part: TypeAlias = tuple[float, float, float, float]
"""Part of a video, as shares of its width and height: left, top, right, bottom."""
TEXT: Part = (0.2, 0.6, 0.8, 1.0)


class Look(NamedTuple):
    """Picture of a page."""

    name: str
    """Name of the file, without its suffix."""
    scene: str
    """Name of the scene; empty for a film of all scenes."""
    flags: str
    """Options of the command line."""
    at: float = 0.0
    """Time of the frame that a still picture shows, or of the start of a loop, in seconds."""
    moves: bool = True
    part: Part = (0.0, 0.0, 1.0, 1.0)

    def options(self) -> RenderOptions:
        """Return the options that the flags stand for."""
        words = ["frame", SCENES, *shlex.split(self.flags)]
        _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
        look = bound.arguments.get("video")
        return look.options() if look else RenderOptions()


def still(name: str, scene: str, flags: str) -> Look:
    """Return a look of which the page shows one frame."""
    return Look(name, scene, flags, 1.5, moves=False)


def style(name: str, flags: str) -> Look:
    """Return a still look of which the page shows the text."""
    return still(name, "words", flags)._replace(part=TEXT)


def word(name: str, flags: str, scene: str = "words") -> Look:
    """Return a look of which the page shows the words one after the other."""
    return Look(name, scene, flags, part=TEXT)


_MOTION = "--motion-amount 0.3"
_MARK = "--watermark examples/story/watermark.png"
LOOKS: Mapping[str, Sequence[Look]] = {
    "size": (
        still("cover", "morning", "--size square"),
        still("contain", "morning", "--size square --fit contain"),
        still("backdrop", "morning", "--size 4:5 --fit contain --backdrop '#203048'"),
        still("focus-left", "morning", "--size portrait --focus 0.3,0.5"),
        still("focus-right", "morning", "--size portrait --focus 0.75,0.5"),
        still("wide", "morning", "--size 1920x816"),
    ),
    "motion": (
        Look("zoom-in", "harbour", f"--effects zoom_in {_MOTION}"),
        Look("zoom-out", "cloud", f"--effects zoom_out {_MOTION}"),
        Look("zoom-focus", "harbour", "--effects zoom_in --motion-amount 0.5 --focus 0.75,0.4"),
        Look("pan-left", "harbour", f"--effects pan_left {_MOTION}"),
        Look("pan-right", "harbour", f"--effects pan_right {_MOTION}"),
        Look("pan-up", "cloud", f"--effects pan_up {_MOTION}"),
        Look("pan-down", "cloud", f"--effects pan_down {_MOTION}"),
        Look("easing", "cloud", f"--effects zoom_in {_MOTION} --motion-easing ease_in_out"),
        Look("panorama", "harbour", "--size square --effects pan_right --panorama"),
    ),
    "fades": (
        Look("fade-in", "morning", "--fade-in 1.5"),
        Look("fade-out", "morning", "--fade-out 1.5"),
    ),
    "captions": (
        word("classic", "--caption classic"),
        word("karaoke", "--caption karaoke"),
        word("pop", "--caption pop"),
        word("karaoke-chinese", "--caption karaoke", "chinese"),
        word("pop-chinese", "--caption pop", "chinese"),
        Look("pop-portrait", "words", "--caption pop --size portrait --focus 0.75,0.5"),
    ),
    "watermarks": (
        still("mark", "words", _MARK),
        still("mark-corner", "words", f"{_MARK} --watermark-position bottom-right"),
        still(
            "mark-faint",
            "words",
            f"{_MARK} --watermark-width 0.4 --watermark-opacity 0.4"
            " --watermark-position center --watermark-margin 0",
        ),
    ),
    "styles": (
        style("default", ""),
        style("outline", "--no-background-box"),
        style("english", "--no-background-box --language english"),
        style("font", "--font 'Noto Sans CJK TC' --font-size 30"),
        style("colours", "--no-background-box --text-color '#ffd84a' --outline-width 0.1"),
        style("uppercase", "--no-background-box --uppercase"),
        style("outline-colour", "--no-background-box --outline-color '#b03030'"),
        style("shadow", "--no-background-box --shadow 0.12 --shadow-color '#000000c0'"),
        style("box", "--box-color '#1f3c88d0' --box-padding 0.6,0.3 --box-radius 0.5"),
        style("opacity", "--background-opacity 0.6"),
        still("position", "words", "--subtitle-position top-left"),
        still("margin", "words", "--subtitle-position bottom-left --subtitle-margin 0.02,0.04"),
        still("width", "long", "--subtitle-width 0.5"),
    ),
    "highlights": (
        word("color", "--highlight color"),
        word("box-word", "--highlight box"),
        word("grow", "--highlight grow"),
        word(
            "own-color",
            "--highlight color --highlight-color '#ff7f50' --no-background-box",
        ),
        word("words", "--words-at-once 2 --animation pop"),
        word("lines", "--subtitle-width 0.35 --subtitle-lines 1", "long"),
    ),
    "transitions": (
        Look("fade", "", "--transition fade --transition-seconds 1", 3.5),
        Look("crossfade", "", "--transition crossfade --transition-seconds 1", 2.0),
        Look("gap", "", "--film-gap 0.8", 4.4),
        Look("card", "", "--transition fade", 0.5),
    ),
}
"""Pictures of each section of the pages."""


def tables(page: str, folder: str) -> str:
    """Return the page with the tables of all its pictures, whose folder has a relative path."""
    for section, looks in LOOKS.items():
        begin, end = f"<!-- pictures of {section} -->", f"<!-- end of {section} -->"
        block = "\n".join([begin, *_table(looks, folder), end])
        page = re.sub(f"(?s){begin}.*?{end}", lambda _, text=block: text, page)
    return page


def folder_of(page: Path) -> str:
    """Return the path of the folder of pictures relative to the page."""
    return Path(os.path.relpath(FOLDER, page.parent)).as_posix()


def _table(looks: Sequence[Look], folder: str) -> Iterator[str]:
    columns = min(COLUMNS, len(looks))
    # The head is empty: narrow screens show the rows without it.
    yield from ("", "|" + " |" * columns, "|" + "---|" * columns)
    for start in range(0, len(looks), columns):
        cells = (_cell(look, folder) for look in looks[start : start + columns])
        yield f"| {' | '.join(cells)} |"
    yield ""


def _cell(look: Look, folder: str) -> str:
    flags = f"<br>`{look.flags}`" if look.flags else ""
    return f"![{look.name}]({folder}/{look.name}.webp){flags}"


def small(picture: Image.Image, part: Part) -> Image.Image:
    """Return a part of the picture in the size in which the page shows it."""
    left, top, right, bottom = part
    width, height = picture.size
    picture = picture.crop((width * left, height * top, width * right, height * bottom))
    picture = picture.convert("RGB")
    picture.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    return picture


def loop(video: Path, start: float, part: Part) -> list[Image.Image]:
    """Return the frames of a loop, which begins at a time in the video."""
    pictures = list[Image.Image]()
    with av.open(str(video)) as file:
        for frame in file.decode(video=0):
            passed = (frame.time or 0.0) - start
            if len(pictures) / FPS <= passed < SECONDS:
                pictures.append(small(frame.to_image(), part))
    return pictures


def encode(pictures: Sequence[Image.Image]) -> bytes:
    """Return the pictures as one file, in the best quality that is small enough."""
    first, *others = pictures
    moving = {"save_all": True, "append_images": others, "duration": 1000 // FPS, "loop": 0}
    for quality in QUALITIES:
        if others and quality < QUALITIES[0]:
            moving |= FULL_FRAMES
        file = io.BytesIO()
        first.save(file, "WEBP", quality=quality, **moving if others else {})
        if file.tell() <= MAX_BYTES:
            return file.getvalue()
    raise ValueError(f"more than {MAX_BYTES} bytes")


async def draw(look: Look) -> Image.Image:
    """Return the picture of a still look."""
    frame = await render_frame(scene_of(look), look.at)
    return small(Image.open(io.BytesIO(frame)), look.part)


def film(look: Look, folder: Path) -> Path:
    """Return the film of all scenes with the flags of a look."""
    path = folder / f"{look.name}.mp4"
    flags = ["--to", str(folder / look.name), "--film", str(path), "--quiet"]
    command = [sys.executable, "-m", "cloudburst", "render", SCENES, *flags]
    subprocess.run([*command, *shlex.split(look.flags)], check=True, cwd=ROOT)
    return path


def scene_of(look: Look) -> Scene:
    """Return the scene that a look shows, with the name and the options of the look."""
    scene = next(one for one in read_scenes(SCENES) if one["name"] == look.scene)
    own = RenderOptions.model_validate(scene.get("options", {}))
    return Scene.model_validate(
        scene | {"name": look.name, "options": look.options().overridden_by(own)}
    )


async def main() -> None:
    """Draw all pictures, or those with the names, and write the tables of the pages."""
    known = {look.name: look for looks in LOOKS.values() for look in looks}
    for path in FOLDER.iterdir():
        if path.stem not in known:
            path.unlink()
    looks = [known[name] for name in sys.argv[1:] or known]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        moving = [scene_of(look) for look in looks if look.moves and look.scene]
        async with Client(local()) as client:
            (await client.render_all(moving, to=folder)).raise_for_failures()
        for look in looks:
            if not look.moves:
                pictures = [await draw(look)]
            else:
                video = folder / f"{look.name}.mp4" if look.scene else film(look, folder)
                pictures = loop(video, look.at, look.part)
            (FOLDER / f"{look.name}.webp").write_bytes(encode(pictures))
    for page in PAGES:
        text = tables(page.read_text("utf-8"), folder_of(page))
        page.write_text(text, "utf-8")


if __name__ == "__main__":
    anyio.run(main)
