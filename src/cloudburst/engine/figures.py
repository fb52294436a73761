"""What is known of how fast things go: from earlier runs, and from this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from statistics import median, quantiles
from typing import Protocol

from cloudburst.models.options import RenderOptions
from cloudburst.models.pace import Measure, Pace, Range, Sample
from cloudburst.models.scene import CheckedScene

BASE = 3.25
"""Seconds of sound that a scene is worth before its first one: a process that starts, a picture
that is read."""
STILL = 0.54
"""A still picture's work, as a part of that of one that moves."""
SUBTITLES = 0.75
"""Seconds of sound that subtitles are worth."""
MEGABYTE = 0.08
"""Seconds of sound that a megabyte of files is worth: a large PNG takes long to read."""

KEPT = 200
"""Samples of each kind: the latest ones count."""
FADE = 0.95
"""What an encode counts for when the next one has come: twenty later, a third. Other programs come
and go on a machine."""
LATEST = 20
"""Of starts, ways and stops so many count."""
_PRIOR = 0.1
"""Samples that each of the two points counts for by which the assumed line is held."""
_FEW = 8
"""Samples below which they do not tell how much figures differ."""


class Kind(Protocol):
    """What figures are asked for: a ``Backend``, or what is known of one without opening it."""

    @property
    def kind(self) -> str:
        """What they are kept under."""
        ...

    @property
    def pace(self) -> Pace:
        """What is assumed until something was measured."""
        ...


def work(scene: CheckedScene, options: RenderOptions) -> float:
    """What a scene is to an encoder, in seconds of sound with a picture that moves.

    By ``benchmarks/plan.py --work``, on our own service: see the table in ``docs/benchmarks.md``.
    The public image needs less for stills: a quarter, where this says half.
    """
    moving = options.effect_for(scene.scene.name) is not None
    encoded = (BASE + scene.seconds) * (1.0 if moving else STILL)
    subtitles = SUBTITLES if scene.scene.subtitle is not None else 0.0
    return encoded + subtitles + MEGABYTE * scene.bytes / 1e6


class Figures:
    """Learns from samples, and says what to expect of a backend."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._samples: dict[tuple[str, Measure], deque[Sample]] = {}
        self._paces: dict[tuple[str, Pace], Pace] = {}
        for sample in samples:
            self.learn(sample)

    def learn(self, sample: Sample) -> None:
        """Take note of something that was measured."""
        key = sample.kind, sample.measure
        self._samples.setdefault(key, deque(maxlen=KEPT)).append(sample)
        self._paces.clear()

    def count(self, kind: str, measure: Measure) -> int:
        """Samples that there are of it."""
        return len(self._samples.get((kind, measure), ()))

    def pace(self, backend: Kind) -> Pace:
        """What to expect: measured where anything was, and else what the backend assumes."""
        key = backend.kind, backend.pace
        if key not in self._paces:
            self._paces[key] = self._pace(*key)
        return self._paces[key]

    def _pace(self, kind: str, assumed: Pace) -> Pace:
        starts, encodes, moves, stops = (
            tuple(self._samples.get((kind, measure), ()))
            for measure in ("start", "encode", "move", "stop")
        )
        scene, ratio = _line(encodes, assumed)
        start = _usual(starts, assumed.start)
        return Pace(
            start=start,
            scene=scene,
            ratio=ratio,
            moving=_usual(moves, assumed.moving),
            stop=_usual(stops, assumed.stop),
            placing=min(assumed.placing, start),
            starts=_range([s.seconds / max(start, 0.01) for s in starts], assumed.starts),
            encodes=_range(
                [s.seconds / max(scene + ratio * s.sound, 0.01) for s in encodes], assumed.encodes
            ),
            measured=frozenset(
                sample.measure for samples in (starts, encodes, moves, stops) for sample in samples
            ),
        )


def _usual(samples: Sequence[Sample], assumed: float) -> float:
    return median(sample.seconds for sample in samples[-LATEST:]) if samples else assumed


def _range(ratios: Sequence[float], assumed: Range) -> Range:
    """Nine of ten are slower than the first, and nine of ten faster than the second."""
    if len(ratios) < _FEW:
        return assumed
    tenths = quantiles(ratios, n=10, method="inclusive")
    return min(tenths[0], 1.0), max(tenths[-1], 1.0)


def _line(samples: Sequence[Sample], assumed: Pace) -> tuple[float, float]:
    """Seconds for any scene, and for each second of its work.

    The assumed line, as steep as the samples want it to be, is laid through with least squares:
    a few samples, or many of the same length, say how fast a machine is, and many of different
    lengths say it all. What any scene takes may come out negative, for its work is never nothing.
    """
    if not samples:
        return assumed.scene, assumed.ratio
    works = [sample.sound for sample in samples]
    seconds = [sample.seconds for sample in samples]
    weights = [FADE**age for age in reversed(range(len(samples)))]
    as_assumed = sum(w * assumed.encode(x) for w, x in zip(weights, works, strict=True))
    scale = sum(w * y for w, y in zip(weights, seconds, strict=True)) / max(as_assumed, 0.01)
    far = 2 * sum(w * x for w, x in zip(weights, works, strict=True)) / sum(weights)
    for x in (0.0, far):
        works.append(x)
        seconds.append(scale * assumed.encode(x))
        weights.append(_PRIOR)
    scene, ratio = _least_squares(works, seconds, weights)
    if ratio > 0 and scene + ratio * min(works[:-2]) > 0:
        return scene, ratio
    return scale * assumed.scene, scale * assumed.ratio


def _least_squares(
    xs: Sequence[float], ys: Sequence[float], weights: Sequence[float]
) -> tuple[float, float]:
    """Height at nothing, and slope."""
    whole = sum(weights)
    x_mean = sum(w * x for w, x in zip(weights, xs, strict=True)) / whole
    y_mean = sum(w * y for w, y in zip(weights, ys, strict=True)) / whole
    spread = sum(w * (x - x_mean) ** 2 for w, x in zip(weights, xs, strict=True))
    if not spread:
        return y_mean, 0.0
    both = sum(w * (x - x_mean) * (y - y_mean) for w, x, y in zip(weights, xs, ys, strict=True))
    slope = both / spread
    return y_mean - slope * x_mean, slope
