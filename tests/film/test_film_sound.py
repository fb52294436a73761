"""Sound over a whole film: music, one voice, and loudness."""

from __future__ import annotations

import math
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cloudburst.film.plan import FilmFaultError, FilmFile, FilmScene
from cloudburst.models.options.sound import SoundOptions
from support.audio_probe import damage, write_audio
from support.film_scenes import RATE, clicks, film_of, heard, scene_video, sine
from support.render_job import subtitle_file

pytestmark = pytest.mark.timeout(120)

SILENT_SECONDS = 3.0
"""Length of the scene that most films repeat."""


@pytest.fixture(scope="module")
def silent(tmp_path_factory) -> FilmScene:
    folder = tmp_path_factory.mktemp("scenes") / "silent"
    return rendered(folder, [0.0] * round(SILENT_SECONDS * RATE))


@pytest.fixture(scope="module")
def spoken(tmp_path_factory) -> FilmScene:
    """A scene with a tone in its middle second, as a voice."""
    folder = tmp_path_factory.mktemp("scenes") / "spoken"
    silence = [0.0] * RATE
    return rendered(folder, [*silence, *sine(0, RATE, 300, 0.3), *silence])


def rendered(folder: Path, sound: list[float]) -> FilmScene:
    return scene_video(folder, Image.new("RGB", (16, 9)), sound, size="320x240", effects=[])


def whole(path: Path) -> FilmFile:
    return FilmFile(str(path), "0" * 64)


def music_file(path: Path, seconds: float) -> Path:
    """Write noise below 2 kHz, which has the same level everywhere."""
    noise = np.random.default_rng(3).normal(0, 0.3, round(seconds * RATE))
    smooth = np.convolve(noise, np.hanning(24) / 12, "same").astype(np.float32)
    write_audio(path, array("f", smooth.tobytes()), channels=1)
    return path


def film_with(folder: Path, scenes: list[FilmScene], files: dict[str, Path], **sound: Any) -> Path:
    options = SoundOptions(**{"music_fade": 0, "music_volume": 1, **sound})
    given = {name: whole(path) for name, path in files.items()}
    return film_of(folder, scenes, files=given, sound=options)[0]


def level(samples: Any, first: float, last: float) -> float:
    """Return the level in dB of full scale from one second to another."""
    part = np.asarray(samples[round(first * RATE) : round(last * RATE)], np.float64)
    return 10 * math.log10(np.mean(part**2) + 1e-12)


def test_music_keeps_its_level_at_seams_and_where_it_is_repeated(tmp_path, silent):
    piece = 4.1
    music = music_file(tmp_path / "music.wav", piece)
    found = heard(film_with(tmp_path, [silent] * 4, {"film_music": music}))
    assert len(found) == pytest.approx(4 * SILENT_SECONDS * RATE, abs=1024)
    joins = [place * (piece - 0.02) for place in (1, 2)]
    usual = level(found, 0.5, 11.5)
    for seam in [3.0, 6.0, 9.0, *joins]:
        assert level(found, seam - 0.1, seam + 0.1) == pytest.approx(usual, abs=1.0)
    steps = np.abs(np.diff(np.asarray(found)))
    elsewhere = np.percentile(steps, 99.99)
    for join in joins:
        near = steps[round((join - 0.05) * RATE) : round((join + 0.05) * RATE)]
        assert near.max() < 1.2 * elsewhere, "a click"


