"""Every kind of input through one warm backend: the right video, or an error that helps."""

from __future__ import annotations

import re

import anyio
import pytest
from making import (
    BLACK,
    BLUE,
    GREEN,
    PICTURES,
    RED,
    SOUNDS,
    SUBTITLES,
    WHITE,
    bomb,
    cut,
    png_header,
    saved,
    tone,
    written,
)
from PIL import ImageChops, ImageStat
from probing import corners, ffmpeg, frame, probe

from cloudburst import Client, InvalidScenesError, Limits, RenderOptions, Status, local
from cloudburst.errors import GenerateError

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

LANDSCAPE, PORTRAIT = (1920, 1080), (1080, 1920)
STILL = RenderOptions(effects=(), background_box=False)

GREYS = [(16,) * 3, (80,) * 3, (160,) * 3, (240,) * 3]
SHOWN = {
    "odd": (PORTRAIT, [RED, GREEN, BLUE, WHITE]),
    "turned": (PORTRAIT, [RED, GREEN, BLUE, WHITE]),
    "see-through": (LANDSCAPE, [RED, BLACK, BLUE, WHITE]),
    "grey16": (LANDSCAPE, GREYS),
}
"""Size of the video and its corners, where they are not those of the picture as it was drawn."""
LOOSE = {"cmyk", "tiny"}
"""Pictures whose colours are not those that were drawn: by conversion, or by being so small."""


def only_pictures(path):
    ffmpeg("-f", "lavfi", "-i", "color=size=64x64:duration=1", "-f", "mp4", path)


def rotten_png(path):
    """Well-formed chunks whose content is no picture: only decoding shows it."""
    path.write_bytes(png_header(640, 360, b"IDAT" + b"this was never deflated" * 50))


