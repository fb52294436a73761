"""Options for music and loudness, up to the request for the worker."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from cloudburst.cli import main
from cloudburst.errors import InvalidScenesError
from cloudburst.inputs.preflight import check_scenes
from cloudburst.inputs.scenes import read_scenes
from cloudburst.models.limits import Limits
from cloudburst.models.options import RenderOptions, describe_option_errors
from cloudburst.service.native_api import SceneJobRequest
from cloudburst.workers.http import public_image
from cloudburst.workers.http.job import JobPayload

HASH = "0" * 64


@pytest.fixture
def files(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 36), "teal").save(tmp_path / "a.png")
    for name, seconds in (("a.wav", 2), ("long.wav", 8)):
        with wave.open(str(tmp_path / name), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(bytes(2 * 8000 * seconds))
    return tmp_path


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("music", "a.mp3", Path("a.mp3")),
        ("music_volume", "0.5", 0.5),
        ("music_loop", "false", False),
        ("music_fade", "0", 0),
        ("music_ducking", "12.5", 12.5),
        ("loudness", "-16", -16),
    ],
)
def test_values_may_be_texts(option: str, text: str, value: object) -> None:
    options = RenderOptions.model_validate({option: text})
    assert getattr(options, option) == value
    assert getattr(RenderOptions(), option) != value


@pytest.mark.parametrize(
    ("option", "values", "expected"),
    [
        ("music_volume", (-0.1, 1.1, "nan", "loud"), "a number from 0 to 1"),
        ("music_loop", ("maybe", 2), "true or false"),
        ("music_fade", (-1, 61, "inf"), "a number of seconds from 0 to 60"),
        ("music_ducking", (-1, 41, "nan"), "a number of dB from 0 to 40"),
        ("loudness", (-41, -4, 14, "nan"), "a number of LUFS from -40 to -5, or nothing"),
        ("music", (5,), "the path or URL of an audio file"),
    ],
)
def test_bad_values_are_named(option: str, values: tuple[object, ...], expected: str) -> None:
    for value in values:
        with pytest.raises(ValidationError) as caught:
            RenderOptions.model_validate({option: value})
        (message,) = describe_option_errors(caught.value)
        assert message == f"{option} is {value!r}; expected {expected}"


@pytest.mark.parametrize(
    ("music", "found"),
    [("none.mp3", "no such file"), ("a.png", "a PNG picture"), ("long.wav", "8 seconds")],
)
def test_music_is_checked_as_audio_is(files: Path, music: str, found: str) -> None:
    scene = {"name": "one", "image": files / "a.png", "duration": 5}
    own: dict[str, Any] = scene | {"options": {"music": files / music}}
    limits = Limits(audio_seconds=6)
    for scenes, options, place in (
        ([scene], RenderOptions(music=files / music), ("options", "music")),
        ([own], RenderOptions(), ("one", "music")),
    ):
        with pytest.raises(InvalidScenesError) as caught:
            check_scenes(scenes, options, limits)
        (fault,) = caught.value.faults
        assert (fault.scene, fault.field) == place
        assert fault.found.startswith(found)


def test_files_of_scenes_have_their_own_music(files: Path) -> None:
    (files / "s.csv").write_text(
        "name,image,duration,music,music_volume,loudness\na,a.png,3,a.wav,0.7,-20\nb,a.png,3,,,\n"
    )
    run = RenderOptions(music=files / "long.wav")
    first, second = check_scenes(read_scenes(files / "s.csv"), run, Limits())
    assert first.options.music == files / "a.wav"
    assert (first.options.music_volume, first.options.loudness) == (0.7, -20)
    assert (second.options.music, second.options.loudness) == (files / "long.wav", None)


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--music-volume", "2"], "--music-volume is 2.0; expected a number from 0 to 1"),
        (["--music-fade", "-1"], "--music-fade is -1.0; expected a number of seconds"),
        (["--music-ducking", "50"], "--music-ducking is 50.0; expected a number of dB"),
        (["--loudness", "3"], "--loudness is 3.0; expected a number of LUFS"),
        (["--music", "none.mp3", "--no-music-loop"], "no such file"),
    ],
)
def test_the_command_line_has_the_options(
    files: Path, flags: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "s.json").write_text('[{"name": "a", "image": "a.png", "duration": 1}]')
    assert main(["render", str(files / "s.json"), "--to", str(files / "out"), *flags]) == 2
    captured = capsys.readouterr()
    assert expected.replace(" ", "") in "".join((captured.out + captured.err).split())


@pytest.mark.parametrize("options", [{"music": "a.wav"}, {"music_volume": 0.5}, {"loudness": -16}])
def test_the_public_image_has_neither(
    files: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.chdir(files)
    scene = {"name": "one", "image": "a.png", "audio": "a.wav"}
    (checked,) = check_scenes([scene], RenderOptions.model_validate(options), Limits())
    (fault,) = public_image.find_unsupported(checked, "the image")
    assert fault.field == f"options.{next(iter(options))}"


def test_a_request_names_the_music_by_its_hash() -> None:
    payload = JobPayload(name="a", image=HASH, audio=HASH, music="1" * 64, options=RenderOptions())
    request = SceneJobRequest.model_validate(payload.model_dump(mode="json", exclude_defaults=True))
    assert request.contents() == {"image": HASH, "audio": HASH, "music": "1" * 64}
    with pytest.raises(ValidationError, match="music: a path; expected the hash"):
        SceneJobRequest.model_validate(
            {"name": "a", "image": HASH, "duration": 1, "options": {"music": "/etc/passwd"}}
        )