def test_a_tone_is_repeated_without_a_click(tmp_path, silent):
    write_audio(tmp_path / "m.wav", array("f", sine(0, RATE + 37, 441.3, 0.5)), channels=1)
    found = np.asarray(heard(film_with(tmp_path, [silent], {"film_music": tmp_path / "m.wav"})))
    assert (
        np.abs(np.diff(found[RATE // 2 : -RATE // 2])).max() < 1.3 * 0.5 * math.tau * 441.3 / RATE
    )


def test_music_fades_at_the_ends_of_the_film_and_not_at_its_seams(tmp_path, silent):
    music = music_file(tmp_path / "music.wav", 20)
    film = film_with(tmp_path, [silent] * 3, {"film_music": music}, music_fade=2.0)
    found = heard(film)
    usual = level(found, 3.5, 5.5)
    assert level(found, 0, 0.1) < usual - 20
    assert level(found, 8.9, 9.0) < usual - 20
    for seam in (3.0, 6.0):
        assert level(found, seam - 0.1, seam + 0.1) == pytest.approx(usual, abs=1.0)


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    "how",
    [{"film_gap": 0.5}, {"transition": "crossfade"}, {"transition": "fade"}],
    ids=["gap", "crossfade", "fade"],
)
def test_music_goes_on_through_gaps_and_transitions(tmp_path, silent, how):
    music = whole(music_file(tmp_path / "music.wav", 20))
    options = SoundOptions(music_fade=0, music_volume=1)
    plan = {"files": {"film_music": music}, "sound": options, **how}
    found = heard(film_of(tmp_path, [silent] * 2, **plan)[0])
    usual = level(found, 0.5, 5.0)
    for place in np.arange(2.3, 3.7, 0.2):
        assert level(found, place, place + 0.2) == pytest.approx(usual, abs=1.0)


def test_music_that_is_played_once_ends_where_it_ends(tmp_path, silent):
    music = music_file(tmp_path / "music.wav", 4.0)
    film = film_with(tmp_path, [silent] * 2, {"film_music": music}, music_loop=False)
    found = heard(film)
    assert level(found, 3.0, 3.9) > -30
    assert level(found, 4.1, 6.0) < -60


def test_music_is_lowered_under_the_voice_of_every_scene(tmp_path, spoken):
    music = music_file(tmp_path / "music.wav", 20)
    plain = heard(film_with(tmp_path, [spoken] * 2, {"film_music": music}))
    ducked = heard(film_with(tmp_path, [spoken] * 2, {"film_music": music}, music_ducking=12))
    assert level(ducked, 0.2, 0.9) == pytest.approx(level(plain, 0.2, 0.9), abs=0.5)
    for voice in (1.0, 4.0):
        # What is left without the tone of the voice is the music.
        rest = [without_tone(each, voice + 0.3, voice + 0.9, 300) for each in (plain, ducked)]
        assert rest[0] - rest[1] == pytest.approx(12, abs=1.5)


def without_tone(samples: Any, first: float, last: float, hertz: float) -> float:
    part = np.asarray(samples[round(first * RATE) : round(last * RATE)], np.float64)
    spectrum = np.fft.rfft(part * np.hanning(len(part)))
    away = np.abs(np.fft.rfftfreq(len(part), 1 / RATE) - hertz) > 100
    return float(10 * np.log10(np.mean(np.abs(spectrum[away]) ** 2)))


def test_a_voice_over_the_film_replaces_the_sound_of_its_scenes(tmp_path, spoken):
    places = [0.5, 2.9, 3.1, 5.0]
    write_audio(
        tmp_path / "voice.wav",
        array("f", clicks(round(5.5 * RATE), [round(place * RATE) for place in places])),
        channels=1,
    )
    found = np.asarray(
        heard(film_with(tmp_path, [spoken] * 2, {"film_audio": tmp_path / "voice.wav"}))
    )
    loud = np.flatnonzero(np.abs(found) > 0.2) / RATE
    for place in places:
        assert np.abs(loud - place).min() < 0.001
    assert all(np.abs(np.asarray(places) - at).min() < 0.01 for at in loud), "nothing of the scenes"
    assert len(found) == pytest.approx(6 * RATE, abs=1024)


def test_a_voice_that_is_longer_than_the_pictures_is_a_fault(tmp_path, silent):
    write_audio(tmp_path / "voice.wav", array("f", sine(0, 4 * RATE)), channels=1)
    with pytest.raises(FilmFaultError, match=r"film_audio: 4\.00 s long; expected at most 3\.00 s"):
        film_with(tmp_path, [silent], {"film_audio": tmp_path / "voice.wav"})


@pytest.mark.few(1)
@pytest.mark.parametrize(("target", "name"), [(-23.0, "film_music"), (-14.0, "film_audio")])
def test_the_whole_film_has_the_wanted_loudness(tmp_path, spoken, target, name):
    file = music_file(tmp_path / "sound.wav", 8.5)
    film = film_with(tmp_path, [spoken] * 3, {name: file}, loudness=target)
    assert loudness(heard(film)) == pytest.approx(target, abs=0.5)


def loudness(mono: Any) -> float:
    """Return the integrated loudness in LUFS of a sound that both channels have (ITU-R BS.1770-4).

    It is written independently of FFmpeg's meter, with the filters as frequency responses.
    """
    samples = np.asarray(mono, np.float64)
    z = np.exp(-2j * math.pi * np.fft.rfftfreq(len(samples), 1 / RATE) / RATE)

    def biquad(b: tuple[float, ...], a: tuple[float, ...]) -> Any:
        return (b[0] + b[1] * z + b[2] * z**2) / (1 + a[0] * z + a[1] * z**2)

    shelf = biquad(
        (1.53512485958697, -2.69169618940638, 1.19839281085285),
        (-1.69065929318241, 0.73248077421585),
    )
    high_pass = biquad((1.0, -2.0, 1.0), (-1.99004745483398, 0.99007225036621))
    weighted = np.fft.irfft(np.fft.rfft(samples) * shelf * high_pass, len(samples))
    step = RATE // 10
    starts = range(0, len(weighted) - 4 * step + 1, step)
    powers = np.array([2 * np.mean(weighted[start : start + 4 * step] ** 2) for start in starts])
    powers = powers[-0.691 + 10 * np.log10(powers + 1e-12) > -70]
    gate = -0.691 + 10 * math.log10(np.mean(powers)) - 10
    kept = powers[-0.691 + 10 * np.log10(powers) > gate]
    return -0.691 + 10 * math.log10(np.mean(kept))


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("name", "suffix", "reason"),
    [
        ("film_music", "mp3", r"corrupt data at 0\.\d s; expected a whole file"),
        ("film_audio", "m4a", r"corrupt data at 0\.\d s; expected a whole file"),
        ("film_music", "ogg", r"1\.0 s of sound; expected 2\.0 s"),
        ("film_audio", "flac", r"1\.\d s of sound; expected 2\.0 s"),
    ],
)
def test_a_sound_that_is_broken_in_its_middle_is_a_fault(tmp_path, silent, name, suffix, reason):
    file = tmp_path / f"sound.{suffix}"
    write_audio(file, array("f", sine(0, 2 * RATE)), channels=1)
    damage(file, 8, 6)
    with pytest.raises(FilmFaultError, match=f"{name}: {reason}"):
        film_with(tmp_path, [silent], {name: file})


def test_music_too_short_to_be_repeated_is_a_fault(tmp_path, silent):
    file = music_file(tmp_path / "m.wav", 0.3)
    with pytest.raises(FilmFaultError, match=r"film_music: 0\.30 seconds; expected at least 0\.5"):
        film_with(tmp_path, [silent], {"film_music": file})


def test_a_file_without_sound_is_a_fault(tmp_path, silent):
    (tmp_path / "music").write_bytes(b"no music" * 100)
    with pytest.raises(FilmFaultError, match="film_music: a file that cannot be decoded"):
        film_with(tmp_path, [silent], {"film_music": tmp_path / "music"})


def test_subtitles_of_the_film_are_cut_at_its_end(tmp_path, silent):
    (tmp_path / "film.vtt").write_text(subtitle_file((0.5, 1.0, "one"), (2.0, 9.0, "two")))
    film = film_with(tmp_path, [silent], {"film_subtitle": tmp_path / "film.vtt"})
    text = film.with_suffix(".srt").read_text("utf-8")
    assert "00:00:00,500 --> 00:00:01,000\none" in text
    assert "00:00:02,000 --> 00:00:03,000\ntwo" in text
