"""Sound that one coder of FFmpeg's encoder makes quieter is encoded with another one."""

from __future__ import annotations

import io
import math

import av
import numpy as np
import pytest
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame

from cloudburst.renderer.audio_frames import SAMPLE_RATE
from cloudburst.renderer.sound_encoder import PACKET_SAMPLES, SoundEncoder, _encoded

pytestmark = pytest.mark.real

SECOND = np.arange(SAMPLE_RATE) / SAMPLE_RATE
FULL = math.tau * SECOND
NOISE = np.random.default_rng(3).standard_normal(SAMPLE_RATE)


def voice() -> np.ndarray:
    """Return a second that changes like a voice, with noise."""
    tones = sum(np.sin(140 * k * FULL + 0.5 * k * np.sin(3 * FULL)) / k for k in range(1, 25))
    return (tones * (0.5 + 0.5 * np.sin(4 * FULL)) * 0.3 + 0.03 * NOISE).clip(-1, 1)


def frames(sound: np.ndarray, size: int) -> list[AudioFrame]:
    both = np.stack([sound, sound]).astype(np.float32)
    found = []
    for start in range(0, len(sound), size):
        part = np.ascontiguousarray(both[:, start : start + size])
        frame = AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
        frame.sample_rate = SAMPLE_RATE
        found.append(frame)
    return found


def encoded(sound: np.ndarray, *, checked: bool = True, size: int = 1500) -> list[bytes]:
    with av.open(io.BytesIO(), "w", format="mp4") as container:
        encoder = SoundEncoder(container)
        if checked:
            return [data for part in [*frames(sound, size), None] for data in encoder.encode(part)]
        packets = list(_encoded(encoder.stream, frames(sound, PACKET_SAMPLES), 0))
        return [*packets, *map(bytes, encoder.stream.encode(None))]


def ratios(packets: list[bytes], sound: np.ndarray) -> np.ndarray:
    """Return the signal-to-noise ratio of each packet but the first, in dB."""
    decoder = AudioCodecContext.create("aac", "r")
    decoder.extradata = b"\x11\x90"
    parts = [part.to_ndarray()[0] for data in packets for part in decoder.decode(av.Packet(data))]
    count = len(sound) // PACKET_SAMPLES
    found = np.concatenate(parts[1 : 1 + count]).reshape(count, -1)
    given = sound[: count * PACKET_SAMPLES].reshape(count, -1)
    noise = ((found - given) ** 2).sum(1)
    return 10 * np.log10((given**2).sum(1) / np.maximum(noise, 1e-9))


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("sound", "least"),
    [
        (0.89 * np.sin(1000 * FULL), 35),
        (0.71 * np.sin(300 * FULL), 35),
        (0.8 * np.sin(880 * FULL + 0.3 * np.sin(5 * FULL)), 30),
        (0.89 * np.sin(55 * FULL), 11),
    ],
    ids=["beep", "sine", "flute", "bass"],
)
def test_loud_single_tones_keep_their_level(sound: np.ndarray, least: float) -> None:
    plain, checked = (np.median(ratios(encoded(sound, checked=on), sound)) for on in (False, True))
    assert plain < 17
    assert checked > max(least, plain + 3)


@pytest.mark.few(7, spread=True)
@pytest.mark.parametrize(
    "sound",
    [voice(), 0.4 * np.sin(300 * FULL), 0.3 * NOISE.clip(-3, 3), 0 * SECOND],
    ids=["voice", "quiet tone", "noise", "silence"],
)
@pytest.mark.parametrize("size", [PACKET_SAMPLES, 1500, 100, SAMPLE_RATE])
def test_other_sound_is_encoded_once_whatever_its_frames(sound: np.ndarray, size: int) -> None:
    assert encoded(sound, size=size) == encoded(sound, checked=False)


@pytest.mark.few(4, spread=True)
@pytest.mark.parametrize("samples", [1, 1000, 1024, 1025, 48_000, 51_200, 51_201, 100_000])
def test_the_packets_cover_the_sound(samples: int) -> None:
    sound = np.tile(0.9 * np.sin(1000 * FULL), 3)[:samples]
    assert len(encoded(sound)) == len(encoded(sound, checked=False)) >= -(-samples // 1024)


def test_only_seconds_with_the_tone_change_and_the_seams_are_clean() -> None:
    beep = 0.95 * np.sin(1000 * FULL)
    sound = np.concatenate([voice(), voice(), beep, beep, voice(), voice(), voice()])
    plain, checked = encoded(sound, checked=False), encoded(sound)
    changed = [place for place in range(len(plain)) if plain[place] != checked[place]]
    assert changed == list(range(changed[0], changed[-1] + 1))
    assert 80 < changed[0] < 95
    assert changed[-1] < 240
    before, after = ratios(plain, sound), ratios(checked, sound)
    assert after[96:186].min() > 30
    assert np.median(before[96:186]) < 15
    for seam in (changed[0], changed[-1]):
        around = slice(seam - 5, seam + 5)
        assert (after[around] > before[around] - 4).all()
