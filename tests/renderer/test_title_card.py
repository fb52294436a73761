"""Title cards: text in the centre of an empty picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from cloudburst.renderer.job import InputFaultError, JobOptions, RenderJob
from cloudburst.renderer.planes import to_picture
from cloudburst.renderer.scene import LoadedScene, load_scene

SMALL = JobOptions(size="640x360")
NAVY, WHITE = (20, 33, 61), (255, 255, 255)


def loaded(folder: Path, text: str, options: JobOptions = SMALL) -> LoadedScene:
    job = RenderJob(name="card", options=options, duration=1.0, title_card=text)
    return load_scene(folder, job, 30, lambda _: None, encodes=False)


def card(folder: Path, text: str, options: JobOptions = SMALL) -> Image.Image:
    return to_picture(loaded(folder, text, options).source.draw(0).read())


def written(picture: Image.Image) -> tuple[int, int, int, int]:
    """Return the part of a card that differs from its corner."""
    empty = Image.new("RGB", picture.size, picture.getpixel((0, 0)))
    difference = ImageChops.difference(picture, empty).convert("L").point(lambda v: 255 * (v > 64))
    box = difference.getbbox()
    assert box is not None
    return box


def is_near(found: object, expected: tuple[int, int, int]) -> bool:
    return isinstance(found, tuple) and max(map(abs, map(int.__sub__, found, expected))) <= 6


@pytest.mark.parametrize(
    ("size", "shape"), [("640x360", (640, 360)), ("360x640", (360, 640)), ("480x480", (480, 480))]
)
@pytest.mark.parametrize("text", ["Chapter One", "第三章：港口的清晨与远方的船"])
def test_the_text_is_in_the_centre(tmp_path, size, shape, text):
    picture = card(tmp_path, text, replace(SMALL, size=size))
    left, top, right, bottom = written(picture)
    assert picture.size == shape
    assert is_near(picture.getpixel((0, 0)), NAVY)
    assert any(is_near(colour, WHITE) for _, colour in picture.getcolors(1 << 20))
    assert abs(left + right - shape[0]) < 0.03 * shape[0]
    assert abs(top + bottom - shape[1]) < 0.08 * shape[1]
    assert left > 0.06 * shape[0]


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("text", ["lorem ipsum " * 41, "字" * 500, "x" * 500, "a\n" * 29 + "a"])
def test_the_longest_text_fits(tmp_path, text):
    picture = card(tmp_path, text.strip())
    left, top, right, bottom = written(picture)
    assert left > 10
    assert right < 630
    assert bottom - top <= 0.82 * 360
    assert top > 20


def test_a_long_word_is_not_broken(tmp_path):
    tall = replace(SMALL, size="360x640")
    box = written(card(tmp_path, "Donaudampfschifffahrtsgesellschaft", tall))
    higher = written(card(tmp_path, "Ship", tall))
    assert box[3] - box[1] < higher[3] - higher[1], "smaller letters in one line"


def test_the_look_is_that_of_the_options(tmp_path):
    look = replace(SMALL, backdrop="#7a1f2b", text_color="#ffd60a", font_size=60)
    picture = card(tmp_path, "A <font color='#00ff00'>B</font>", look)
    colours = [colour for _, colour in picture.getcolors(1 << 20)]
    assert is_near(picture.getpixel((0, 0)), (122, 31, 43))
    for expected in ((255, 214, 10), (0, 255, 0)):
        assert any(is_near(colour, expected) for colour in colours)
    usual = written(card(tmp_path, "A"))
    large = written(card(tmp_path, "A", replace(SMALL, font_size=60)))
    assert large[3] - large[1] > 2 * (usual[3] - usual[1])


def test_the_text_of_a_card_may_be_in_capital_letters(tmp_path):
    capitals = card(tmp_path, "Die Straße", replace(SMALL, uppercase=True))
    assert capitals.tobytes() == card(tmp_path, "DIE STRASSE").tobytes()


def test_a_card_does_not_move(tmp_path):
    scene = loaded(tmp_path, "Still", replace(SMALL, effects=tuple(SMALL.effects)))
    assert not scene.costly
    first, last = (to_picture(scene.source.draw(number).read()) for number in (0, 29))
    assert first.tobytes() == last.tobytes()


def test_symbols_without_a_glyph_are_named(tmp_path):
    (note,) = loaded(tmp_path, "Party 🎉").warnings
    assert "title_card: left out" in note
    assert "PARTY POPPER" in note


def test_letters_without_a_glyph_are_a_fault(tmp_path):
    with pytest.raises(InputFaultError, match=r"title_card: .*characters that no font has"):
        loaded(tmp_path, "ภาษาไทย")
