"""Cues that begin after the end of the sound: a fault if all do, a warning if some do."""

from __future__ import annotations

import json

import anyio
import pytest

from cloudburst import Client, RenderOptions, local, plan
from cloudburst.cli import main
from cloudburst.errors import InvalidScenesError
from cloudburst.inputs.preflight import check_scenes
from cloudburst.models.limits import Limits
from cloudburst.testing import FakeCloud
from support.audio_probe import tone_samples, write_audio
from support.speech_files import edge_tts, speech

SPOKEN = speech("One~.", "Two~.", pause=59_000)  # from 0.1 s and from 59.4 s
ASS = (
    "[Script Info]\n[Events]\nFormat: Start, End, Text\n"
    "Dialogue: 0:00:50.00,0:00:51.00,two\nDialogue: 0:00:{},0:00:49.00,one\n"
)
FORMATS = {
    "srt": "1\n00:00:50,000 --> 00:00:51,000\ntwo\n\n2\n00:00:{},000 --> 00:00:49,000\none\n",
    "vtt": "WEBVTT\n\n00:50.000 --> 00:51.000\ntwo\n\n00:{}.000 --> 00:49.000\none\n",
    "ass": ASS,
    "lrc": "[00:50.00]two\n[00:{}.00]one\n",
    "json": '[{{"text": "1", "start": {}, "end": 49}}, {{"text": "2", "start": 50, "end": 51}}]',
}


@pytest.fixture
def anyio_backend():
    return "asyncio"  # files are read in threads


@pytest.fixture
def scene(make_scene, tmp_path):
    """Return a function that makes a scene of a second with subtitles, one late and one from a
    time in seconds."""

    def make(suffix="srt", first="00", **more):
        file = tmp_path / f"late.{suffix}"
        file.write_text(FORMATS[suffix].format(int(first) if suffix == "json" else first), "utf-8")
        return make_scene("a") | {"subtitle_path": file} | more

    return make


def faults_of(*scenes):
    with pytest.raises(InvalidScenesError) as caught:
        check_scenes(scenes, RenderOptions(), Limits())
    return caught.value.faults


@pytest.mark.parametrize("suffix", FORMATS)
def test_subtitles_that_all_begin_after_the_end_are_a_fault(scene, suffix):
    (fault,) = faults_of(scene(suffix, "48"))
    assert (fault.scene, fault.field, fault.code) == ("a", "subtitle_path", "out_of_range")
    assert fault.found.startswith("2 of 2 cues begin after the end, 1.0 s: /")
    assert "in the unit of their format" in fault.expected


def test_fault_is_found_for_a_scene_with_a_duration(scene):
    silent = scene(first="48", audio_path=None, duration=47.5)
    (fault,) = faults_of(silent)
    assert fault.found.startswith("2 of 2 cues begin after the end, 47.5 s")
    (checked,) = check_scenes([silent | {"duration": 48.1}], RenderOptions(), Limits())
    assert list(checked.cue_starts) == [48_000, 50_000]


@pytest.mark.anyio
@pytest.mark.parametrize("suffix", FORMATS)
async def test_some_late_cues_are_a_warning_of_plan_and_report(scene, suffix, tmp_path):
    scenes, text = [scene(suffix)], "subtitle: 1 of 2 cues begin after the end, 1.0 s"
    planned = await plan(scenes, backend=local())
    assert planned.scenes[0].warnings == (text,)
    async with Client(FakeCloud().backend) as client:
        report = await client.render_all(scenes, to=tmp_path / "out")
    assert report.videos[0].warnings == (text,)


def test_plan_of_the_command_has_the_warning(scene, tmp_path, capsys):
    listed = tmp_path / "scenes.json"
    listed.write_text(json.dumps([scene(first="00")], default=str), "utf-8")
    assert main(["plan", str(listed), "--backend", "local"]) == 0
    assert "a: subtitle: 1 of 2 cues begin after the end, 1.0 s" in capsys.readouterr().out


@pytest.mark.real
@pytest.mark.parametrize("first", ["00", "48"])
def test_length_that_only_decoding_shows_gives_a_warning_after_the_run(scene, first, tmp_path):
    write_audio(tmp_path / "a.aac", tone_samples(1, 0.2))
    scenes = [scene(first=first, audio_path=tmp_path / "a.aac", image_path=None, title_card="A")]

    async def render():
        options = RenderOptions(size="426x240")
        async with Client(local(workers=1), options=options) as client:
            return await client.render_all(scenes, to=tmp_path / "out")

    (video,) = anyio.run(render).videos
    late = 1 if first == "00" else 2
    assert video.warnings == (f"subtitle: {late} of 2 cues begin after the end, 1.0 s",)


@pytest.mark.anyio
async def test_subtitles_of_a_film_after_its_voice_are_a_fault(make_scene, tmp_path):
    file = tmp_path / "film.json"
    file.write_text(json.dumps(edge_tts(SPOKEN[1:])), "utf-8")
    one = make_scene("a")
    film = {"film_audio": one.pop("audio_path"), "film_subtitle": file}
    found = await plan([one], backend=local(), film=tmp_path / "film.mp4", **film)
    (fault,) = found.faults
    assert (fault.scene, fault.field) == ("", "film_subtitle")
    assert fault.found.startswith("1 of 1 cues begin after the end, 1.0 s: /")
    file.write_text(json.dumps(edge_tts(SPOKEN)), "utf-8")
    found = await plan([one], backend=local(), film=tmp_path / "film.mp4", **film)
    assert (found.faults, found.scenes[0].warnings) == ((), ())
