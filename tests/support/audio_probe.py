"""Audio with known samples, videos that contain an audio track, and the audio that they play."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import av
import numpy as np

from cloudburst.renderer.audio_track import AudioTrack, open_track
from support.video_probe import ffmpeg

RATE = 48_000

Samples: TypeAlias = Sequence[float] | np.ndarray


def tone_samples(seconds: float, level: float, pitch: float = 440.0) -> array[float]:
    """Return interleaved stereo samples of a sine of this amplitude."""
    tone = level * np.sin(math.tau * pitch * np.arange(round(seconds * RATE)) / RATE)
    return array("f", np.repeat(tone.astype(np.float32), 2).tobytes())


def quiet(seconds: float) -> array[float]:
    """Return interleaved stereo samples of silence."""
    return array("f", bytes(8 * round(seconds * RATE)))


def melody(seconds: float, channels: int = 2, rate: int = RATE) -> array[float]:
    """Return interleaved samples of tones that never repeat, so that a shift is noticed."""
    t = np.arange(round(seconds * rate))[:, np.newaxis] / rate
    pitch = 260 + 90 * np.arange(channels) + 40 * t
    tones = 0.3 * np.sin(math.tau * pitch * t) * (0.7 + 0.3 * np.sin(9 * t))
    return array("f", tones.astype(np.float32).tobytes())


def write_audio(path: Path, samples: array[float], *options: str, channels: int = 2) -> None:
    """Encode interleaved samples at 48 kHz with these options of ffmpeg."""
    path.write_bytes(_encoded(samples.tobytes(), options, channels, path.suffix))


@cache
def _encoded(raw: bytes, options: tuple[str, ...], channels: int, suffix: str) -> bytes:
    """Return an encoded file; many tests begin with the same one."""
    with TemporaryDirectory() as folder:
        source, output = Path(folder, "raw"), Path(folder, f"audio{suffix}")
        source.write_bytes(raw)
        form = ("-f", "f32le", "-ar", str(RATE), "-ac", str(channels), "-i", source)
        ffmpeg(*form, *options, output)
        return output.read_bytes()


def decoded(path: Path, *options: str) -> array[float]:
    """Return the interleaved stereo samples at 48 kHz that the ffmpeg program decodes."""
    output = ("-map", "0:a:0", "-ac", "2", "-ar", str(RATE), "-f", "f32le", "pipe:1")
    samples = array("f")
    samples.frombytes(ffmpeg("-i", path, *options, *output).stdout)
    return samples


def damage(path: Path, first: int, count: int) -> None:
    """Overwrite packets with bytes that no decoder accepts."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux() if packet.size]
    raw = bytearray(path.read_bytes())
    for position, size in packets[first : first + count]:
        assert position is not None
        raw[position : position + size] = b"\x6e" * size
    path.write_bytes(raw)


def finish(track: AudioTrack, path: Path) -> Path:
    """Write a video of black frames with the audio track, interleaved, and return its path."""
    options = {"movflags": "+faststart", "movie_timescale": str(RATE)}
    with av.open(str(path), "w", format="mp4", options=options) as out, open_track(track) as sound:
        video = out.add_stream("libx264", 30, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        audio = out.add_stream_from_template(sound.template)
        for number in range(track.frames):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            out.mux(video.encode(frame))
            for packet in sound.packets_before(number + 1):
                packet.stream = audio
                out.mux(packet)
        out.mux(video.encode(None))
        for packet in sound.rest():
            packet.stream = audio
            out.mux(packet)
    return path


def played(path: Path) -> array[float]:
    """Return the interleaved samples that a player plays of a video with 48 kHz and stereo.

    A player skips the priming and cuts the last packet, as the edit list of the file says.
    """
    samples = array("f")
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert (stream.rate, stream.layout.name, stream.profile) == (RATE, "stereo", "LC")
        assert stream.start_time == 0
        end = stream.duration
        for packet in container.demux(stream):
            for frame in packet.decode():
                channels = [
                    np.frombuffer(plane, np.float32)[: frame.samples] for plane in frame.planes
                ]
                samples.frombytes(np.stack(channels, axis=1).tobytes())
    return samples[: 2 * end]


def window(samples: array[float], start: float, end: float) -> array[float]:
    """Return the interleaved stereo samples between two times in seconds."""
    return samples[2 * round(start * RATE) : 2 * round(end * RATE)]


def tone_level(samples: array[float], pitch: float) -> float:
    """Return the amplitude of a sine of this pitch in the left channel of stereo samples."""
    left = np.asarray(samples, dtype=np.float64)[::2]
    wave = np.exp(1j * math.tau * pitch * np.arange(len(left)) / RATE)
    return 2 * abs(np.dot(left, wave)) / len(left)


def decibels(ratio: float) -> float:
    """Return a ratio of amplitudes in dB."""
    return 20 * math.log10(max(ratio, 1e-9))


def rms(samples: Samples) -> float:
    """Return the root mean square of the samples."""
    values = np.asarray(samples, dtype=np.float64)
    return math.sqrt(np.dot(values, values) / max(1, len(values)))


def noise_ratio(found: Samples, expected: Samples) -> float:
    """Return the signal-to-noise ratio over the common length, in dB."""
    common = min(len(found), len(expected))
    signal = np.asarray(expected[:common], dtype=np.float64)
    noise = rms(np.asarray(found[:common], dtype=np.float64) - signal)
    return 20 * math.log10(rms(signal) / max(noise, 1e-9))
