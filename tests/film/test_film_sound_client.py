"""Sound of a whole film in runs: what is checked before, the lengths of scenes, and resuming."""

from __future__ import annotations

import random
import wave
from array import array
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from cloudburst import Client, RenderOptions, Status, local
from cloudburst.errors import ConfigurationError, InvalidScenesError
from cloudburst.film.request import check_film, film_request
from cloudburst.inputs.preflight import check_scenes
from cloudburst.inputs.remote_inputs import open_remote_inputs
from cloudburst.models.film import FilmRequest
from cloudburst.models.limits import Limits
from cloudburst.models.report import Report
from cloudburst.models.scene import Scene, voice_part
from cloudburst.testing import FakeCloud
from support.audio_probe import write_audio
from support.film_scenes import RATE, clicks, heard, labelled, sine, write_sound
from support.render_job import subtitle_file
from support.video_probe import probe

pytestmark = [pytest.mark.anyio, pytest.mark.real]

SMALL = RenderOptions(size="426x240", effects=())
SEAMS = (0.51, 1.29)
"""Ends of the first two scenes in the voice, in seconds."""


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a voice of 2 s that has clicks at the seams, and with music."""
    monkeypatch.chdir(tmp_path)
    for name, colour in (("a", "red"), ("b", "lime"), ("c", "blue")):
        Image.new("RGB", (32, 18), colour).save(f"{name}.png")
    write_sound(tmp_path / "voice.wav", clicks(2 * RATE, [round(at * RATE) for at in SEAMS]))
    write_sound(tmp_path / "music.wav", sine(0, 2 * RATE))
    return tmp_path


def told(**last: float) -> list[dict[str, object]]:
    """Return three scenes without audio, of which the last one lasts to the end."""
    return [
        {"name": "a", "image": "a.png", "until": SEAMS[0]},
        {"name": "b", "image": "b.png", "duration": SEAMS[1] - SEAMS[0]},
        {"name": "c", "image": "c.png", **last},
    ]


async def render(scenes, options=SMALL, **arguments) -> Report:
    async with Client(local(workers=1), options=options) as client:
        return await client.render_all(scenes, to="out", film="film.mp4", **arguments)


def first_frames(film) -> list[int]:
    """Return the number of the first frame of each colour."""
    with av.open(str(film)) as container:
        hues = [
            np.asarray(frame.to_image()).mean((0, 1)).argmax()
            for frame in container.decode(video=0)
        ]
    return [hues.index(hue) for hue in range(3)]


async def test_scenes_share_one_voice_and_its_subtitles_and_a_resumed_run_does_too(folder):
    (folder / "words.srt").write_text(subtitle_file((0.2, 0.8, "over a seam"), (1.0, 1.2, "two")))
    film = {"film_audio": "voice.wav", "film_subtitle": "words.srt"}
    report = await render(told(), **film, name="story")
    assert (report.status, report.film_error) == (Status.COMPLETE, None)
    assert probe(folder / "film.mp4").seconds == pytest.approx(2.0, abs=0.02)
    assert first_frames(folder / "film.mp4") == [0, 15, 39]
    loud = np.flatnonzero(np.abs(np.asarray(heard(folder / "film.mp4"))) > 0.2) / RATE
    for frame, seam in zip((15, 39), SEAMS, strict=True):
        assert np.abs(loud - seam).min() < 0.001
        assert abs(frame / 30 - seam) < 0.02
    assert labelled(folder / "film.mp4") == [*range(6, 24), *range(30, 36)]
    assert [labelled(folder / "out" / f"{name}.mp4") for name in "abc"] == [
        [*range(6, 15)],
        [*range(9), *range(15, 21)],
        [],
    ]
    assert (folder / "film.srt").read_text().count("over a seam") == 1
    made = (folder / "film.mp4").stat().st_mtime_ns
    again = await render(told(), **film, resume=True)
    assert (again.run, again.skipped) == ("story", ("a", "b", "c"))
    assert (folder / "film.mp4").stat().st_mtime_ns == made
    write_sound(folder / "voice.wav", sine(0, 2 * RATE))
    changed = await render(told(), **film, resume=True)
    assert (changed.skipped, changed.film_error) == (("a", "b", "c"), None)
    assert (folder / "film.mp4").stat().st_mtime_ns > made
    assert np.abs(np.asarray(heard(folder / "film.mp4"))[RATE // 10 :]).max() > 0.3


@pytest.mark.nightly
@pytest.mark.timeout(1800)
async def test_a_voice_is_in_time_after_an_hour(folder):
    chance = random.Random(1)
    seams = np.cumsum([chance.uniform(20, 40) for _ in range(120)])
    # Each scene has another grey than its neighbours; the voice has a click at each seam.
    for grey in (0, 100, 200):
        Image.new("RGB", (32, 18), (grey, grey, grey)).save(f"{grey}.png")
    with wave.open("voice.wav", "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        done = 0
        for seam in seams:
            samples = np.zeros(round(seam * RATE) - done + 8, np.int16)
            samples[-8:] = [30_000, -30_000] * 4
            out.writeframes(samples.tobytes())
            done += len(samples)
    names = [f"{100 * (number % 3)}.png" for number in range(120)]
    scenes = [
        {"name": str(number), "image": image, "until": float(seam)}
        for number, (image, seam) in enumerate(zip(names, seams, strict=True))
    ]
    report = await render(scenes, film_audio="voice.wav")
    assert report.film_error is None
    changes, heard_at = [], []
    with av.open("film.mp4") as container:
        last = 0.0
        for number, frame in enumerate(container.decode(video=0)):
            if abs((luma := bytes(frame.planes[0])[0]) - last) > 20 and number:
                changes.append(number / 30)
            last = luma
    with av.open("film.mp4") as container:
        for frame in container.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.2)
            heard_at += [float(frame.pts * frame.time_base) + place / RATE for place in loud]
    assert len(changes) == 119
    at = np.asarray(heard_at)
    for change, seam in zip(changes, seams, strict=False):
        click = at[np.abs(at - seam).argmin()]
        assert abs(click - seam) < 0.002
        assert abs(change - click) < 0.02


async def test_scenes_that_come_share_one_voice_and_its_subtitles(folder):
    (folder / "words.srt").write_text(subtitle_file((0.2, 0.8, "over a seam"), (1.4, 1.8, "three")))
    film = {"film": "film.mp4", "film_audio": "voice.wav", "film_subtitle": "words.srt"}
    how = {"transition": "crossfade", "transition_seconds": 0.2}
    async with (
        Client(local(workers=1), options=SMALL) as client,
        client.stream(to="out", **film, **how) as run,
    ):
        for bad in ({"image": "none.png", "until": 1.0}, {"image": "a.png", "until": 0.01}):
            with pytest.raises(InvalidScenesError):
                await run.submit({"name": "a", **bad})
        for scene in told():
            await run.submit(scene)
        report = await run.until_done()
    assert (report.status, report.film_error) == (Status.COMPLETE, None)
    assert labelled(folder / "film.mp4") == [*range(6, 24), *range(42, 54)]


async def test_scenes_that_come_and_end_before_the_voice_make_no_film(folder):
    async with (
        Client(FakeCloud().backend, options=SMALL) as client,
        client.stream(to="out", film="film.mp4", film_audio="voice.wav") as run,
    ):
        for scene in told()[:2]:
            await run.submit(scene)
        report = await run.until_done()
    expected = "film_audio: the scenes end at 1.29 s; expected 2.00 s, where the voice ends"
    assert (report.status, report.film_error) == (Status.COMPLETE, expected)
    assert not (folder / "film.mp4").exists()


@pytest.mark.nightly
async def test_crossfades_begin_at_the_positions_in_the_voice(folder):
    report = await render(
        told(), film_audio="voice.wav", transition="crossfade", transition_seconds=0.2
    )
    assert report.film_error is None
    assert probe(folder / "film.mp4").seconds == pytest.approx(2.0, abs=0.02)
    with av.open("film.mp4") as container:
        starts = [float(each["start"] * each["time_base"]) for each in container.chapters()]
    assert starts == pytest.approx([0, *SEAMS], abs=0.02)


async def test_broken_music_fails_the_film_and_the_videos_stay(folder):
    write_audio(folder / "music.mp3", array("f", sine(0, 2 * RATE)), channels=1)
    data = bytearray((folder / "music.mp3").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1500] = bytes(1500)
    (folder / "music.mp3").write_bytes(data)
    scenes = [{"name": "a", "image": "a.png", "duration": 1.5}]
    report = await render(scenes, film_music="music.mp3")
    assert report.film_error is not None
    assert "film_music: corrupt data" in report.film_error
    assert [path.name for path in (folder / "out").glob("*.mp4")] == ["a.mp4"]
    assert not (folder / "film.mp4").exists()


@pytest.mark.nightly
async def test_loudness_of_the_run_is_that_of_the_film(folder):
    scenes = [{"name": "a", "image": "a.png", "audio": "music.wav"}]
    options = SMALL.overridden_by(RenderOptions(loudness=-30.0))
    await render(scenes, options, film_music="voice.wav")
    plain = float(np.std(np.asarray(heard(folder / "out" / "a.mp4"))))
    assert plain == pytest.approx(0.5 * 32_000 / 32_768 / 2**0.5, rel=0.02), "as in the file"
    assert float(np.std(np.asarray(heard(folder / "film.mp4")))) < 0.2 * plain


SCENE = {"name": "a", "image": "a.png"}


@pytest.mark.parametrize(
    ("scenes", "film", "reason"),
    [
        ([SCENE | {"audio": "music.wav"}], {}, "a: audio: audio of a scene and of the film"),
        (
            [SCENE | {"until": 1.0}, {"name": "b", "image": "b.png", "until": 0.9}],
            {},
            "b: until: a",
        ),
        ([SCENE | {"until": 2.0}, {"name": "b", "image": "b.png"}], {}, "a position of 2.00 s"),
        ([SCENE | {"until": 1.0, "duration": 2.0}], {}, "duration and until; expected one of"),
        ([SCENE | {"until": 1.0}], {}, "a: until: an end at 1.00 s; expected nothing, or 2.00 s"),
        (
            [SCENE | {"until": 1.0}],
            {"film_audio": None},
            'expected film_audio="voice.m4a" (--film-',
        ),
        (
            [SCENE, *({"name": name, "image": "a.png"} for name in "bc")],
            {},
            "b: until: nothing; expected until or duration: only the last scene may have neither",
        ),
        ([SCENE], {"film_audio": None}, "a: audio: nothing; expected"),
        (
            [SCENE | {"options": {"music": "music.wav"}}],
            {"film_music": "music.wav"},
            "music of a scene and of the film",
        ),
        (
            [SCENE | {"subtitle": "film.srt"}],
            {"film_subtitle": "film.srt"},
            "subtitles of a scene and of the film",
        ),
    ],
)
async def test_bad_scenes_of_a_film_start_nothing(folder, scenes, film, reason):
    (folder / "film.srt").write_text("1\n00:00:00,100 --> 00:00:00,300\nHello\n")
    arguments = {"film": "story.mp4", "film_audio": "voice.wav"} | film
    async with Client(FakeCloud().backend) as client:
        with pytest.raises(InvalidScenesError) as caught:
            await client.render_all(scenes, to="out", **arguments)
    assert reason in str(caught.value)


async def test_a_scene_that_comes_after_the_one_without_an_end_is_refused(folder):
    async with (
        Client(FakeCloud().backend) as client,
        client.stream(to="out", film="film.mp4", film_audio="voice.wav") as run,
    ):
        await run.submit(SCENE)
        with pytest.raises(InvalidScenesError) as caught:
            await run.submit({"name": "b", "image": "a.png", "duration": 1.0})
    assert str(caught.value) == (
        "b: until: a scene after a, which has neither until nor duration; "
        "expected no scene after it"
    )


@pytest.mark.parametrize(
    ("film", "reason"),
    [
        ({"film_music": "none.mp3"}, "film_music: .*none.mp3"),
        ({"film_music": "a.png"}, "film_music: a PNG picture: .*; expected an audio file"),
        ({"film_music": "short.wav"}, "film_music: 0.10 seconds: .*; expected at least 0.5"),
        ({"film_audio": "s3://bucket/voice.mp3"}, "film_audio: s3://.*; expected a file on this"),
        ({"film_subtitle": "https://"}, "film_subtitle: "),
        ({"film_subtitle": "film.srt"}, "film.srt is an input of the run"),
        (
            {"film": "other.mp4", "film_audio": "one.wav", "film_subtitle": "arabic.srt"},
            "film_subtitle: Arabic char",
        ),
        ({"film": None, "film_music": "music.wav"}, "belongs: set film .--film."),
        ({"options": RenderOptions(music="a.wav"), "film_music": "music.wav"}, "music: "),
    ],
)
async def test_bad_files_of_a_film_start_nothing(folder, film, reason):
    (folder / "arabic.srt").write_text(subtitle_file((0.1, 0.3, "\u0645\u0631")))
    write_sound(folder / "short.wav", sine(0, RATE // 10))
    write_sound(folder / "one.wav", sine(0, RATE))
    (folder / "film.srt").write_text("1\n00:00:00,100 --> 00:00:00,300\nHello\n")
    async with Client(FakeCloud().backend) as client:
        with pytest.raises(ConfigurationError, match=reason):
            await client.render_all(
                [SCENE | {"duration": 1.0}], to="out", **({"film": "film.mp4"} | film)
            )


def test_a_voice_without_a_length_needs_the_end_of_every_scene(folder):
    write_audio(folder / "voice.aac", array("f", sine(0, RATE)), channels=1)
    request = film_request("film.mp4", film_audio="voice.aac")
    assert request is not None
    with open_remote_inputs() as remote:
        film = check_film(request, RenderOptions(), Limits(), remote)
    with pytest.raises(InvalidScenesError, match="film_audio has no length in its header"):
        check_scenes([SCENE], RenderOptions(), Limits(), film=film)


@pytest.mark.parametrize("fps", [24, 25, 30])
def test_no_error_adds_up_over_many_parts(tmp_path, fps):
    chance, shown = random.Random(fps), Fraction()
    film, position, end = FilmRequest(path=tmp_path / "film.mp4"), 0.0, 0.0
    for number in range(200):
        length = chance.uniform(0.1, 30)
        position += length
        by = {"until": position} if number % 2 else {"duration": length}
        part, end = voice_part(film, end, Scene(name="a", image="a.png", **by), fps)
        assert part.duration is not None
        shown += round(part.duration * fps) / Fraction(fps)
        assert abs(float(shown) - position) <= 0.5 / fps + 1e-6
