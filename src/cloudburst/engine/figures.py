"""What is known of how fast things go: from earlier runs, and from this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import linear_regression, median

from cloudburst.models.pace import Measure, Pace, Sample
from cloudburst.ports import Backend

KEPT = 200
"""Samples of each kind: the latest ones count."""
_FEW = 5
"""Samples below which no line is laid through them."""


class Figures:
    """Learns from samples, and says what to expect of a backend."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._samples: dict[tuple[str, Measure], deque[Sample]] = {}
        for sample in samples:
            self.learn(sample)

    def learn(self, sample: Sample) -> None:
        """Take note of something that was measured."""
        key = sample.kind, sample.measure
        self._samples.setdefault(key, deque(maxlen=KEPT)).append(sample)

    def pace(self, backend: Backend) -> Pace:
        """What to expect: measured where anything was, and else what the backend assumes."""
        assumed = backend.pace
        encodes = self._samples.get((backend.kind, "encode"))
        scene, ratio = _line(encodes) if encodes else (assumed.scene, assumed.ratio)
        measures: tuple[Measure, ...] = ("start", "encode", "move", "stop")
        return Pace(
            start=self._usual(backend.kind, "start", assumed.start),
            scene=scene,
            ratio=ratio,
            moving=self._usual(backend.kind, "move", assumed.moving),
            stop=self._usual(backend.kind, "stop", assumed.stop),
            measured=frozenset(m for m in measures if (backend.kind, m) in self._samples),
        )

    def _usual(self, kind: str, measure: Measure, assumed: float) -> float:
        samples = self._samples.get((kind, measure))
        return median(sample.seconds for sample in samples) if samples else assumed


def _line(samples: Iterable[Sample]) -> tuple[float, float]:
    """Seconds for any scene, and for each second of its sound."""
    sounds, seconds = zip(*((s.sound, s.seconds) for s in samples), strict=True)
    if len(sounds) >= _FEW and max(sounds) > min(sounds):
        ratio, scene = linear_regression(sounds, seconds)
        if ratio > 0 and scene >= 0:
            return scene, ratio
    return 0.0, sum(seconds) / max(sum(sounds), 0.1)
