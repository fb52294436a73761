"""Decoded audio in the format of a video's audio: stereo at 48 kHz, with gaps filled."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator
from fractions import Fraction
from itertools import pairwise

from av.audio.frame import AudioFrame
from av.filter import Graph

from cloudburst.renderer.audio_frames import (
    SAMPLE_FORMAT,
    SAMPLE_RATE,
    available_frames,
    layout_name,
    silent_frames,
)
from cloudburst.renderer.audio_source import DecodedPacket, reporting_faults

# Largest denominator of an exact length. The lengths of usual sample rates stay far below it; a
# file with hundreds of different rates would make exact calculations slow.
_MAX_DENOMINATOR = 10**12


class StereoConverter:
    """Converter for frames with the sample format, channels and sample rate of its first frame."""

    # Mono is copied to both channels at full level; FFmpeg's own conversion would lower it by 3
    # dB. More than two channels are mixed as by the ffmpeg program. Floating-point samples are
    # limited to full scale, which makes the conversion 5 % slower.

    def __init__(self, frame: AudioFrame) -> None:
        self._parameters = _parameters(frame)
        sample_format, layout, rate = self._parameters
        graph = Graph()
        filters = [
            graph.add(
                "abuffer",
                sample_rate=str(rate),
                sample_fmt=sample_format,
                channel_layout=layout,
                time_base=f"1/{rate}",
            )
        ]
        if frame.layout.nb_channels == 1:
            filters.append(graph.add("pan", "stereo|c0=c0|c1=c0"))
        filters.append(
            graph.add(
                "aformat",
                sample_rates=str(SAMPLE_RATE),
                sample_fmts=SAMPLE_FORMAT,
                channel_layouts="stereo",
            )
        )
        if sample_format.startswith(("flt", "dbl")):
            # The encoder stops at samples that are not finite or huge. Integers limit them.
            filters += (graph.add("aformat", sample_fmts=name) for name in ("s32p", SAMPLE_FORMAT))
        self._sink = graph.add("abuffersink")
        for source, target in pairwise((*filters, self._sink)):
            source.link_to(target)
        graph.configure()
        self._graph = graph

    def accepts(self, frame: AudioFrame) -> bool:
        """Return whether the frame has the parameters of the first frame."""
        return _parameters(frame) == self._parameters

    def convert(self, frame: AudioFrame | None) -> list[AudioFrame]:
        """Return the converted audio that is available after a frame.

        ``None`` ends the audio: the result is the rest, and the converter cannot be used again.
        """
        if frame is not None:
            frame.pts = None  # the audio is continuous; the times in the file are ignored
        self._graph.push(frame)
        return list(available_frames(self._sink))


def _parameters(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, layout_name(frame), frame.sample_rate


class _Length:
    def __init__(self) -> None:
        # Length of the parts with other sample rates.
        self._seconds = Fraction(0)
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


class StereoAudio:
    """Audio of decoded packets, converted while they are read; its parameters may change."""

    # Corrupt packets are replaced by silence of the same length, so that the audio after them
    # stays in its place.

    def __init__(self, packets: Iterator[DecodedPacket], field: str) -> None:
        self._packets = packets
        self._field = field
        self._converter: StereoConverter | None = None
        self._length = _Length()
        self._yielded = 0
        self.replaced = Fraction(0)
        """Seconds of silence in place of corrupt packets."""

    @property
    def samples(self) -> int:
        """Length of the audio that was decoded, in samples at `SAMPLE_RATE`."""
        return self._length.samples

    def frames(self) -> Generator[AudioFrame]:
        """Yield the audio as frames of `samples` in all; raise `InputFaultError` for bad audio."""
        missing = Fraction(0)
        for packet in self._packets:
            if packet.corrupt:
                missing += packet.seconds
            elif packet.frames and missing:
                # Silence at the end would keep nothing in its place, so it is not added there.
                yield from self._silence(missing)
                self.replaced += missing
                missing = Fraction(0)
            for frame in packet.frames:
                yield from self._converted(frame)
        yield from self._rest()

    def _converted(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        if self._converter is not None and not self._converter.accepts(frame):
            yield from self._rest()
        with reporting_faults(self._field):
            if self._converter is None:
                self._converter = StereoConverter(frame)
            converted = self._converter.convert(frame)
        self._length.add(frame.samples, frame.sample_rate)
        yield from self._counted(converted)

    def _silence(self, seconds: Fraction) -> Iterator[AudioFrame]:
        yield from self._rest()
        self._length.add_seconds(seconds)
        yield from self._silence_to_end()

    def _rest(self) -> Iterator[AudioFrame]:
        if self._converter is None:
            return
        with reporting_faults(self._field):
            rest = self._converter.convert(None)
        self._converter = None
        yield from self._counted(rest)
        yield from self._silence_to_end()

    def _silence_to_end(self) -> Iterator[AudioFrame]:
        yield from self._counted(silent_frames(self._length.samples - self._yielded))

    def _counted(self, frames: Iterable[AudioFrame]) -> Iterator[AudioFrame]:
        for frame in frames:
            self._yielded += frame.samples
            yield frame
