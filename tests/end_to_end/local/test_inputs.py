"""Every kind of picture and sound with one backend: the right video, or an error that helps."""

from __future__ import annotations

import re

import anyio
import pytest

from cloudburst import Client, RenderOptions, Status, local
from cloudburst.errors import EncodeError, InvalidScenesError
from support.bad_inputs import EARLY, LATE
from support.once import made_once
from support.sample_media import (
    BLACK,
    BLUE,
    GREEN,
    PICTURES,
    RED,
    SOUNDS,
    WHITE,
)
from support.video_probe import corners, frame, probe

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

LANDSCAPE, PORTRAIT = (426, 240), (720, 1280)
STILL = RenderOptions(effects=(), background_box=False, size="426x240")

GREYS = [(16,) * 3, (80,) * 3, (160,) * 3, (240,) * 3]
SHOWN = {
    "odd": (PORTRAIT, [RED, GREEN, BLUE, WHITE]),
    "heic": (PORTRAIT, [RED, GREEN, BLUE, WHITE]),
    "turned": (PORTRAIT, [RED, GREEN, BLUE, WHITE]),
    "see-through": (LANDSCAPE, [RED, BLACK, BLUE, WHITE]),
    "grey16": (LANDSCAPE, GREYS),
}
"""Size of the video and its corners, where they are not those of the picture as it was drawn."""
SOUND_OF = dict(zip(PICTURES, SOUNDS, strict=True))
"""Kind of sound in the scene of each kind of picture."""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Return scenes and the report of their run, rendered once for all test processes."""
    return made_once(tmp_path_factory, "inputs", render_all)[1]


@pytest.fixture
def scenes(rendered):
    return rendered[0]


@pytest.fixture
def videos(rendered):
    return {video.scene: video for video in rendered[1].videos}


def render_all(folder):
    """Return scenes by name, and the report of their run.

    Each kind of sound is in the scene of a kind of picture. Some scenes cannot be rendered.
    """
    paths = {}
    for field, kinds in {"image": PICTURES, "audio": SOUNDS}.items():
        for kind, make in kinds.items():
            paths[field, kind] = folder / f"{field}-{kind}"
            make(paths[field, kind])
    plain = {"image": paths["image", "png"], "audio": paths["audio", "wav"]}
    scenes = {
        picture: {"name": picture, "image": paths["image", picture], "audio": paths["audio", sound]}
        for picture, sound in SOUND_OF.items()
    }
    for kind, (size, _) in SHOWN.items():
        if size == PORTRAIT:  # a size by its name, so that the picture decides which side is up
            scenes[kind]["options"] = {"size": "720p"}
    for name in LATE:
        scenes[name] = bad_scene(plain, folder, name, *LATE[name][:2])

    async def render():
        async with Client(local(workers=1), options=STILL) as client:
            return await client.render_all(scenes.values(), to=folder / "out")

    return scenes, anyio.run(render)


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_and_a_sound(videos, kind):
    video = videos[kind]
    size, colours = SHOWN.get(kind, (LANDSCAPE, [RED, GREEN, BLUE, WHITE]))
    found = probe(video.path)
    found.check(size=size, seconds=1.0, within=0.1)  # an mp3 adds up to two of its frames
    assert found.seconds == pytest.approx(video.seconds)
    assert 2500 < found.peak < 6000, f"{SOUND_OF[kind]}: the sine is an eighth of full scale"
    for shown, drawn in zip(corners(frame(video.path)), colours, strict=True):
        assert max(abs(a - b) for a, b in zip(shown, drawn, strict=True)) <= 12, shown


def test_all_that_the_client_can_see_is_told_at_once(scenes, tmp_path):
    bad = [bad_scene(scenes["png"], tmp_path, name, *EARLY[name][:2]) for name in EARLY]
    traps = ["../escape", "a/b", "..", "C:evil", "nul", "x" * 201]
    bad += [scenes["png"] | {"name": name} for name in traps]
    begun = []

    async def render():
        async with Client(local(workers=1)) as client:
            with pytest.raises(InvalidScenesError) as caught:
                async with client.stream(bad, to=tmp_path / "never") as run:
                    begun.append(run)
            return caught.value.faults

    faults = anyio.run(render)
    told = {(fault.scene, fault.field): fault for fault in faults}
    for name, (field, _, found, expected) in EARLY.items():
        fault = told.pop((name, field))
        assert re.search(found, fault.found), fault
        assert re.search(expected, fault.expected), fault
    assert len(told) == len(traps)
    assert {field for _, field in told} == {"name"}
    assert not begun
    assert not (tmp_path / "never").exists()


def test_what_only_decoding_shows_fails_that_scene_and_no_other(rendered, videos):
    scenes, report = rendered
    assert report.status is Status.PARTIAL
    assert videos.keys() == scenes.keys() - LATE.keys()
    errors = {error.scene: error for error in report.errors}
    assert errors.keys() == LATE.keys()
    for name, (field, _, found, expected) in LATE.items():
        error = errors[name]
        assert isinstance(error, EncodeError)
        assert not error.retryable
        assert error.field == field
        assert re.search(f"{field}: (?s:.*{found}.*); expected .*{expected}", str(error)), error
    attempts = {entry.scene: entry.attempts for entry in report.scenes}
    assert {attempts[name] for name in LATE} == {1}, "bad input is bad everywhere"
    folder = videos["png"].path.parent
    assert {path.stem for path in folder.glob("[!.]*")} == videos.keys()


def bad_scene(plain, folder, name, field, make):
    path = folder / f"bad {name}"
    make(path)
    return plain | {"name": name, field: path}
