"""Scenes with a duration in place of an audio file, up to the request for the worker."""

from __future__ import annotations

import json
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
from cloudburst.models.scene import CheckedScene, Scene
from cloudburst.service.native_api import SceneJobRequest
from cloudburst.workers.http import public_image
from cloudburst.workers.http.job import JobPayload
from support.fingerprints import fingerprints_of

HASH = "0" * 64


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 36), "teal").save(tmp_path / "a.png")
    return tmp_path / "a.png"


def checked(image: Path, limits: Limits | None = None, **fields: Any) -> CheckedScene:
    scene = {"name": "one", "image": image, **fields}
    (one,) = check_scenes([scene], RenderOptions(), limits or Limits())
    return one


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"duration": 0.1}, 0.1),
        ({"duration": 5}, 5),
        ({"duration": "2.5"}, 2.5),
        ({"duration": 3600, "audio": None}, 3600),
        ({"duration": "7", "audio": ""}, 7),
    ],
)
def test_a_duration_is_the_length_of_the_scene(
    image: Path, fields: dict[str, Any], seconds: float
) -> None:
    one = checked(image, **fields)
    assert (one.scene.audio, one.scene.duration, one.audio_seconds) == (None, seconds, seconds)
    assert one.scene.files() == {"image": image}
    assert scene_work(one) > 0


@pytest.mark.parametrize(
    ("fields", "field", "found", "expected"),
    [
        ({}, "audio", "nothing", "or a duration in seconds"),
        ({"audio": None, "duration": ""}, "audio", "nothing", "or a duration in seconds"),
        ({"audio": "a.mp3", "duration": 5}, "duration", "audio and duration", "one of them"),
        (
            {"audio_path": "a.mp3", "duration": 5},
            "duration",
            "audio_path and duration",
            "one of them",
        ),
        ({"duration": 0.09}, "duration", "0.09", "a number of seconds, at least 0.1"),
        ({"duration": "nan"}, "duration", "'nan'", "a number of seconds, at least 0.1"),
        ({"duration": "long"}, "duration", "'long'", "a number of seconds, at least 0.1"),
        ({"duration": True}, "duration", "True", "a number of seconds, at least 0.1"),
        ({"duration": 14401}, "duration", "14401 seconds", "at most 14400 seconds"),
        ({"durations": 1}, "durations", "an unknown field", "duration"),
    ],
)
def test_a_wrong_length_is_a_fault_of_the_scene(
    image: Path, fields: dict[str, Any], field: str, found: str, expected: str
) -> None:
    with pytest.raises(InvalidScenesError) as caught:
        checked(image, **fields)
    fault = next(fault for fault in caught.value.faults if fault.field == field)
    assert (fault.found, fault.expected[-len(expected) :]) == (found, expected)


def test_the_limit_of_a_duration_is_that_of_audio(image: Path) -> None:
    with pytest.raises(InvalidScenesError, match="at most 4 seconds"):
        checked(image, Limits(audio_seconds=4), duration=4.5)


def test_an_invalid_scene_of_no_length_has_both_faults(image: Path) -> None:
    with pytest.raises(InvalidScenesError) as caught:
        check_scenes([{"name": "a/b", "image": image}], RenderOptions(), Limits())
    assert [fault.field for fault in caught.value.faults] == ["name", "audio"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.json", '[{"name": "a", "image": "a.png", "duration": 2.5}]'),
        ("s.yaml", "- {name: a, image: a.png, duration: 2.5}"),
        ("s.csv", "name,image,audio,duration\na,a.png,,2.5\n"),
    ],
)
def test_files_of_scenes_have_durations(image: Path, name: str, text: str) -> None:
    file = image.parent / name
    file.write_text(text)
    (one,) = check_scenes(read_scenes(file), RenderOptions(), Limits())
    assert one.scene.duration == 2.5


def test_the_duration_is_part_of_the_fingerprint(image: Path) -> None:
    scenes = [checked(image, duration=seconds) for seconds in (2, 2.5, 2)]
    first, other, same = fingerprints_of(scenes)
    assert first == same != other


def test_the_public_image_needs_audio(image: Path) -> None:
    (fault,) = public_image.find_unsupported(checked(image, duration=2.5), "the image")
    expected = "an audio file, because the image cannot render a scene without one"
    assert fault == SceneFault("one", "duration", "2.5", expected, "contradiction")


def test_a_request_has_a_duration_in_place_of_audio(image: Path) -> None:
    scene = Scene(name="one", image=image, duration=2.5)
    payload = JobPayload(
        name="one", image=HASH, duration=scene.duration, options=RenderOptions()
    ).model_dump(mode="json", exclude_defaults=True)
    assert SceneJobRequest.model_validate(payload).duration == 2.5
    assert SceneJobRequest.model_validate(payload).contents() == {"image": HASH}
    del payload["duration"]
    with pytest.raises(ValueError, match="neither audio nor duration"):
        SceneJobRequest.model_validate(payload)


def test_a_scene_survives_json(image: Path) -> None:
    scene = Scene(name="one", image=image, duration=2.5)
    assert Scene.model_validate_json(json.dumps(scene.model_dump(mode="json"))) == scene
