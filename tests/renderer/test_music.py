"""Music of a video: levels, seams, fades, ducking, faults; measured in the sound of videos."""

from __future__ import annotations

import math
from array import array
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cloudburst.renderer.job import InputFaultError, RenderJob
from cloudburst.renderer.mixed_audio import mixed_track
from support.audio_probe import (
    damage,
    decibels,
    decoded,
    finish,
    melody,
    noise_ratio,
    played,
    quiet,
    rms,
    tone_level,
    tone_samples,
    window,
    write_audio,
)
from support.hostile_media import SOUNDS, Case
from support.render_job import lay_job, outcome, render_here, rendered_here

pytestmark = pytest.mark.real

MUSIC = tone_samples(0.75, 0.5)
"""A sine of 330 periods, which can be repeated without a step."""


def rendered_sound(folder: Path, *kind: str, music: array[float], **job: Any) -> array[float]:
    """Render a job with music in a format of ffmpeg, and return the sound of the video."""
    write_audio(folder / "music", music, *(kind or ("-f", "wav")))
    rendered_here(lay_job(folder, size="240x240", **job))
    return played(folder / "video.mp4")


def mixed(folder: Path, music: array[float], voice: array[float], **options: Any) -> array[float]:
    """Mix a voice with music, and return the sound that a player plays of it."""
    write_audio(folder / "music", music, "-f", "wav")
    lay_job(folder, **options)
    write_audio(folder / "audio", voice, "-f", "wav")
    job = RenderJob.from_json((folder / "job.json").read_bytes())
    return played(finish(mixed_track(folder, job, lambda _: None), folder / "video.mp4"))


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("options", "factor"),
    [({}, 0.2), ({"music_volume": 0.6}, 0.6), ({"music_volume": "1"}, 1), ({"music_volume": 0}, 0)],
)
def test_the_volume_is_a_factor(tmp_path: Path, options: dict[str, Any], factor: float) -> None:
    sound = rendered_sound(tmp_path, music=MUSIC, duration=1.5, music_fade=0, **options)
    assert len(sound) == 2 * 48_000 * 1.5
    level = rms(window(sound, 0.1, 1.4)) * math.sqrt(2)
    assert level == pytest.approx(0.5 * factor, rel=0.02, abs=1e-4)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "kind",
    [
        ("-f", "wav"),
        ("-f", "wav", "-ar", "44100"),
        ("-f", "flac", "-ar", "32000"),
        ("-f", "mp3", "-b:a", "192k"),
        ("-f", "mp3", "-b:a", "192k", "-ar", "44100"),
        ("-f", "ipod", "-c:a", "aac", "-b:a", "192k"),
        ("-f", "ogg", "-c:a", "libopus", "-b:a", "192k"),
    ],
    ids=" ".join,
)
def test_music_is_repeated_without_a_gap_or_a_click(tmp_path: Path, kind: tuple[str, ...]) -> None:
    sound = rendered_sound(tmp_path, *kind, music=MUSIC, duration=2, music_fade=0, music_volume=1)
    expected = tone_samples(2, 0.5)
    assert noise_ratio(sound[4800:-4800], expected[4800:-4800]) > 20
    for seam in (0.75, 1.5):
        near = window(sound, seam - 0.05, seam + 0.05)
        assert max(map(abs, near)) < 0.56
        assert noise_ratio(near, window(expected, seam - 0.05, seam + 0.05)) > 18


def test_music_that_is_not_repeated_ends_in_silence(tmp_path: Path) -> None:
    options = {"music_loop": False, "music_fade": 0.2, "music_volume": 1}
    sound = rendered_sound(tmp_path, music=MUSIC, duration=1.5, **options)
    assert rms(window(sound, 0.25, 0.5)) * math.sqrt(2) == pytest.approx(0.5, abs=0.01)
    assert rms(window(sound, 0.64, 0.66)) * math.sqrt(2) == pytest.approx(0.25, abs=0.02)
    assert len(sound) == 2 * 48_000 * 1.5
    assert max(map(abs, window(sound, 0.78, 1.5))) < 0.001


