"""Videos of which no film is made: the error names the scene and the reason, in bounded time."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from PIL import Image

from cloudburst.film.plan import FilmFaultError, FilmScene
from support.film_scenes import as_scene, film_of, scene_video, sine
from support.video_probe import ffmpeg

SAMPLES = 1600


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "good"
    picture = Image.new("RGB", (16, 9), "teal")
    return scene_video(folder, picture, sine(0, 30 * SAMPLES), size="426x240")


def other(folder: Path, name: str, content: bytes = b"") -> FilmScene:
    (folder / name).mkdir()
    (folder / name / "video.mp4").write_bytes(content)
    return as_scene(folder / name / "video.mp4", folder / name)


def encoded(folder: Path, name: str, scene: FilmScene, *options: str) -> FilmScene:
    made = other(folder, name)
    ffmpeg("-i", scene.video, *options, made.video)
    return made


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-c:v", "libx264", "-c:a", "copy"), "another encoder"),
        (
            ("-c:v", "libx264", "-preset", "ultrafast", "-x264-params", "keyint=9"),
            "another encoder",
        ),
        (("-c:v", "mpeg4", "-c:a", "copy"), "not H.264"),
        (("-c:v", "copy", "-c:a", "libmp3lame"), "not AAC"),
        (("-c:v", "copy", "-c:a", "aac", "-ar", "44100"), "not AAC with 48000"),
        (("-c:v", "copy", "-c:a", "aac", "-ac", "1"), "not stereo"),
        (("-c:v", "copy", "-an"), "not one picture and one sound"),
        (("-vn", "-c:a", "copy"), "not one picture and one sound"),
        (("-c:v", "copy", "-c:a", "copy", "-f", "matroska"), "expected a video that"),
        (("-c:v", "copy", "-af", "atrim=0:0.5"), "a sound that ends before the picture"),
    ],
)
def test_a_video_of_another_program(scene, tmp_path, options, reason):
    bad = encoded(tmp_path, "other", scene, *options)
    with pytest.raises(FilmFaultError, match=rf"^other: .*{reason}"):
        film_of(tmp_path, [scene, bad])


def test_another_size(scene, tmp_path):
    tall = scene_video(tmp_path / "tall", Image.new("RGB", (9, 16)), sine(0, 3200), size="240x426")
    with pytest.raises(FilmFaultError, match="size: 426x240 in good, 240x426 in tall"):
        film_of(tmp_path, [scene, tall])


def test_a_scene_shorter_than_its_transitions(scene, tmp_path):
    with pytest.raises(FilmFaultError, match=r"good: 1\.00 s long; its transitions need 1\.20 s"):
        film_of(tmp_path, [scene] * 3, transition="crossfade", transition_seconds=0.6)
    film, _ = film_of(tmp_path, [scene] * 3, transition="crossfade", transition_seconds=0.5)
    assert film.exists()


def test_a_crossfade_across_a_gap(scene, tmp_path):
    crossed = dataclasses.replace(scene, transition="crossfade")
    with pytest.raises(FilmFaultError, match="good: a crossfade; expected cut or fade"):
        film_of(tmp_path, [scene, crossed, scene], film_gap=0.5)


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "zeros", "shuffled"])
def test_a_damaged_file(scene, tmp_path, kind):
    whole = Path(scene.video).read_bytes()
    start = whole.index(b"mdat") + 4
    content = {
        "empty": b"",
        "text": b"#EXTM3U\nfile:///etc/passwd\n",
        "cut": whole[: len(whole) // 2],
        "zeros": whole[:start] + bytes(len(whole) - start),
        "shuffled": whole[:start] + whole[: start - 1 : -1],
    }[kind]
    with pytest.raises(FilmFaultError, match=r"^bad: "):
        film_of(tmp_path, [scene, other(tmp_path, "bad", content)])


def test_a_pipe_is_not_opened(scene, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    bad = dataclasses.replace(scene, name="bad", video=str(tmp_path / "pipe"))
    with pytest.raises(FilmFaultError, match=r"bad: .*not a regular file"):
        film_of(tmp_path, [scene, bad])


def test_a_missing_file(scene, tmp_path):
    bad = dataclasses.replace(scene, name="bad", video=str(tmp_path / "nowhere.mp4"))
    with pytest.raises(FilmFaultError, match=r"bad: .*No such file"):
        film_of(tmp_path, [bad])


def test_subtitles_that_cannot_be_read(scene, tmp_path):
    (tmp_path / "bad.srt").write_text("no times here")
    bad = dataclasses.replace(scene, subtitle=str(tmp_path / "bad.srt"))
    with pytest.raises(FilmFaultError, match=r"good: .*bad\.srt: "):
        film_of(tmp_path, [bad])
