"""Sentences in many scripts as Chromium draws them: their widths, and a sheet to look at.

``python tests/support/chromium_text.py FOLDER`` writes ``tests/data/chromium_widths.json`` and, to
the folder, ``scripts.png``: each sentence above as Chromium draws it and below as we do.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import uharfbuzz as hb
from PIL import Image, ImageOps

from cloudburst.renderer.bidi import begins_right
from cloudburst.renderer.fonts import Font, find_font
from cloudburst.renderer.letters import SAMPLES, Letters
from cloudburst.renderer.text_layout import layout, line_width
from support.scripts import SENTENCES, font_path

WIDTHS = Path(__file__).parents[1] / "data" / "chromium_widths.json"
SIZE = 40
"""Pixels in an em."""

_ROW = 100
_CANVAS = 1900
_STYLE = (
    "body{margin:0} div{position:absolute;left:20px;white-space:pre;line-height:100px;"
    f"font-size:{SIZE}px;text-rendering:geometricPrecision;text-spacing-trim:space-all}}"
)
_SCRIPT = (
    "document.fonts.ready.then(()=>{document.title=JSON.stringify(Object.fromEntries("
    "[...document.querySelectorAll('div')].map(e=>[e.id,e.getBoundingClientRect().width])))})"
)


def letters_of(language: str) -> Letters:
    """Return the letters of a sentence, with an em of `SIZE` pixels."""
    path = font_path(language)
    fonts = [find_font()] if path is None else [Font(path, 0, 0)]
    line = 1000 * SIZE / Letters(fonts, 1000).em
    return Letters(fonts, line)


def measured() -> dict[str, float]:
    """Return the width in pixels that each sentence has in Chromium."""
    with TemporaryDirectory() as folder:
        _run(_page(Path(folder)), "--dump-dom", output=(dom := Path(folder, "dom")))
        found = re.search("<title>(.*?)</title>", dom.read_text("utf-8"))
    assert found is not None
    return {name: float(width) for name, width in json.loads(found[1]).items()}


def sheet() -> Image.Image:
    """Return a picture of each sentence, above by Chromium and below by us."""
    picture = Image.new("L", (_CANVAS, 2 * _ROW * len(SENTENCES)))
    with TemporaryDirectory() as folder:
        shot = Path(folder, "shot.png")
        size = f"--window-size={_CANVAS},{_ROW * len(SENTENCES)}"
        _run(_page(Path(folder)), f"--screenshot={shot}", size)
        theirs = ImageOps.invert(Image.open(shot).convert("L"))
    for row, (language, text) in enumerate(SENTENCES.items()):
        area = (0, row * _ROW, _CANVAS, (row + 1) * _ROW)
        picture.paste(theirs.crop(area), (0, 2 * row * _ROW))
        ours = Image.new("L", (_CANVAS * SAMPLES, _ROW * SAMPLES))
        letters = letters_of(language)
        (line,) = layout(text, bold=False, room=_CANVAS, letters=letters)
        letters.draw(ours, line, 20, 65, 0)
        picture.paste(ours.reduce(SAMPLES), (0, (2 * row + 1) * _ROW))
    return picture


def width(language: str) -> float:
    """Return the width in pixels that we give a sentence."""
    (line,) = layout(
        SENTENCES[language], bold=False, room=float("inf"), letters=letters_of(language)
    )
    return line_width(line)


def _page(folder: Path) -> Path:
    parts = [f"<meta charset=utf-8><style>{_STYLE}"]
    for language, text in SENTENCES.items():
        path = font_path(language) or _cjk_face(folder, language, text)
        parts.append(f"@font-face{{font-family:{language};src:url({path.as_uri()})}}")
    parts.append("</style>")
    for row, (language, text) in enumerate(SENTENCES.items()):
        direction = "rtl" if begins_right(text) else "ltr"
        style = f"top:{row * _ROW}px;font-family:{language}"
        # Korean text has wider spaces in this font; Chromium needs the language for them.
        known = "lang=ko" if language == "korean" else ""
        parts.append(
            f'<div id={language} {known} dir={direction} style="{style}">{escape(text)}</div>'
        )
    page = folder / "page.html"
    page.write_text("".join([*parts, f"<script>{_SCRIPT}</script>"]), "utf-8")
    return page


def _cjk_face(folder: Path, language: str, text: str) -> Path:
    """Return a file of the face of the package's font that draws a sentence."""
    font = find_font()
    is_latin = text[0].isascii()
    blob = hb.Blob.from_file_path(str(font.path))
    wanted = hb.SubsetInput()
    wanted.sets(hb.SubsetInputSets.UNICODE).update(map(ord, text))
    # Its quotation marks are narrow, as ours are beside Latin letters.
    face = hb.Face(blob, font.narrow_quotes_face if is_latin else font.face)
    path = folder / f"{language}.otf"
    path.write_bytes(hb.subset(face, wanted).blob.data)
    return path


def _run(page: Path, *arguments: str, output: Path | None = None) -> None:
    command = [
        *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *("--allow-file-access-from-files", "--virtual-time-budget=5000", "--no-first-run"),
        *(f"--user-data-dir={page.parent / 'profile'}", *arguments, page.as_uri()),
    ]
    made = subprocess.run(command, capture_output=True, timeout=120, check=True)
    if output is not None:
        output.write_bytes(made.stdout)


if __name__ == "__main__":
    WIDTHS.write_text(json.dumps(measured(), indent=1) + "\n", "utf-8")
    sheet().save(Path(sys.argv[1], "scripts.png"))