@pytest.mark.few(1)
@pytest.mark.parametrize(("seconds", "fade"), [(3, 1), (1, 0.5), (1, 60)])
def test_the_music_fades_in_and_out(tmp_path: Path, seconds: float, fade: float) -> None:
    sound = rendered_sound(tmp_path, music=MUSIC, duration=seconds, music_fade=fade, music_volume=1)
    fade = min(fade, seconds / 2)
    for share in (0.1, 0.25, 0.5, 0.9):
        for at in (fade * share, seconds - fade * share):
            level = rms(window(sound, at - 0.02, at + 0.02)) * math.sqrt(2)
            assert level == pytest.approx(0.5 * share, abs=0.015), at
    assert len(sound) == round(2 * 48_000 * seconds)
    assert max(map(abs, sound[:20])) < 0.002
    assert max(map(abs, sound[-20:])) < 0.002
    assert max(map(abs, sound[-1000:])) > 0.002  # the end of the fade is the end of the video


@pytest.mark.few(1)
@pytest.mark.parametrize("music", ["longer", "shorter"])
def test_voice_and_music_are_added(tmp_path: Path, music: str) -> None:
    voice = melody(1.31)
    tune = tone_samples(3, 0.5, 1000) if music == "longer" else MUSIC
    sound = mixed(tmp_path, tune, voice, music_fade=0)
    assert len(sound) == 2 * 1600 * 40  # 39.3 frames of voice
    pitch = 1000 if music == "longer" else 440
    expected = tone_samples(40 / 30, 0.1, pitch)
    for n, sample in enumerate(voice):
        expected[n] += sample
    assert noise_ratio(sound, expected) > 25


def test_options_without_music_change_nothing(tmp_path: Path) -> None:
    videos = list[bytes]()
    ineffective: dict[str, Any] = {"music_volume": 1, "music_ducking": 20, "music_fade": 0}
    for name, options in (("plain", dict[str, Any]()), ("options", ineffective)):
        (tmp_path / name).mkdir()
        rendered_here(lay_job(tmp_path / name, size="240x240", **options))
        videos.append((tmp_path / name / "video.mp4").read_bytes())
    assert videos[0] == videos[1]


def ducked(folder: Path, voice: array[float], ducking: float) -> list[float]:
    """Return the level of music in each 50 ms in dB, compared with music without a voice."""
    music = tone_samples(0.5, 0.5, 2000)
    options = {"music_fade": 0, "music_volume": 0.4, "music_ducking": ducking}
    sound = mixed(folder, music, voice, **options)
    steps = len(sound) // 4800
    return [
        decibels(tone_level(window(sound, n / 20, (n + 1) / 20), 2000) / 0.2) for n in range(steps)
    ]


@pytest.mark.few(1)
@pytest.mark.parametrize("level", [0.5, 0.1, 0.02])
@pytest.mark.parametrize("ducking", [6, 15])
def test_the_voice_lowers_the_music_by_an_exact_depth(
    tmp_path: Path, level: float, ducking: float
) -> None:
    """Whatever the level of the voice; afterwards the music is as loud as before."""
    voice = quiet(1) + tone_samples(1.5, level, 300) + quiet(3)
    levels = ducked(tmp_path, voice, ducking)
    assert levels[2:19] == pytest.approx([0] * 17, abs=0.3)
    assert levels[25:50] == pytest.approx([-ducking] * 25, abs=0.5)
    assert levels[95:109] == pytest.approx([0] * 14, abs=0.7)
    assert all(abs(b - a) < 0.8 * ducking for a, b in pairwise(levels[18:28]))
    assert all(0 <= b - a + 0.3 < 0.1 * ducking + 0.6 for a, b in pairwise(levels[30:109]))


def test_the_music_does_not_change_in_short_pauses(tmp_path: Path) -> None:
    voice = array("f")
    for _ in range(4):
        voice += tone_samples(0.5, 0.1, 300) + quiet(0.5)
    levels = ducked(tmp_path, voice, 12)
    assert levels[6:78] == pytest.approx([-12] * 72, abs=0.7)


def test_faint_noise_is_no_voice(tmp_path: Path) -> None:
    levels = ducked(tmp_path, tone_samples(1, 0.001, 300), 12)
    assert levels[1:19] == pytest.approx([0] * 18, abs=0.5)


