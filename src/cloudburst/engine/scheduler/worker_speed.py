"""Speed of single workers, measured by the progress of their encodes and by finished scenes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import anyio

from cloudburst.engine.pool_state import Assignment, PoolWorker
from cloudburst.models.performance import Performance

MIN_PROGRESS = 0.05
"""Share of an encode after whose first report its progress says how long the encode takes."""
MIN_SLOWNESS = 1.2
"""Factor from which a worker counts as slow. The value is a choice: encodes on one kind of worker
differ by less."""
_SLOWNESS_STEP = 1.25
"""Quotient of two neighbouring values of ``PoolWorker.slowness``. There are few values, so that
workers with equal speed can be simulated together."""
_PRIOR_SECONDS = 5.0
"""Seconds of an imaginary encode at the usual speed, which take part in the measurement: a single
short scene is no proof."""
_MAX_FINISHED = 4
"""Number of the latest finished scenes of a worker that count: its speed may change."""


class WorkerSpeeds:
    """Measured speeds of a client's workers.

    Args:
        performance: Function that returns the usual performance of the workers of the same kind, or
            ``None`` if it is not known well enough.
    """

    def __init__(self, performance: Callable[[PoolWorker], Performance | None]) -> None:
        self._performance = performance
        # By worker: seconds and work of finished encodes.
        self._finished: dict[PoolWorker, deque[tuple[float, float]]] = {}

    def learn(self, worker: PoolWorker, seconds: float, work: float) -> None:
        """Add the seconds of an encode, of all slots together, and the work of its scene."""
        self._finished.setdefault(worker, deque(maxlen=_MAX_FINISHED)).append((seconds, work))

    def forget(self, worker: PoolWorker) -> None:
        """Forget a worker that has ended."""
        self._finished.pop(worker, None)

    def update(self, worker: PoolWorker) -> None:
        """Update ``slowness`` of a worker."""
        performance = self._performance(worker)
        worker.slowness = 1.0 if performance is None else self._slowness(worker, performance)

    def _slowness(self, worker: PoolWorker, performance: Performance) -> float:
        took = usual = _PRIOR_SECONDS
        for seconds, work in self._finished.get(worker, ()):
            took += seconds
            usual += performance.encode_seconds(work)
        for each in worker.assignments:  # also of scenes that are encoded and not downloaded yet
            if (progress := _measured_progress(each)) is not None:
                took += progress.seconds
                usual += progress.share * performance.encode_seconds(each.ticket.work)
        factor = took / max(usual, 0.1)
        if factor < MIN_SLOWNESS:
            return 1.0
        return float(_SLOWNESS_STEP ** round(math.log(factor, _SLOWNESS_STEP)))


def encode_end(assignment: Assignment, performance: Performance) -> float:
    """Return the time on anyio's clock at which a running encode is expected to end.

    It follows from the progress of the encode, if there is enough. An encode that takes longer than
    expected is expected to take as many seconds more.

    Args:
        assignment: Assignment whose scene encodes.
        performance: Usual performance of the workers of its kind.
    """
    since, now = assignment.encoding_since, anyio.current_time()
    assert since is not None, "the scene encodes"
    if (progress := _measured_progress(assignment)) is not None:
        end = progress.last_at + (1 - progress.last_share) * progress.seconds / progress.share
    else:
        slowness, work = assignment.worker.slowness, assignment.ticket.work
        end = since + slowness * performance.encode_seconds(work)
    return now + abs(end - now)


class _MeasuredProgress(NamedTuple):
    """Progress between the first and the last report of an encode."""

    share: float
    """Increase of the progress."""
    seconds: float
    """Seconds between the two reports."""
    last_share: float
    """Progress of the last report."""
    last_at: float
    """Time of the last report."""


def _measured_progress(assignment: Assignment) -> _MeasuredProgress | None:
    """Return the progress of an encode since its first report; ``None`` if it says too little.

    The time before the first report is left out: the files are read, and sound may be measured.
    """
    first, last = assignment.first_progress, assignment.last_progress
    if first is None or last is None or last.share - first.share < MIN_PROGRESS:
        return None
    return _MeasuredProgress(last.share - first.share, last.at - first.at, last.share, last.at)
