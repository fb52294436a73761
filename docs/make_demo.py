"""Script that makes ``docs/demo.webp``: the live view of a run, then moments of its film.

python docs/make_demo.py

It runs `COMMAND` in a terminal of its own, draws `SCREENS` moments of what the terminal shows, and
then frames of the film. Debian package: ``fonts-dejavu-core``.
"""
# ruff: noqa: INP001

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont
from rich.color import Color
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

PICTURE = Path(__file__).with_name("demo.webp")
COMMAND = "cloudburst render examples/story --film story.mp4"
WIDTH, HEIGHT = 640, 360
COLUMNS, LINES = 64, 18
SCREENS, SCREEN_SECONDS = 12, 0.2
"""Number of moments of the live view, and how long each is shown."""
REPORT_SECONDS = 1.6
FIRST, MOMENT_SECONDS = 2.0, 1.6
"""Which seconds of each scene are shown."""
FPS = 10
WRITTEN = re.compile(
    r"(?P<up>\x1b\[1A)|(?P<clear>\x1b\[2K)|(?P<newline>\n)|\x1b\[\?25[hl]"
    r"|(?P<text>(?:[^\x1b\r\n]|\x1b\[[\d;]*m)+)"
)
"""What rich writes for a live view. Carriage returns change nothing in it."""
THEME = TerminalTheme(
    (22, 27, 34),
    (222, 226, 230),
    [
        (22, 27, 34),
        (248, 113, 113),
        (126, 211, 133),
        (229, 192, 123),
        (97, 175, 239),
        (198, 120, 221),
        (86, 198, 214),
        (222, 226, 230),
    ],
    [(110, 118, 129), *[(222, 226, 230)] * 7],
)


def recorded(command: str, folder: Path) -> list[str]:
    """Run a command in a terminal; return what the terminal showed after each change."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    process = subprocess.Popen(
        shlex.split(command), cwd=folder, env=environment, stdout=follower, stderr=follower
    )
    os.close(follower)
    screens, written = list[str](), b""
    while True:
        try:
            read = os.read(leader, 65536)
        except OSError:  # the command has ended
            break
        written += read
        screens.append(screen(written.decode("utf-8", "ignore")))
    os.close(leader)
    if process.wait():
        raise SystemExit(screens[-1])
    return screens


def screen(written: str) -> str:
    """Return the lines of a terminal, with their colours, after what rich has written."""
    lines, row = [""], 0
    for token in WRITTEN.finditer(written):
        match token.lastgroup:
            case "up":
                row -= 1
            case "clear":
                lines[row] = ""
            case "newline":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            case "text":
                lines[row] += token[0]
    return "\n".join(lines)


def drawn(text: str) -> Image.Image:
    """Draw the last lines of a terminal."""
    picture = Image.new("RGB", (WIDTH * 2, HEIGHT * 2), THEME.background_color)
    draw, font = ImageDraw.Draw(picture), ImageFont.truetype("DejaVuSansMono.ttf", 31)
    console, wide = Console(width=COLUMNS, color_system="standard"), font.getlength("m")
    shown = text.rstrip("\n").split("\n")[-LINES:]
    for row, line in enumerate(shown):
        column = 0
        for segment in Text.from_ansi(line).render(console):
            style = segment.style
            colour = style and style.color
            rgb = (colour or Color.parse("default")).get_truecolor(THEME)
            if style and style.dim:
                mixed = zip(rgb, THEME.background_color, strict=True)
                rgb = tuple((2 * one + base) // 3 for one, base in mixed)
            for character in segment.text:
                draw.text((40 + column * wide, 12 + row * 39), character, rgb, font)
                column += 1
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def moments(film: Path) -> Iterator[Image.Image]:
    """Yield frames of the film: the same seconds of each scene."""
    with av.open(str(film)) as opened:
        video = opened.streams.video[0]
        for chapter in opened.chapters():
            start = float(chapter["start"] * chapter["time_base"]) + FIRST
            opened.seek(int(start * 1_000_000))
            shown = 0
            for frame in opened.decode(video):
                if frame.time >= start + shown / FPS - 0.001:
                    yield frame.to_image(width=WIDTH, height=HEIGHT)
                    shown += 1
                if shown == MOMENT_SECONDS * FPS:
                    break


def main() -> None:
    """Record the run and write the moving picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "examples").symlink_to(PICTURE.parent.with_name("examples"))
        screens = recorded(COMMAND, folder)
        chosen = [screens[index * len(screens) // SCREENS] for index in range(SCREENS)]
        pictures = [drawn(f"$ {COMMAND}\n{text}") for text in ("", *chosen, screens[-1])]
        durations = [600, *[round(SCREEN_SECONDS * 1000)] * SCREENS, round(REPORT_SECONDS * 1000)]
        film = list(moments(folder / "story.mp4"))
        durations += [1000 // FPS] * len(film)
        first, *rest = [*pictures, *film]
        first.save(
            PICTURE,
            save_all=True,
            append_images=rest,
            duration=durations,
            loop=0,
            quality=60,
            method=4,
        )


if __name__ == "__main__":
    main()
