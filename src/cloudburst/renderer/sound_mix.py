"""Filters for the sound of a video: voice and music become one stream of a wanted loudness.

They process frame by frame, so that memory does not grow with the length. Loudness is that of EBU
R128.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from av.audio.frame import AudioFrame
from av.filter import Graph
from av.filter.context import FilterContext

from cloudburst.renderer.audio_frames import (
    SAMPLE_FORMAT,
    SAMPLE_RATE,
    STEREO_SOURCE,
    available_frames,
)
from cloudburst.renderer.sound_encoder import TIME_BASE

# Name of a filter of FFmpeg and its arguments.
Filter: TypeAlias = tuple[str, str]

# Level in dB of full scale to which the samples of a mix are limited. Decoded AAC has peaks that
# are up to 1 dB higher than those of the sound that was encoded.
MAX_PEAK_DB = -1.0
# Arguments of the limiter. It looks 5 ms ahead, so that its gain changes smoothly, and recovers in
# about 100 ms. ``latency`` keeps the sound in its place.
LIMITER = "level=0:attack=5:release=100:latency=1"

# Filters that make the voice a signal for the gate: amplified and clipped to full scale, all sound
# above -40 dB of full scale counts alike, and noise below about -50 dB does not count. The
# constant is needed because FFmpeg's gate is open if its input is exactly zero.
_VOICE_DETECTION = (
    ("volume", "40dB:precision=float"),
    ("dcshift", "shift=0.001"),
    ("asoftclip", "type=hard"),
)
# Arguments of the gate that follows the voice. FFmpeg's time constants are a quarter of these
# milliseconds: the gate opens within about 100 ms, stays open in pauses of up to 0.7 s, so that
# the music does not change between sentences, and closes within 2 s.
_DUCKING_GATE = (
    "detection=peak:link=maximum:threshold=0.5:knee=1.4:range=0:ratio=4:attack=400:release=6000"
)

# Filter that adds the loudness so far to each frame, with true peaks measured at 192 kHz.
METER: Filter = ("ebur128", "metadata=1:peak=true:framelog=quiet")
# Absolute gate of EBU R128 in LUFS, which is also the result for sound below it or too short.
SILENCE = -70.0
# Level in dB to which true peaks are limited before the sound is encoded. Decoded AAC has peaks
# that are up to 1 dB higher: a video stays below -1 dBTP (EBU R128, section h, 2023).
MAX_TRUE_PEAK_DB = -2.0
# Largest gain, in dB. More would make audible what is the noise of a recording.
MAX_GAIN_DB = 30.0
# Decibels by which peaks may be lowered without a warning. Speech needs 3 to 6 for -14 LUFS.
MAX_UNREPORTED_LIMITING_DB = 6.0
# Difference from the wanted loudness that needs no warning, in LU (EBU R128, section b).
LOUDNESS_TOLERANCE = 0.5
# Sample rate of the limiter. With four times as many samples, few peaks lie between two.
_LIMITER_RATE = 4 * SAMPLE_RATE
# Largest error of a true peak in the meter's output, which has three digits.
_PEAK_STEP = 0.0005


def limiter(peak: float) -> Filter:
    """Return a filter that limits samples to a level in dB of full scale."""
    return "alimiter", f"limit={10 ** (peak / 20):.6f}:{LIMITER}"


class Music(NamedTuple):
    """How the music of a video is mixed with its voice."""

    volume: float
    """Factor for the samples of the music."""
    samples: int
    fade: int
    """Samples of each of its two fades."""
    ducking: float
    """Decibels by which the voice lowers it."""

    def filters(self) -> Iterator[Filter]:
        """Yield the filters that do not depend on the voice."""
        yield "atrim", f"end_sample={self.samples}"
        yield "volume", f"{self.volume:.6f}:precision=float"
        if self.fade:
            yield "afade", f"type=in:start_sample=0:nb_samples={self.fade}"
            start = self.samples - self.fade
            yield "afade", f"type=out:start_sample={start}:nb_samples={self.fade}"


class Mixer:
    """Graph of filters for the sound of one video, which is used once."""

    def __init__(self, music: Music | None, tail: Iterable[Filter]) -> None:
        self._graph = graph = Graph()
        voice = graph.add("abuffer", STEREO_SOURCE)
        self._voice = _Input(voice)
        self._music: _Input | None = None
        mix = voice
        if music is not None:
            source = graph.add("abuffer", STEREO_SOURCE)
            self._music = _Input(source)
            mix = self._mixed(voice, self._chain(source, music.filters()), music.ducking)
        end = ("aformat", f"sample_fmts={SAMPLE_FORMAT}:channel_layouts=stereo")
        self._sink = graph.add("abuffersink")
        self._chain(mix, [*tail, end]).link_to(self._sink)
        graph.configure()

    def frames(
        self, voice: Iterable[AudioFrame], music: Iterator[AudioFrame]
    ) -> Iterator[AudioFrame]:
        """Yield the mix, as long as the voice; the music is read only as far as needed."""
        for frame in voice:
            self._voice.push(frame)
            if self._music is not None:
                self._music.push_up_to(self._voice.samples, music)
            yield from available_frames(self._sink)
        self._voice.close()
        if self._music is not None:
            self._music.close()
        yield from available_frames(self._sink)

    def _mixed(self, voice: FilterContext, music: FilterContext, ducking: float) -> FilterContext:
        # A gate that the voice opens lets the music pass. Its output is multiplied by a factor and
        # subtracted from the music, which is then lowered by exactly `ducking` while the gate is
        # open; the level of the voice has no influence.
        graph = self._graph
        if not ducking:
            total = graph.add("amix", "inputs=2:duration=first:normalize=0")
            voice.link_to(total, 0, 0)
            music.link_to(total, 0, 1)
            return total
        voices, musics = graph.add("asplit", "2"), graph.add("asplit", "2")
        voice.link_to(voices)
        music.link_to(musics)
        gate = graph.add("sidechaingate", _DUCKING_GATE)
        musics.link_to(gate, 1, 0)
        self._chain(voices, _VOICE_DETECTION, output=1).link_to(gate, 0, 1)
        factor = 10 ** (-ducking / 20) - 1
        negative = graph.add("pan", f"stereo|c0={factor:.6f}*c0|c1={factor:.6f}*c1")
        gate.link_to(negative)
        total = graph.add("amix", "inputs=3:duration=first:normalize=0")
        voices.link_to(total, 0, 0)
        musics.link_to(total, 0, 1)
        negative.link_to(total, 0, 2)
        return total

    def _chain(
        self, last: FilterContext, filters: Iterable[Filter], output: int = 0
    ) -> FilterContext:
        for name, arguments in filters:
            following = self._graph.add(name, arguments)
            last.link_to(following, output)
            last, output = following, 0
        return last


class _Input:
    def __init__(self, context: FilterContext) -> None:
        self._context = context
        self._open = True
        self.samples = 0
        """Length of the frames that were pushed."""

    def push(self, frame: AudioFrame) -> None:
        frame.pts, frame.time_base = self.samples, TIME_BASE
        self.samples += frame.samples
        self._context.push(frame)

    def push_up_to(self, samples: int, frames: Iterator[AudioFrame]) -> None:
        while self._open and self.samples < samples:
            frame = next(frames, None)
            if frame is None:
                self.close()
            else:
                self.push(frame)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._context.push(None)


class Loudness(NamedTuple):
    """Result of a measurement."""

    integrated: float
    """Integrated loudness, in LUFS."""
    peak: float
    """True peak, as a factor of full scale."""

    @property
    def is_silent(self) -> bool:
        """True if the sound has no loudness."""
        return self.integrated <= SILENCE


class Meter:
    """Reader of the loudness that `METER` has added to frames."""

    def __init__(self) -> None:
        self.loudness = Loudness(SILENCE, 0.0)

    def watch(self, frames: Iterable[AudioFrame]) -> Iterator[AudioFrame]:
        """Yield the frames, and keep the loudness of all up to the last one."""
        for frame in frames:
            found = frame.metadata
            if (integrated := found.get("lavfi.r128.I")) is not None:
                peaks = (found.get(f"lavfi.r128.true_peaks_ch{n}", "0") for n in range(2))
                self.loudness = Loudness(float(integrated), max(map(float, peaks)))
            yield frame


def measured(frames: Iterable[AudioFrame]) -> Loudness:
    """Return the loudness of all frames of a sound, to which `METER` has added it."""
    meter = Meter()
    for _ in meter.watch(frames):
        pass
    return meter.loudness


# Function that measures the sound behind further filters.
Measure: TypeAlias = Callable[[Sequence[Filter]], Loudness]


class Correction(NamedTuple):
    """Filters that give a sound its loudness."""

    target: float
    """Wanted loudness, in LUFS."""
    gain: float
    """In dB, of the whole sound."""
    lowered: float
    """Decibels by which the highest peak is lowered."""
    is_silent: bool

    @classmethod
    def find(cls, target: float, measure: Measure, samples: int) -> Correction:
        """Measure a sound once, or twice if its peaks must be limited, which makes it quieter.

        ``target`` is in LUFS; ``samples`` is the length of the sound.
        """
        found = measure(())
        gain = 0.0 if found.is_silent else min(target - found.integrated, MAX_GAIN_DB)
        plain = cls(target, gain, cls._lowered(found, gain), found.is_silent)
        if not plain.lowered or found.is_silent:
            return plain
        limited = measure(plain.filters(samples))
        gain = min(gain + target - limited.integrated, MAX_GAIN_DB)
        return plain._replace(gain=gain, lowered=cls._lowered(found, gain))

    @staticmethod
    def _lowered(found: Loudness, gain: float) -> float:
        peak = 20 * math.log10(found.peak + _PEAK_STEP) + gain
        return max(0.0, peak - MAX_TRUE_PEAK_DB)

    def filters(self, samples: int) -> list[Filter]:
        """Return the filters for a sound of this length in samples."""
        gain = ("volume", f"{self.gain:.3f}dB:precision=float")
        if not self.lowered:
            return [gain]
        return [
            gain,
            ("aresample", str(_LIMITER_RATE)),
            limiter(MAX_TRUE_PEAK_DB),
            ("aresample", str(SAMPLE_RATE)),
            ("apad", f"whole_len={samples}"),
            ("atrim", f"end_sample={samples}"),
        ]

    def warnings(self, found: Loudness) -> Iterator[str]:
        """Yield what differs from the wanted loudness in the finished sound."""
        if self.is_silent:
            return
        if abs(found.integrated - self.target) > LOUDNESS_TOLERANCE:
            reason = (
                f"a gain of more than {MAX_GAIN_DB:g} dB"
                if self.gain >= MAX_GAIN_DB
                else "peaks above -1 dBTP"
            )
            yield (
                f"loudness: {found.integrated:.1f} LUFS in place of {self.target:g}, which would "
                f"need {reason}"
            )
        elif self.lowered > MAX_UNREPORTED_LIMITING_DB:
            yield (
                f"loudness: peaks are lowered by up to {self.lowered:.0f} dB for "
                f"{self.target:g} LUFS"
            )
