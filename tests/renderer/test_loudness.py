"""Loudness of videos, measured by another implementation of EBU R128: the ffmpeg program."""

from __future__ import annotations

import math
import re
from array import array
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from support.audio_probe import RATE, noise_ratio, played, quiet, rms, tone_samples, write_audio
from support.render_job import lay_job, rendered_here
from support.video_probe import ffmpeg

pytestmark = pytest.mark.real


class Measured(NamedTuple):
    loudness: float
    """Integrated loudness in LUFS."""
    peak: float
    """True peak in dB of full scale."""


def measured(path: Path) -> Measured:
    """Return the loudness of a file according to the ffmpeg program."""
    output = ffmpeg(
        *("-hide_banner", "-nostats", "-loglevel", "info"),
        *("-i", path, "-map", "0:a", "-af", "ebur128=peak=true", "-f", "null", "-"),
    ).stderr.decode()
    summary = output[output.rindex("Summary:") :]
    loudness = re.search(r"I:\s+(-?[\d.]+) LUFS", summary)
    peak = re.search(r"Peak:\s+(-?[\d.]+|-inf) dBFS", summary)
    assert loudness is not None
    assert peak is not None
    return Measured(float(loudness[1]), float(peak[1]))


def both(left: np.ndarray, right: np.ndarray) -> array[float]:
    return array("f", np.stack([left, right], axis=1).astype(np.float32).tobytes())


def speech(seconds: float, level: float) -> array[float]:
    """Return noise in syllables, with pauses and single loud ones, as in speech."""
    t = np.arange(round(seconds * RATE)) / RATE
    syllable = np.sqrt(np.maximum(0, np.sin(math.tau * 4 * t))) * (t % 2.5 < 2)
    stress = np.where((4 * t).astype(int) % 5, 1.0, 2.2)
    noise = np.random.default_rng(7).normal(0, 0.25, len(t))
    soft = np.convolve(noise, 0.8 ** np.arange(60))[: len(t)]
    sound = level * stress * syllable * soft
    return both(sound, sound)


def chords(seconds: float, level: float) -> array[float]:
    """Return chords of three tones, different on the left and on the right, as in music."""
    t = np.arange(round(seconds * RATE)) / RATE
    root = np.array((220, 262, 294, 330))[(2 * t).astype(int) % 4]
    fading = level / 3 * np.exp(-2 * (t % 0.5))
    sides = (
        fading * sum(np.sin(math.tau * root * side * ratio * t) for ratio in (1, 1.25, 1.5))
        for side in (1, 1.01)
    )
    return both(*sides)


SOUNDS = {
    "speech": partial(speech, 6, 0.2),
    "faint speech": partial(speech, 6, 0.02),
    "chords": partial(chords, 5, 0.5),
    "loud chords": partial(chords, 5, 1),
}


@cache
def sound_of(name: str) -> array[float]:
    """Return a sound, which is made by the first test that needs it."""
    return SOUNDS[name]()


def loud(folder: Path, sound: array[float], target: float, **job: Any) -> dict[str, Any]:
    lay_job(folder, loudness=target, size="240x240", **job)
    write_audio(folder / "audio", sound, "-f", "wav", "-c:a", "pcm_f32le")
    return rendered_here(folder)


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("target", [-30, -16])
@pytest.mark.parametrize("name", SOUNDS)
def test_a_video_has_the_wanted_loudness(tmp_path: Path, name: str, target: float) -> None:
    done = loud(tmp_path, sound_of(name), target)
    found = measured(tmp_path / "video.mp4")
    assert found.loudness == pytest.approx(target, abs=0.5)
    assert found.peak <= -1
    assert done["warnings"] == []


def test_one_gain_changes_the_whole_sound(tmp_path: Path) -> None:
    """The sound is only louder or quieter: no part of it is changed more than another."""
    sound = sound_of("chords")
    loud(tmp_path, sound, -26)
    made = played(tmp_path / "video.mp4")
    factor = rms(made) / rms(sound)
    assert noise_ratio(made, array("f", [factor * sample for sample in sound])) > 30


def test_a_target_that_needs_hard_limiting_is_reached_with_a_warning(tmp_path: Path) -> None:
    done = loud(tmp_path, sound_of("speech"), -9)
    found = measured(tmp_path / "video.mp4")
    assert found.peak <= -1
    assert len(done["warnings"]) == 1
    assert re.match(
        r"loudness: (peaks are lowered by|-\d+\.\d LUFS in place of)", done["warnings"][0]
    )


def test_an_unreachable_target_is_a_warning(tmp_path: Path) -> None:
    done = loud(tmp_path, tone_samples(2, 1e-3), -14)
    (warning,) = done["warnings"]
    assert re.fullmatch(
        r"loudness: -\d\d\.\d LUFS in place of -14, which would need a gain of more than 30 dB",
        warning,
    )
    assert measured(tmp_path / "video.mp4").loudness < -25


@pytest.mark.parametrize("seconds", [0.3, 2])
def test_silence_stays_silent(tmp_path: Path, seconds: float) -> None:
    done = loud(tmp_path, quiet(seconds), -14)
    assert done["warnings"] == []
    assert max(map(abs, played(tmp_path / "video.mp4"))) < 1e-6


def test_a_sound_that_is_too_short_is_not_changed(tmp_path: Path) -> None:
    sound = tone_samples(0.3, 0.1)
    loud(tmp_path, sound, -14)
    assert noise_ratio(played(tmp_path / "video.mp4"), sound) > 25


@pytest.mark.few(1)
@pytest.mark.parametrize("target", [-23, -14])
def test_the_loudness_is_that_of_voice_and_music(tmp_path: Path, target: float) -> None:
    write_audio(tmp_path / "music", sound_of("chords"), "-f", "mp3")
    loud(tmp_path, sound_of("faint speech"), target, music_volume=0.5, music_ducking=6)
    found = measured(tmp_path / "video.mp4")
    assert found.loudness == pytest.approx(target, abs=0.5)
    assert found.peak <= -1


def test_music_alone_has_the_wanted_loudness(tmp_path: Path) -> None:
    write_audio(tmp_path / "music", sound_of("chords"), "-f", "wav")
    rendered_here(lay_job(tmp_path, duration=8, loudness=-20, music_fade=1, size="240x240"))
    assert measured(tmp_path / "video.mp4").loudness == pytest.approx(-20, abs=0.5)


def test_a_video_without_any_sound_ignores_the_loudness(tmp_path: Path) -> None:
    done = rendered_here(lay_job(tmp_path, duration=1, loudness=-20, size="240x240"))
    assert (done["frames"], done["warnings"]) == (30, [])
