"""Preparation of a job's audio: the caller's file becomes the audio track of the video.

The file is decoded once. Its packets are copied if they are what the encoder would produce;
otherwise the audio is encoded while it is decoded.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

from av.audio.frame import AudioFrame

from cloudburst.renderer import process_limits
from cloudburst.renderer.audio_converter import StereoConverter
from cloudburst.renderer.audio_copy import copy_packets
from cloudburst.renderer.audio_frames import SAMPLE_RATE
from cloudburst.renderer.audio_source import AudioSource, open_source, reporting_faults
from cloudburst.renderer.audio_track import (
    SAMPLES_PER_FRAME,
    AudioTrack,
    TrackWriter,
    open_writer,
)
from cloudburst.renderer.job import AUDIO

TRACK_FILE = "audio.m4a"
"""Name of the finished audio, which the renderer adds to a job's folder."""

_MAX_DENOMINATOR = 10**12
"""Largest denominator of an exact length. The lengths of usual sample rates stay far below it; a
file with hundreds of different rates would make exact calculations slow."""


def prepare_audio(folder: Path, limit: float) -> AudioTrack:
    """Convert the audio in a job's folder to an audio track of at most ``limit`` seconds.

    The audio is decoded to find its length, because headers may be wrong; that of an mp3 is the
    least reliable. Corrupt packets are replaced by silence of the same length, so that the audio
    after them stays in its place. The memory of the process is limited during the call. There is
    no limit of its CPU time afterwards.

    Raises:
        InputFaultError: the file is not valid audio, is too long, has too many corrupt packets, or
            needs too much memory or CPU time.
    """
    path = folder / TRACK_FILE
    with process_limits.decoding_audio() as budget:
        with open_source(folder / AUDIO, limit, budget) as source:
            if track := copy_packets(source, path):
                return track
        with open_source(folder / AUDIO, limit, budget) as source:
            return _encode(source, path)


class _Length:
    """Exact length of decoded audio."""

    def __init__(self) -> None:
        self._seconds = Fraction(0)
        """Length of the parts with other sample rates."""
        self._samples: int = 0
        self._rate: int = SAMPLE_RATE

    @property
    def samples(self) -> int:
        """Length in samples at `SAMPLE_RATE`, rounded up."""
        return math.ceil((self._seconds + Fraction(self._samples, self._rate)) * SAMPLE_RATE)

    def add(self, samples: int, rate: int) -> None:
        """Add samples of a sample rate."""
        if rate != self._rate:
            self.add_seconds(Fraction(self._samples, self._rate))
            self._samples, self._rate = 0, rate
        self._samples += samples

    def add_seconds(self, seconds: Fraction) -> None:
        """Add a length in seconds."""
        self._seconds += seconds
        if self._seconds.denominator > _MAX_DENOMINATOR:
            self._seconds = self._seconds.limit_denominator(SAMPLE_RATE)


class _Encoder:
    """Encoder of decoded frames whose parameters may change."""

    def __init__(self, writer: TrackWriter, expected: str) -> None:
        self._writer = writer
        self._expected = expected
        self._converter: StereoConverter | None = None
        self.length = _Length()

    def add(self, frame: AudioFrame) -> None:
        """Convert and encode a frame."""
        if self._converter is not None and not self._converter.accepts(frame):
            self.flush()
        with reporting_faults(self._expected):
            if self._converter is None:
                self._converter = StereoConverter(frame)
            converted = self._converter.convert(frame)
        self.length.add(frame.samples, frame.sample_rate)
        for part in converted:
            self._writer.encode(part)

    def add_silence(self, seconds: Fraction) -> None:
        """Encode silence of a length in seconds."""
        self.flush()
        self.length.add_seconds(seconds)
        self._writer.encode_silence(self.length.samples)

    def flush(self) -> None:
        """Encode the audio that the converter still holds."""
        if self._converter is None:
            return
        with reporting_faults(self._expected):
            rest = self._converter.convert(None)
        self._converter = None
        for part in rest:
            self._writer.encode(part)
        self._writer.encode_silence(self.length.samples)


def _encode(source: AudioSource, path: Path) -> AudioTrack:
    """Encode the audio of a source, padded with silence to whole frames of the video."""
    missing = replaced = Fraction(0)
    with open_writer(path) as writer:
        encoder = _Encoder(writer, source.expected)
        for packet in source.decoded():
            if packet.corrupt:
                missing += packet.seconds
            elif packet.frames and missing:
                # Silence at the end would keep nothing in its place, so it is not added there.
                encoder.add_silence(missing)
                replaced += missing
                missing = Fraction(0)
            for frame in packet.frames:
                encoder.add(frame)
        encoder.flush()
        frames = -(-encoder.length.samples // SAMPLES_PER_FRAME)
        writer.encode_silence(frames * SAMPLES_PER_FRAME)
        priming = writer.finish_encoding()
    return AudioTrack(
        path=path,
        frames=frames,
        copied=False,
        replaced_seconds=float(replaced),
        samples=frames * SAMPLES_PER_FRAME,
        priming=priming,
    )
