"""Expected performance of a client's workers, learned from the times measured on them."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import anyio

from cloudburst.engine.forecast.measurements import (
    MAX_SAMPLES_PER_MEASURE,
    Measurements,
    SlowestTimes,
)
from cloudburst.engine.pool_state import Assignment, AssignmentState, PoolWorker, Ticket
from cloudburst.engine.records import Attempt
from cloudburst.engine.uplink import Uplink
from cloudburst.models.performance import Measure, Performance, Sample
from cloudburst.ports.backend import Backend

# Share of an encode after whose first report its progress says how long the encode takes.
MIN_PROGRESS = 0.05
# Factor from which a worker counts as slow. The value is a choice: encodes on one kind of worker
# differ by less.
MIN_SLOWNESS = 1.2
# Quotient of two neighbouring values of ``PoolWorker.slowness``. There are few values, so that
# workers with equal speed can be simulated together.
_SLOWNESS_STEP = 1.25
# Seconds of an imaginary encode at the usual speed, which take part in the measurement: a single
# short scene is no proof.
_PRIOR_SECONDS = 5.0
# Number of samples after which expected times are computed again, once there are as many as are
# kept: a single one changes them little, and each computation takes half a millisecond.
_SAMPLES_PER_FIT = 8
# Number of the latest finished scenes of a worker that count: its speed may change.
_MAX_FINISHED = 4


class _MeasuredProgress(NamedTuple):
    share: float
    seconds: float
    """Seconds between the two reports."""
    last_share: float
    """Progress of the last report."""
    last_at: float
    """Time of the last report."""


def _measured_progress(assignment: Assignment) -> _MeasuredProgress | None:
    """Return the progress of an encode since its first report; ``None`` if it says too little."""
    # Without the time before the first report: files are read, and sound may be measured.
    first, last = assignment.first_progress, assignment.last_progress
    if first is None or last is None or last.share - first.share < MIN_PROGRESS:
        return None
    return _MeasuredProgress(last.share - first.share, last.at - first.at, last.share, last.at)


# Number of measured encodes of a kind of worker from which the speed of a single worker is
# compared with them.
MIN_ENCODES_FOR_SPEED = 3


class Performances:
    """Expected performance of the workers of each backend, and of single workers."""

    def __init__(self, measurements: Measurements) -> None:
        self._measurements = measurements
        self._of_backends: dict[str, Performance] = {}
        self._of_workers: dict[tuple[str, float], Performance] = {}  # by backend and slowness
        self._new_samples: list[Sample] = []
        self._learned = 0  # number of samples
        # By worker: seconds and work of finished encodes.
        self._finished: dict[PoolWorker, deque[tuple[float, float]]] = {}
        self.slowest = SlowestTimes()
        """Slowest start-up and slowest scene of this client so far, for the budget."""

    # Measurements.

    def learn_startup(self, worker: PoolWorker, seconds: float) -> None:
        """Add the start-up time of a worker, in seconds, to the measurements."""
        # If it was late as well, it also counts for the late starts in whose place it was: they
        # would have taken as long.
        self.slowest.startup_seconds = max(self.slowest.startup_seconds or 0.0, seconds)
        late = seconds > self.of_backend(worker.backend).late_after
        for _ in range(1 + worker.late_starts_before if late else 1):
            self._learn(worker.backend, "startup", seconds)

    def learn_scene(self, worker: PoolWorker, attempt: Attempt, ticket: Ticket) -> None:
        """Add the times of an attempt that has made a video to the measurements."""
        # The time of an encode is the sum over all encoder slots that have taken part in it.
        shared = attempt.shared_seconds
        took = sum(span.ended_at - span.started_at for span in attempt.spans)
        self.slowest.add_scene(took + shared, ticket.audio_seconds)
        transfer = attempt.seconds("upload") + attempt.seconds("download")
        transfer -= attempt.uplink_wait_seconds  # the uplink is forecast separately
        encode = attempt.seconds("encode") + shared
        finished = self._finished.setdefault(worker, deque(maxlen=_MAX_FINISHED))
        finished.append((encode, ticket.work))
        self._learn(worker.backend, "encode", encode, ticket.work)
        self._learn(worker.backend, "transfer", transfer, ticket.work)

    def learn_uplink(self, backend: Backend, uplink: Uplink) -> None:
        """Add the speed of the uplink to the measurements, if it was measured."""
        known = self.of_backend(backend).uplink_seconds_per_megabyte
        speed = uplink.measured_speed(known=1e6 / known if known else math.inf)
        if speed is not None:
            self._learn(backend, "uplink", 1e6 / speed)

    def learn_stop(self, worker: PoolWorker) -> None:
        """Add the billed seconds of the stop of a settled worker to the measurements."""
        record = worker.record
        usage, launched = record.usage, record.launched
        if worker.connection is None or record.error:  # it has never worked, or has failed
            return
        if usage is None or usage.stopped_at is None or launched is None:
            return
        # The launch is the one moment that is known on both clocks.
        stopped = launched + (usage.stopped_at - usage.created_at)
        self._learn(worker.backend, "stop", max(0.0, stopped - worker.last_used))

    def _learn(self, backend: Backend, measure: Measure, seconds: float, work: float = 0.0) -> None:
        kind = backend.kind or backend.name
        sample = Sample(kind=kind, measure=measure, seconds=seconds, work=work)
        self._measurements.add(sample)
        if backend.kind:
            self._new_samples.append(sample)
        self._learned += 1
        is_full = self._measurements.count(kind, measure) == MAX_SAMPLES_PER_MEASURE
        if not (is_full and self._learned % _SAMPLES_PER_FIT):
            self._of_backends.clear()
            self._of_workers.clear()

    def forget(self, worker: PoolWorker) -> None:
        """Forget the speed of a worker that has ended."""
        self._finished.pop(worker, None)

    def take_samples(self) -> tuple[Sample, ...]:
        """Return the samples that were measured since the last call."""
        # Samples of backends without a ``kind`` are left out, because they are not kept for other
        # runs.
        samples = tuple(self._new_samples)
        self._new_samples.clear()
        return samples

    # Expected times.

    def of_backend(self, backend: Backend) -> Performance:
        """Return the expected performance of the workers of a backend."""
        if (known := self._of_backends.get(backend.name)) is None:
            known = self._measurements.performance(
                backend.kind or backend.name, backend.performance
            )
            self._of_backends[backend.name] = known
        return known

    def of_worker(self, worker: PoolWorker) -> Performance:
        """Return the expected performance of a worker, whose own speed was measured."""
        usual, slowness = self.of_backend(worker.backend), worker.slowness
        if slowness == 1:
            return usual
        key = worker.backend.name, slowness
        if key not in self._of_workers:
            self._of_workers[key] = usual.slowed(slowness)
        return self._of_workers[key]

    def has_measured(self, backend: Backend, *measures: Measure) -> bool:
        """Return whether all given measures of a backend's workers were measured, not assumed."""
        return self.of_backend(backend).measured.issuperset(measures)

    def update_worker(self, worker: PoolWorker) -> None:
        """Update the speed of a worker, and the times at which its encodes are expected to end."""
        kind = worker.backend.kind or worker.backend.name
        known = self._measurements.count(kind, "encode") >= MIN_ENCODES_FOR_SPEED
        worker.slowness = self._slowness(worker) if known else 1.0
        encoding = (each for each in worker.assignments if each.state is AssignmentState.ENCODING)
        worker.encode_ends = tuple(sorted(map(self.encode_end, encoding)))

    def _slowness(self, worker: PoolWorker) -> float:
        performance = self.of_backend(worker.backend)
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

    def encode_end(self, assignment: Assignment) -> float:
        """Return the time at which a running encode is expected to end, on anyio's clock."""
        # An encode that takes too long is expected to take as many seconds more.
        since, now = assignment.encoding_since, anyio.current_time()
        assert since is not None, "the scene encodes"
        if (progress := _measured_progress(assignment)) is not None:
            end = progress.last_at + (1 - progress.last_share) * progress.seconds / progress.share
        else:
            worker, work = assignment.worker, assignment.ticket.work
            end = since + worker.slowness * self.of_backend(worker.backend).encode_seconds(work)
        return now + abs(end - now)

    def scene_seconds(self, worker: PoolWorker, work: float) -> float:
        """Return the expected seconds from the upload to the download of a scene on a worker."""
        performance = self.of_worker(worker)
        return performance.transfer_seconds + performance.encode_seconds(work)
