"""Frames of reference: a change of what is drawn raises the version in the fingerprints."""

from __future__ import annotations

from hashlib import sha256

import pytest
import uharfbuzz
from PIL import Image, features

from cloudburst.models import fingerprint
from cloudburst.models.fingerprint import DRAWING_VERSION
from cloudburst.models.options import RenderOptions
from support.render_job import lay_job, load_here

DRAWN = {
    3: "a1ae0e8bb1d036d344b699cbf71d87ca5fbcdad7c9cf7d3c333a4288478fd439",
}
"""SHA-256 of the frames below by the version of the drawing; only the last one may be changed."""
LIBRARIES = {"freetype": "2.14.3", "harfbuzz": "15.0.0"}
"""Versions of the libraries with which they were drawn."""
WORDS = "WEBVTT\n\n00:00.000 --> 00:02.000\n<00:00.000>{}<00:00.900>{}<00:01.500>{}\n"
ENGLISH = WORDS.format("It’s ", "late… ", "“sail” home")
SCENES = {
    "classic": (ENGLISH, {"caption": "classic", "mark": True}),
    "karaoke": (ENGLISH, {"caption": "karaoke", "effects": ["zoom_in"]}),
    "pop": (ENGLISH, {"caption": "pop", "size": "360x640", "fade_out": 1}),
    "pop-chinese": (WORDS.format("小船，", "迷了", "路"), {"caption": "pop", "fit": "contain"}),
    "pop-japanese": (WORDS.format("風が", "つよい", "！"), {"caption": "pop", "size": "400x400"}),
    "styled": (
        "1\n00:00:00,000 --> 00:00:02,000\n<i>x</i> <b>y</b> <u>z</u> 한글",
        {"shadow": 0.1},
    ),
}
TIMES = 0.0, 1.1
FPS = 25


def drawn(folder) -> str:
    found = sha256()
    for name, (subtitle, options) in SCENES.items():
        (folder / name).mkdir()
        mark = Image.new("RGB", (40, 20), "red") if options.get("mark") else None
        gradient = Image.linear_gradient("L")
        picture = Image.merge("RGB", [gradient.rotate(90 * turns) for turns in range(3)])
        given = {"size": "640x360", "fps": FPS, "picture": picture} | options
        lay_job(folder / name, subtitle=subtitle, name=name, **given | {"mark": mark})
        source = load_here(folder / name, 2 * FPS).source
        for time in TIMES:
            found.update(b"".join(source.draw(round(time * FPS)).read()[2:]))
    return found.hexdigest()


@pytest.mark.skipif(
    {"freetype": features.version("freetype2"), "harfbuzz": uharfbuzz.version_string()}
    != LIBRARIES,
    reason="other libraries may draw other letters",
)
def test_frames_that_are_drawn_differently_have_a_version_of_the_drawing_of_their_own(tmp_path):
    assert drawn(tmp_path) == DRAWN[DRAWING_VERSION], (
        "pixels have changed: raise DRAWING_VERSION if this release has not yet, and note the hash"
    )
    assert max(DRAWN) == DRAWING_VERSION


def test_another_version_of_the_drawing_gives_other_fingerprints(monkeypatch):
    def of_scene():
        return fingerprint.fingerprint("scene", RenderOptions(), {"image": "0" * 64}, duration=1)

    before = of_scene()
    monkeypatch.setattr(fingerprint, "DRAWING_VERSION", DRAWING_VERSION + 1)
    assert of_scene() != before
