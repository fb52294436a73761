"""Expected performance of each kind of worker, from measurements of this and earlier runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median, quantiles

from cloudburst.models.performance import Measure, Performance, Range, Sample

# Number of samples that are kept for each kind of worker and each measure, such as start-up or
# encode. Older samples are discarded.
MAX_SAMPLES_PER_MEASURE = 200
# Factor by which each newer encode lowers the weight of an older one in the fit: after 20 newer
# encodes it is about a third. New encodes count more because the load of a machine changes with
# the other programs on it.
AGE_DECAY = 0.95
# Factor above or below the median from which an encode does not count for the kind of worker. The
# value is a choice: encodes on one kind of worker differ by less, and a worker that is slower by
# more has its own speed in forecasts.
OUTLIER_FACTOR = 1.5
# Number of latest samples whose median is the expected time of a transfer or stop, or of a
# megabyte on the uplink. The 90th percentile and the range of start-ups are of as many.
MAX_SAMPLES_OF_MEDIAN = 20
# Number of latest start-ups whose median is the expected one. They are few because a run has few:
# two runs of two tasks are enough to forget those of an earlier image or of a slow day.
MAX_STARTS_OF_MEDIAN = 5
# Weight of each of the two points that represent the assumed performance when encode times are
# fitted. The newest sample has weight 1.
_PRIOR_WEIGHT = 0.1
# Number of start-ups from which their 90th percentile is known.
_MIN_SAMPLES_FOR_PERCENTILE = 10
# Number of samples from which the range of a measure is computed; with fewer, the assumed range
# is used.
_MIN_SAMPLES_FOR_RANGE = 8


@dataclass(slots=True)
class SlowestTimes:
    """Slowest start-up and slowest scene so far, from which the budget forecasts the bill."""

    startup_seconds: float | None = None
    """Longest start-up of a worker, in seconds; ``None`` before the first one."""
    seconds_per_audio_second: float | None = None
    """Longest time of an attempt, in seconds per second of the scene's audio, without the wait for
    an encoder slot; ``None`` before the first attempt."""

    def add_scene(self, seconds: float, audio_seconds: float) -> None:
        """Add the time of an attempt that has made a video."""
        ratio = seconds / max(audio_seconds, 0.1)
        self.seconds_per_audio_second = max(self.seconds_per_audio_second or 0.0, ratio)


class Measurements:
    """Samples of each kind of worker, and the performance that they predict."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._samples: dict[tuple[str, Measure], deque[Sample]] = {}
        for sample in samples:
            self.add(sample)

    def add(self, sample: Sample) -> None:
        """Add one measurement."""
        key = sample.kind, sample.measure
        self._samples.setdefault(key, deque(maxlen=MAX_SAMPLES_PER_MEASURE)).append(sample)

    def count(self, kind: str, measure: Measure) -> int:
        """Return the number of samples of one measure of a kind of worker."""
        return len(self._samples.get((kind, measure), ()))

    def performance(self, kind: str, assumed: Performance) -> Performance:
        """Return the expected performance of a kind of worker."""
        starts, encodes, moves, stops, uplink = (
            tuple(self._samples.get((kind, measure), ()))
            for measure in ("startup", "encode", "transfer", "stop", "uplink")
        )
        (per_scene, per_work), encodes = _fit_usual_encodes(encodes, assumed)
        starts = starts[-MAX_SAMPLES_OF_MEDIAN:]
        startup = _latest_median(starts[-MAX_STARTS_OF_MEDIAN:], assumed.startup_seconds)
        return Performance(
            startup_seconds=startup,
            seconds_per_scene=per_scene,
            seconds_per_work=per_work,
            transfer_seconds=_latest_median(moves, assumed.transfer_seconds),
            stop_seconds=_latest_median(stops, assumed.stop_seconds),
            uplink_seconds_per_megabyte=_latest_median(uplink, assumed.uplink_seconds_per_megabyte),
            placement_seconds=min(assumed.placement_seconds, startup),
            startup_p90=_percentile_90([sample.seconds for sample in starts]),
            startup_range=_range(
                [sample.seconds / max(startup, 0.01) for sample in starts], assumed.startup_range
            ),
            encode_range=_range(
                [
                    sample.seconds / max(per_scene + per_work * sample.work, 0.01)
                    for sample in encodes
                ],
                assumed.encode_range,
            ),
            measured=frozenset(
                samples[0].measure for samples in (starts, encodes, moves, stops) if samples
            ),
        )