def test_the_mix_of_loud_sounds_does_not_clip(tmp_path: Path) -> None:
    tones = (tone_samples(1, 0.3, pitch) for pitch in (440, 660, 880))
    loud = array("f", map(sum, zip(*tones, strict=True)))
    sound = mixed(tmp_path, loud, loud, music_volume=1, music_fade=0)
    assert 0.85 < max(map(abs, sound)) <= 0.95


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("music", "options", "found"),
    [
        (b"no sound at all", {}, "cannot be decoded"),
        (b"", {}, "cannot be decoded"),
        (0.3, {}, "0.30 seconds"),
        (1.5, {"limits": {"audio_seconds": 1}}, "more than 1 seconds"),
    ],
    ids=["text", "empty", "short", "long"],
)
def test_bad_music_is_a_fault_of_the_music(
    tmp_path: Path, music: bytes | float, options: dict[str, Any], found: str
) -> None:
    lay_job(tmp_path, seconds=0.9, **options)
    if isinstance(music, bytes):
        (tmp_path / "music").write_bytes(music)
    else:
        lay_job(tmp_path, duration=2, **options)
        write_audio(tmp_path / "music", tone_samples(music, 0.5), "-f", "wav")
    with pytest.raises(InputFaultError) as caught:
        render_here(tmp_path)
    fault = caught.value.fault
    assert fault.field == "music"
    assert found in fault.found
    assert str(tmp_path) not in fault.found


def test_short_music_may_be_played_once(tmp_path: Path) -> None:
    music = tone_samples(0.3, 0.5)
    sound = rendered_sound(
        tmp_path, music=music, duration=1, music_loop=False, music_fade=0, music_volume=1
    )
    assert rms(window(sound, 0.05, 0.25)) > 0.3
    assert rms(window(sound, 0.35, 1)) < 0.001


def test_bad_audio_beside_music_is_a_fault_of_the_audio(tmp_path: Path) -> None:
    write_audio(tmp_path / "music", MUSIC, "-f", "wav")
    lay_job(tmp_path)
    (tmp_path / "audio").write_bytes(b"no sound")
    with pytest.raises(InputFaultError) as caught:
        render_here(tmp_path)
    assert caught.value.fault.field == "audio"


def test_corrupt_music_is_replaced_by_silence_with_a_warning(tmp_path: Path) -> None:
    write_audio(tmp_path / "music", tone_samples(2, 0.5), "-f", "ipod", "-c:a", "aac")
    damage(tmp_path / "music", 20, 10)
    done = rendered_here(
        lay_job(tmp_path, duration=1.9, music_fade=0, music_volume=1, size="240x240")
    )
    assert done["warnings"] == ["music: 0.21 s of corrupt data were replaced by silence"]
    sound = played(tmp_path / "video.mp4")
    assert rms(window(sound, 0.5, 0.6)) < 0.01 < rms(window(sound, 0.8, 1.8))


def test_ffmpeg_decodes_the_same_mix(tmp_path: Path) -> None:
    """The track is a valid AAC stream for others too."""
    sound = rendered_sound(tmp_path, music=MUSIC, duration=1, music_volume=1, music_fade=0)
    assert noise_ratio(decoded(tmp_path / "video.mp4"), sound) > 40


@pytest.mark.few(1)
@pytest.mark.parametrize("fps", [24, 50])
def test_the_music_ends_with_a_video_of_another_frame_rate(tmp_path: Path, fps: int) -> None:
    sound = rendered_sound(tmp_path, music=MUSIC, duration=1, fps=fps, music_volume=1, music_fade=1)
    assert len(sound) == 2 * 48_000
    assert rms(window(sound, 0.74, 0.76)) * math.sqrt(2) == pytest.approx(0.25, abs=0.02)


HOSTILE = {"wav of 64 channels", "wav that claims hours", "m4a of 40 million samples"}


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "case", [case for case in SOUNDS if case.name in HOSTILE], ids=lambda case: case.name
)
def test_hostile_music_is_judged_as_audio_is(tmp_path: Path, case: Case) -> None:
    case.make(tmp_path / "music")
    code, lines, _ = outcome(lay_job(tmp_path, duration=1))
    if case.ends == "done":
        assert code == 0
    else:
        assert (code, lines[-1]["fault"]["field"]) == (2, "music")