def two_hours(path):
    """Of silence, in some hundred kilobytes."""
    ffmpeg(
        *("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "7200"),
        *("-f", "flac", "-c:a", "flac", path),
    )


EARLY = {
    "empty picture": ("image", written(b""), "an empty file", "a picture"),
    "cut png": (
        "image",
        lambda p: cut(p, PICTURES["png"], 0.6),
        "broken|too early",
        "picture|whole",
    ),
    "cut jpg": ("image", lambda p: cut(p, PICTURES["jpg"], 0.6), "too early", "the whole file"),
    "cut webp": (
        "image",
        lambda p: cut(p, PICTURES["webp"], 0.6),
        "a WebP picture",
        "picture|whole",
    ),
    "text as picture": ("image", written(b"Dear harbour,\n"), "text", "a picture"),
    "sound as picture": ("image", SOUNDS["mp3-cbr"], "an mp3 sound", "a picture"),
    "60000x60000": (
        "image",
        written(png_header(60_000, 60_000, b"IDAT")),
        "60000×60000 pixels",
        "at most 100,000,000 pixels",
    ),
    "bomb": ("image", bomb, "20000×20000 pixels", "at most 100,000,000 pixels"),
    "empty sound": ("audio", written(b""), "an empty file", "a sound"),
    "picture as sound": ("audio", PICTURES["png"], "a PNG picture", "a sound"),
    "text as sound": ("audio", written("海港".encode()), "text", "a sound"),
    "two hours": ("audio", two_hours, "7200 seconds", "at most 3600 seconds"),
    "sound as subtitle": ("subtitle", SOUNDS["wav"], "a wav sound", "subtitles|lines like"),
    "no cue": ("subtitle", written(b"Once upon a time"), "without any line of timing", "-->"),
    "empty subtitle": ("subtitle", written(b""), "an empty file", "subtitles"),
}
"""What the client sees before anything starts: field, file, what it finds and what it wants."""
LATE = {
    "rotten png": ("image", rotten_png, "broken data", "a picture"),
    "no sound in it": ("audio", only_pictures, "", "mp3, wav"),
    "cut to its header": ("audio", lambda p: cut(p, SOUNDS["flac"], 0.003), "", "mp3, wav"),
    "cut m4a": ("audio", lambda p: cut(p, SOUNDS["m4a"], 0.5), "", "mp3, wav"),
}
"""What only decoding shows, so that the worker says it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="module")
def scenes(folder):
    """By ``field:kind``; what a kind is not about is the simplest there is."""
    paths = {}
    for field, kinds in {"image": PICTURES, "audio": SOUNDS, "subtitle": SUBTITLES}.items():
        for kind, make in kinds.items():
            paths[field, kind] = folder / f"{field}-{kind}"
            make(paths[field, kind])
    paths["audio", "half"] = folder / "half"
    tone(paths["audio", "half"], "-f", "wav", seconds=0.5)
    paths["image", "black"] = folder / "black"
    saved(64, 36, mode="1", format="PNG")(paths["image", "black"])
    plain = {"image": paths["image", "png"], "audio": paths["audio", "half"]}
    return {
        f"{field}-{kind}": {"name": f"{field}-{kind}", **plain, field: path}
        for (field, kind), path in paths.items()
    }


@pytest.fixture(scope="module")
def videos(scenes, folder):
    """All of them, rendered in one go."""

    async def render():
        async with Client(local(workers=2, encoders=1), options=STILL) as client:
            return await client.render_all(scenes.values(), to=folder / "out")

    report = anyio.run(render)
    report.raise_for_failures()
    assert report.status is Status.COMPLETE
    return {video.scene: video for video in report.videos}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture(videos, kind):
    video = videos[f"image-{kind}"]
    size, colours = SHOWN.get(kind, (LANDSCAPE, [RED, GREEN, BLUE, WHITE]))
    probe(video.path).check(size=size, seconds=0.5)
    tolerance = 60 if kind in LOOSE else 12
    for shown, drawn in zip(corners(frame(video.path)), colours, strict=True):
        assert max(abs(a - b) for a, b in zip(shown, drawn, strict=True)) <= tolerance, shown


@pytest.mark.parametrize("kind", SOUNDS)
def test_a_sound(videos, kind):
    video = videos[f"audio-{kind}"]
    found = probe(video.path)
    found.check(size=LANDSCAPE, seconds=1.0, within=0.1)  # an mp3 adds up to two of its frames
    assert found.seconds == pytest.approx(video.seconds)
    assert 2500 < found.peak < 6000, "ffmpeg's sine is an eighth of full scale"


@pytest.mark.parametrize("kind", SUBTITLES)
def test_subtitles(videos, kind):
    video = videos[f"subtitle-{kind}"]
    probe(video.path).check(size=LANDSCAPE, seconds=0.5)
    shown = frame(video.path, 0.2)
    lower = (0, 700, 1920, 1080)
    bare = frame(videos["image-png"].path, 0.2).crop(lower)
    drawn = (
        ImageChops.difference(shown.crop(lower), bare).convert("L").point(lambda v: 255 * (v > 60))
    )
    assert ImageStat.Stat(drawn).mean[0] > 1, "nothing is written there"
    same = frame(videos["subtitle-utf-8"].path, 0.2)
    assert ImageChops.difference(shown, same).getbbox() is None


def test_all_that_the_client_can_see_is_told_at_once(scenes, folder):
    bad = [bad_scene(scenes, folder, name, *EARLY[name][:2]) for name in EARLY]
    traps = ["../escape", "a/b", "..", "C:evil", "nul", "x" * 201]
    bad += [scenes["image-png"] | {"name": name} for name in traps]
    begun = []

    async def render():
        async with Client(local(workers=1)) as client:
            with pytest.raises(InvalidScenesError) as caught:
                async with client.stream(bad, to=folder / "never") as run:
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
    assert not (folder / "never").exists()


def test_what_only_decoding_shows_fails_that_scene_and_no_other(scenes, folder):
    bad = [bad_scene(scenes, folder, name, *LATE[name][:2]) for name in LATE]
    good = scenes["image-png"] | {"name": "good"}

    async def render():
        async with Client(local(workers=1), options=STILL, limits=Limits(attempts=3)) as client:
            return await client.render_all([*bad, good], to=folder / "late")

    report = anyio.run(render)
    assert report.status is Status.PARTIAL
    assert [video.scene for video in report.videos] == ["good"]
    errors = {error.scene: error for error in report.errors}
    assert errors.keys() == LATE.keys()
    for name, (field, _, found, expected) in LATE.items():
        error = errors[name]
        assert isinstance(error, GenerateError)
        assert not error.retryable
        assert error.field == field
        assert re.search(f"{field}: (?s:.*{found}.*); expected .*{expected}", str(error)), error
    assert {entry.attempts for entry in report.scenes} == {1}, "bad input is bad everywhere"
    assert [path.name for path in (folder / "late").glob("[!.]*")] == ["good.mp4"]


def bad_scene(scenes, folder, name, field, make):
    path = folder / f"bad {name}"
    make(path)
    return scenes["image-png"] | {"name": name, field: path}
