"""Scenes with a title card in place of a picture, up to the request for the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cloudburst.engine.forecast.scene_work import scene_work
from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.inputs.preflight import check_scenes
from cloudburst.inputs.scenes import read_scenes
from cloudburst.models.limits import Limits
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import CheckedScene
from cloudburst.workers.http.public_image import find_unsupported
from support.fingerprints import fingerprints_of


def checked(**fields: Any) -> CheckedScene:
    scene = {"name": "one", "duration": 2, **fields}
    (one,) = check_scenes([scene], RenderOptions(), Limits())
    return one


def test_a_title_card_is_a_still_picture_without_a_file():
    one = checked(title_card="  Chapter One \n")
    assert (one.scene.title_card, one.scene.image, one.scene.files()) == ("Chapter One", None, {})
    assert (one.image_bytes, one.options.effects, one.undrawable) == (0, (), ())
    still = checked(title_card="a", options={"effects": []})
    assert scene_work(one) == scene_work(still)


@pytest.mark.parametrize(
    ("picture", "given", "portrait"),
    [((4, 8), {}, True), ((8, 4), {}, None), ((4, 8), {"is_portrait": False}, False)],
)
def test_a_title_card_is_upright_as_the_first_picture_is(picture, given, portrait, tmp_path):
    Image.new("RGB", picture).save(tmp_path / "a.png")
    title = {"name": "title", "title_card": "One", "duration": 1, "options": given}
    scene = {"name": "a", "image": tmp_path / "a.png", "duration": 1}
    card, _ = check_scenes([title, scene], RenderOptions(), Limits())
    assert card.options.is_portrait is portrait

    first = check_scenes([scene], RenderOptions(), Limits())
    (later,) = check_scenes([title], RenderOptions(), Limits(), labels={}, earlier=first)
    assert later.options.is_portrait is portrait


@pytest.mark.parametrize(
    ("fields", "field", "found", "expected"),
    [
        ({}, "image", "nothing", "or a title_card"),
        ({"title_card": " "}, "image", "nothing", "or a title_card"),
        (
            {"title_card": "A", "image": "a.png"},
            "title_card",
            "image and title_card",
            "one of them",
        ),
        ({"title_card": "\u200b"}, "title_card", r"'\u200b'", "a text that can be seen"),
        ({"title_card": "<i></i>"}, "title_card", "'<i></i>'", "a text that can be seen"),
        ({"title_card": 7}, "title_card", "7", "a text of at most 500 characters"),
        ({"titel_card": "A"}, "titel_card", "an unknown field", "title_card"),
    ],
)
def test_a_wrong_title_card_is_a_fault_of_the_scene(fields, field, found, expected):
    with pytest.raises(InvalidScenesError) as caught:
        checked(**fields)
    fault = next(fault for fault in caught.value.faults if fault.field == field)
    assert (fault.found, fault.expected[-len(expected) :]) == (found, expected)


@pytest.mark.parametrize(
    ("fields", "field", "found", "expected"),
    [
        ({"titel": "A"}, "titel", "an unknown field", "title"),
        ({"title": "x" * 201}, "title", "x", "a text of at most 200 characters in one line"),
        ({"title": "A\nB"}, "title", "A", "a text of at most 200 characters in one line"),
        ({"title": "A", "options": {"title": "B"}}, "title", "'A' and options.title 'B'", "one of"),
    ],
)
def test_a_wrong_title_is_a_fault_of_the_scene(fields, field, found, expected):
    with pytest.raises(InvalidScenesError) as caught:
        checked(title_card="A", **fields)
    (fault,) = caught.value.faults
    assert (fault.scene, fault.field) == ("one", field)
    assert found in fault.found
    assert fault.expected.startswith(expected)


def test_a_title_may_be_given_twice_and_be_empty():
    twice = checked(title_card="A", title="One", options={"title": "One"})
    assert (twice.scene.title, twice.options.title) == ("One", "One")
    assert checked(title_card="A", title="").scene.title is None
    one, other = fingerprints_of([checked(title_card="A", title=text) for text in ("B", "C")])
    assert one == other


def test_a_long_title_card_is_a_fault_of_the_scene():
    with pytest.raises(InvalidScenesError, match=r"title_card: .*at most 500 characters"):
        checked(title_card="x" * 501)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ภาษาไทย", "Thai characters that no font has: ภาษไท"),
        ("\U0001d4d0", "characters that no font has"),
    ],
)
def test_letters_that_our_image_cannot_draw_are_found_before_the_run(text, found):
    (fault,) = checked(title_card=text).undrawable
    assert fault.field == "title_card"
    assert found in fault.found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.json", '[{"name": "a", "title_card": "Part 1\\nThe Ship", "duration": 2}]'),
        ("s.yaml", '- {name: a, title_card: "Part 1\\nThe Ship", duration: 2}'),
        ("s.csv", 'name,title_card,duration\na,"Part 1\nThe Ship",2\n'),
    ],
)
def test_files_of_scenes_have_title_cards(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text)
    (one,) = check_scenes(read_scenes(tmp_path / name), RenderOptions(), Limits())
    assert one.scene.title_card == "Part 1\nThe Ship"


def test_the_text_is_part_of_the_fingerprint():
    first, other, same = fingerprints_of([checked(title_card=text) for text in "ABA"])
    assert first == same != other


def test_the_public_image_needs_a_picture():
    faults = find_unsupported(checked(title_card="A"), "the image")
    expected = "a picture, because the image cannot render a scene without one"
    assert SceneFault("one", "title_card", "'A'", expected, "contradiction") in faults
