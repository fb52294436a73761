"""Audio with known samples, videos that contain an audio track, and the audio that they play."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av

from cloudburst.renderer.audio_track import AudioTrack, open_track
from support.video_probe import ffmpeg

RATE = 48_000


def tone_samples(seconds: float, level: float, pitch: float = 440.0) -> array[float]:
    """Return interleaved stereo samples of a sine of this amplitude."""
    samples = array("f")
    for n in range(round(seconds * RATE)):
        samples.extend([level * math.sin(math.tau * pitch * n / RATE)] * 2)
    return samples


def quiet(seconds: float) -> array[float]:
    """Return interleaved stereo samples of silence."""
    return array("f", bytes(8 * round(seconds * RATE)))


def melody(seconds: float, channels: int = 2, rate: int = RATE) -> array[float]:
    """Return interleaved samples of tones that never repeat, so that a shift is noticed."""
    samples = array("f")
    for n in range(round(seconds * rate)):
        t = n / rate
        for channel in range(channels):
            pitch = 260 + 90 * channel + 40 * t
            samples.append(0.3 * math.sin(math.tau * pitch * t) * (0.7 + 0.3 * math.sin(9 * t)))
    return samples


def write_audio(path: Path, samples: array[float], *options: str, channels: int = 2) -> None:
    """Encode interleaved samples at 48 kHz with these options of ffmpeg."""
    raw = path.with_name(path.name + ".raw")
    raw.write_bytes(samples.tobytes())
    source = ("-f", "f32le", "-ar", str(RATE), "-ac", str(channels), "-i", raw)
    ffmpeg(*source, *options, path)
    raw.unlink()


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
                left, right = (array("f", bytes(plane)) for plane in frame.planes)
                for pair in zip(left[: frame.samples], right[: frame.samples], strict=True):
                    samples.extend(pair)
    return samples[: 2 * end]


def window(samples: array[float], start: float, end: float) -> array[float]:
    """Return the interleaved stereo samples between two times in seconds."""
    return samples[2 * round(start * RATE) : 2 * round(end * RATE)]


def tone_level(samples: array[float], pitch: float) -> float:
    """Return the amplitude of a sine of this pitch in the left channel of stereo samples."""
    left = samples[::2]
    sums = [0.0, 0.0]
    for n, sample in enumerate(left):
        angle = math.tau * pitch * n / RATE
        sums[0] += sample * math.sin(angle)
        sums[1] += sample * math.cos(angle)
    return 2 * math.hypot(*sums) / len(left)


def decibels(ratio: float) -> float:
    """Return a ratio of amplitudes in dB."""
    return 20 * math.log10(max(ratio, 1e-9))


def rms(samples: Sequence[float]) -> float:
    """Return the root mean square of the samples."""
    return math.sqrt(sum(sample * sample for sample in samples) / max(1, len(samples)))


def noise_ratio(found: Sequence[float], expected: Sequence[float]) -> float:
    """Return the signal-to-noise ratio over the common length, in dB."""
    pairs = list(zip(found, expected, strict=False))
    noise = rms([a - b for a, b in pairs])
    return 20 * math.log10(rms([b for _, b in pairs]) / max(noise, 1e-9))