def _latest_median(samples: Sequence[Sample], assumed: float) -> float:
    if not samples:
        return assumed
    return median(sample.seconds for sample in samples[-MAX_SAMPLES_OF_MEDIAN:])


def _range(ratios: Sequence[float], assumed: Range) -> Range:
    """Return the 10th and 90th percentiles of measured times, relative to the expected time."""
    if len(ratios) < _MIN_SAMPLES_FOR_RANGE:
        return assumed
    deciles = quantiles(ratios, n=10, method="inclusive")
    return min(deciles[0], 1.0), max(deciles[-1], 1.0)


def _percentile_90(seconds: Sequence[float]) -> float | None:
    if len(seconds) < _MIN_SAMPLES_FOR_PERCENTILE:
        return None
    return quantiles(seconds, n=10, method="inclusive")[-1]


def _fit_usual_encodes(
    samples: tuple[Sample, ...], assumed: Performance
) -> tuple[tuple[float, float], tuple[Sample, ...]]:
    """Fit a line to the samples but for those of single workers that were much slower or faster.

    Return the line and its samples.
    """
    # The time of usual samples, compared with a line through all of them, is close to the median
    # of the newer ones.
    shortest = min((sample.work for sample in samples), default=0.0)
    line = per_scene, per_work = _fit_encodes(samples, assumed, shortest=shortest)
    if len(samples) < _MIN_SAMPLES_FOR_RANGE:
        return line, samples
    ratios = [each.seconds / max(per_scene + per_work * each.work, 0.01) for each in samples]
    typical = _weighted_median(ratios, _age_weights(len(samples)))
    low, high = typical / OUTLIER_FACTOR, typical * OUTLIER_FACTOR
    usual = tuple(
        sample for sample, ratio in zip(samples, ratios, strict=True) if low <= ratio <= high
    )
    if len(usual) == len(samples):
        return line, samples
    return _fit_encodes(usual, assumed, shortest=shortest), usual


@cache
def _age_weights(count: int) -> tuple[float, ...]:
    return tuple(AGE_DECAY**age for age in reversed(range(count)))


def _weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    half, total = sum(weights) / 2, 0.0
    for value, weight in sorted(zip(values, weights, strict=True)):
        total += weight
        if total >= half:
            return value
    raise AssertionError("unreachable: there is at least one value")


def _fit_encodes(
    samples: Sequence[Sample], assumed: Performance, *, shortest: float
) -> tuple[float, float]:
    """Return the constant seconds of an encode, and its additional seconds per second of work."""
    # A line by weighted least squares. Two points of the assumed line, scaled to the mean speed
    # of the samples, take part with a small weight: with few samples, or samples of one length,
    # the result is the assumed line, scaled to the speed of the machine.
    # The first value may be negative, because the work of a scene is never 0.
    if not samples:
        return assumed.seconds_per_scene, assumed.seconds_per_work
    works = [sample.work for sample in samples]
    seconds = [sample.seconds for sample in samples]
    weights = [*_age_weights(len(samples))]
    as_assumed = sum(w * assumed.encode_seconds(x) for w, x in zip(weights, works, strict=True))
    scale = sum(w * y for w, y in zip(weights, seconds, strict=True)) / max(as_assumed, 0.01)
    far = 2 * sum(w * x for w, x in zip(weights, works, strict=True)) / sum(weights)
    for x in (0.0, far):
        works.append(x)
        seconds.append(scale * assumed.encode_seconds(x))
        weights.append(_PRIOR_WEIGHT)
    per_scene, per_work = _least_squares(works, seconds, weights)
    if per_work > 0 and per_scene + per_work * shortest > 0:
        return per_scene, per_work
    return scale * assumed.seconds_per_scene, scale * assumed.seconds_per_work


def _least_squares(
    xs: Sequence[float], ys: Sequence[float], weights: Sequence[float]
) -> tuple[float, float]:
    """Return intercept and slope of the line with the least weighted squared error."""
    total = sum(weights)
    x_mean = sum(w * x for w, x in zip(weights, xs, strict=True)) / total
    y_mean = sum(w * y for w, y in zip(weights, ys, strict=True)) / total
    variance = sum(w * (x - x_mean) ** 2 for w, x in zip(weights, xs, strict=True))
    if not variance:
        return y_mean, 0.0
    covariance = sum(
        w * (x - x_mean) * (y - y_mean) for w, x, y in zip(weights, xs, ys, strict=True)
    )
    slope = covariance / variance
    return y_mean - slope * x_mean, slope
