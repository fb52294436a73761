"""Subtitles of each form in the frames that the render process encodes."""

from __future__ import annotations

import pytest
from PIL import Image, ImageChops

from cloudburst.renderer.planes import to_picture
from support.render_job import lay_job, load_here
from support.substation import ass, dialogue, style

pytestmark = pytest.mark.real

GREY = (90, 90, 90)
RED = style(colour="&H000000FF", alignment=7)


def shown(folder, subtitle, **options):
    """Return a frame that shows the subtitles, and the warnings."""
    scene = load_here(lay_job(folder, subtitle=subtitle, **options), 6)
    return to_picture(scene.source.draw(3).read()), scene.warnings


def visible(picture):
    """Return left, top, right and bottom of what differs from the grey picture."""
    flat = Image.new("RGB", picture.size, GREY)
    different = ImageChops.difference(picture, flat).convert("L")
    return different.point(lambda value: 255 * (value > 12)).getbbox()


def letters(picture, *, red):
    """Return the number of pixels that are bright in the channel of red, and in blue unless red."""
    channels = picture.split()
    bright = channels[0].point(lambda value: 255 * (value > 150))
    blue = channels[2].point(lambda value: 255 * ((value < 80) if red else (value > 150)))
    return ImageChops.multiply(bright, blue).histogram()[255]


LINE = {"start": "0:00:00.00", "end": "0:00:01.00"}


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("subtitle", "place", "lines", "red"),
    [
        (ass(dialogue("一一\\N一一", **LINE), styles=(RED,)), (0, 0), 2, True),
        (ass(dialogue("{\\an6\\c&HFFFFFF&}一一\\n一一", **LINE), styles=(RED,)), (2, 1), 1, False),
        ("[00:00]一一\n[00:00]一一", (1, 2), 2, False),
        ("1\n00:00:00,000 --> 00:00:01,000\n一一\\N一一\n", (1, 2), 2, False),
    ],
    ids=["ass", "ass with overrides", "lrc", "srt"],
)
def test_text_is_drawn_where_its_file_says(tmp_path, subtitle, place, lines, red):
    picture, _ = shown(tmp_path, subtitle)
    left, top, right, bottom = visible(picture)
    assert ((left + right) // 2 // 640, (top + bottom) // 2 // 360) == place
    assert bottom - top == pytest.approx(75 * lines + 16, abs=6)
    assert letters(picture, red=red) > 200
    assert letters(picture, red=not red) < 20


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize(
    ("subtitle", "warnings"),
    [
        ("1\n00:00:00,000 --> 00:00:01,000\n{\\an8\\i1}a\n", []),
        ("[00:00]a", []),
        (
            "1\n00:00:00,000 --> 00:00:01,000\n{\\an8\\pos(1,2)\\fad(9,9)}a\n",
            ["subtitle: ignored \\pos, \\fad"],
        ),
        (
            ass(dialogue("{\\pos(1,2)}a", **LINE)),
            ["subtitle: ignored \\pos, style font, style outline"],
        ),
        (
            ass(dialogue("{" + "".join(f"\\{n}" for n in (
                *("bord1", "xbord1", "ybord1", "shad1", "xshad1", "yshad1", "fax1", "fay1"),
                *("blur1", "fscx1", "fscy1", "fsp1", "fs1", "frx1"),
            )) + "}a", **LINE)),
            [
                (
                    "subtitle: ignored \\bord, \\xbord, \\ybord, \\shad, \\xshad, \\yshad, \\fax, "
                    "\\fay, \\blur, \\fscx, \\fscy, \\fsp and 4 more"
                )
            ],
        ),
    ],
)  # fmt: skip
def test_a_warning_names_what_is_ignored(tmp_path, subtitle, warnings):
    _, found = shown(tmp_path, subtitle)
    assert list(found) == warnings
