"""Loudness of a sound by EBU R128, and the filters that change it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from av.audio.frame import AudioFrame

from cloudburst.renderer.audio_frames import SAMPLE_RATE
from cloudburst.renderer.sound_mix import Filter, limiter

METER: Filter = ("ebur128", "metadata=1:peak=true:framelog=quiet")
"""Filter that adds the loudness so far to each frame, with true peaks measured at 192 kHz."""
SILENCE = -70.0
"""Absolute gate of EBU R128 in LUFS, which is also the result for sound below it or too short."""
MAX_TRUE_PEAK_DB = -2.0
"""Level in dB to which true peaks are limited before the sound is encoded. Decoded AAC has peaks
that are up to 1 dB higher: a video stays below -1 dBTP (EBU R128, section h, 2023)."""
MAX_GAIN_DB = 30.0
"""Largest gain, in dB. More would make audible what is the noise of a recording."""
MAX_UNREPORTED_LIMITING_DB = 6.0
"""Decibels by which peaks may be lowered without a warning. Speech needs 3 to 6 for -14 LUFS."""
LOUDNESS_TOLERANCE = 0.5
"""Difference from the wanted loudness that needs no warning, in LU (EBU R128, section b)."""
_LIMITER_RATE = 4 * SAMPLE_RATE
"""Sample rate of the limiter. With four times as many samples, few peaks lie between two."""
_PEAK_STEP = 0.0005
"""Largest error of a true peak in the meter's output, which has three digits."""


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


Measure: TypeAlias = Callable[[Sequence[Filter]], Loudness]
"""Function that measures the sound behind further filters."""


class Correction(NamedTuple):
    """Filters that give a sound its loudness."""

    target: float
    """Wanted loudness, in LUFS."""
    gain: float
    """Gain of the whole sound, in dB."""
    lowered: float
    """Decibels by which the highest peak is lowered; 0 for no limiter."""
    is_silent: bool
    """True if the sound has no loudness."""

    @classmethod
    def find(cls, target: float, measure: Measure, samples: int) -> Correction:
        """Measure a sound once, or twice if its peaks must be limited, which makes it quieter.

        Args:
            target: Wanted loudness, in LUFS.
            measure: See `Measure`.
            samples: Length of the sound, in samples.
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
