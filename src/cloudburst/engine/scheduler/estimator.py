"""Estimator of the times at which a client's workers are ready and its scenes are done."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import anyio

from cloudburst.engine.forecast.scaling_rule import NewWorker
from cloudburst.engine.forecast.simulation import (
    MAX_SCENES_SIMULATED,
    Load,
    Schedule,
    SimulatedWorker,
)
from cloudburst.engine.pool_state import Assignment, AssignmentState, PoolWorker, Ticket
from cloudburst.engine.scheduler.encoder_slots import next_slot_free_at, slot_count, spare_slots
from cloudburst.engine.scheduler.performances import Performances
from cloudburst.engine.scheduler.queue import FairQueue
from cloudburst.engine.scheduler.workers import WorkerIndex
from cloudburst.models.performance import Case, Performance
from cloudburst.ports.backend import Backend

# Seconds before the expected end of an encode at which the next scene may be uploaded, in
# addition to twice the usual transfer time. This is enough for several decisions and for a slow
# connection.
SEND_AHEAD_SECONDS = 10.0
# Seconds between two forecasts for the same decision, for each worker of the client. A forecast
# takes about 10 microseconds for each worker, so that it uses 0.2 % of the time. With 100
# workers, it is half a second, which is short beside a start-up.
SIMULATION_SECONDS_PER_WORKER = 0.005
# Number of workers up to which every decision may simulate them: it takes less than 1 ms.
_FEW_WORKERS = 50
# Largest difference between two times, in seconds, at which they count as equal.
_TOLERANCE = 1e-6


@dataclass(kw_only=True)
class PoolSnapshot:
    """Workers and scenes of a client at one moment, and the schedule expected for them."""

    load: Load
    """Scenes that wait or encode."""
    workers: dict[PoolWorker, SimulatedWorker]
    """Usable workers."""
    measured: bool
    """True if the encode time of every worker was measured."""

    @cached_property
    def schedule(self) -> Schedule:
        """Expected schedule of ``load`` on ``workers``, in the same order."""
        return self.load.schedule_on(tuple(self.workers.values()))

    def makespan(self, case: Case) -> float:
        """Return the makespan in a case of the remaining start-up and encode times, in seconds."""
        workers = [worker.in_case(case) for worker in self.workers.values()]
        factor = max(each.performance.encode_factor(case) for each in self.workers.values())
        running = factor * self.load.running_seconds
        return replace(self.load, running_seconds=running).schedule_on(workers).makespan


@dataclass(eq=False, slots=True, repr=False)
class Estimator:
    """Estimator of what the workers of a client will have done by when."""

    _backends: Sequence[Backend]
    _workers: WorkerIndex
    _queue: FairQueue
    _performances: Performances
    _snapshot: PoolSnapshot | None = None
    copies: dict[Assignment, None] = field(default_factory=dict[Assignment, None])
    """Slow encodes of which a copy is planned, the one that ends last first."""

    def send_ahead_until(self) -> float:
        """Return the time by which an encode must end for the next scene to be uploaded now.

        Uploads ahead are made as late as possible, because other workers cannot take such a scene.
        The time is infinite while encode and transfer times were not measured.
        """
        if not all(
            self._performances.has_measured(backend, "encode", "transfer")
            for backend in self._backends
        ):
            return math.inf
        transfer = max(
            self._performances.of_backend(each).transfer_seconds for each in self._backends
        )
        return anyio.current_time() + SEND_AHEAD_SECONDS + 2 * transfer

    def plan_copies(self, copies: Iterable[Assignment]) -> None:
        """Set of which slow encodes a copy is planned: forecasts assign their scenes again."""
        planned = dict.fromkeys(copies)
        if planned or self.copies:
            self.copies, self._snapshot = planned, None

    @property
    def waiting_scenes(self) -> int:
        """Number of scenes that wait in the queue or for a copy of their encode."""
        return len(self._queue) + len(self.copies)

    def invalidate(self) -> None:
        """Discard the snapshot, because workers or the queue have changed."""
        self._snapshot = None

    def snapshot(self) -> PoolSnapshot:
        """Return a snapshot of workers and scenes, which is kept until `invalidate` is called."""
        if self._snapshot is None:
            self._snapshot = self.new_snapshot()
        return self._snapshot

    def new_snapshot(self) -> PoolSnapshot:
        """Return a snapshot of this moment."""
        now, running = anyio.current_time(), 0.0
        workers, assigned = dict[PoolWorker, SimulatedWorker](), list[float]()
        for worker in self._workers.expected():
            performance = self._performances.of_worker(worker)
            encoding, waiting, left = self._assigned(worker, now)
            if left:
                running = max(running, left + performance.transfer_seconds)
            assigned += waiting
            ready_in = self._ready_in(worker)
            idle = slot_count(worker) - len(encoding)
            workers[worker] = SimulatedWorker(
                free_in=(*encoding, *[ready_in] * idle),
                performance=performance,
                usd_per_second=_usd_per_second(worker),
                billed_so_far=_billed_so_far(worker, performance),
                ready_in=ready_in,
            )
        return PoolSnapshot(
            load=self._load(assigned, running),
            workers=workers,
            measured=all("encode" in each.performance.measured for each in workers.values()),
        )

    def next_simulation_at(self) -> float:
        """Return the time before which workers are not simulated again for the same decision."""
        # With many workers, as many scenes end in a second as there could be simulations, which
        # would block the event loop.
        workers = len(self._workers)
        wait = SIMULATION_SECONDS_PER_WORKER * workers if workers > _FEW_WORKERS else 0.0
        return anyio.current_time() + wait

    def new_worker(self, backend: Backend) -> NewWorker:
        """Return the kind of worker that a backend starts."""
        price = float(backend.usd_per_second)
        return NewWorker(self._performances.of_backend(backend), backend.encoder_slots, price)

    def _ready_in(self, worker: PoolWorker) -> float:
        # An adopted worker that runs is ready in a moment, however long ago it was launched.
        if worker.connection is not None or worker.found_running:
            return 0.0
        # A start-up that has lasted some seconds too long is expected to last as many more.
        return abs(self._performances.of_backend(worker.backend).startup_seconds - worker.age)

    def _assigned(self, worker: PoolWorker, now: float) -> tuple[list[float], list[float], float]:
        """Return the seconds that running encodes still take, the work that waits, and the end."""
        # Second: work of assigned scenes that do not encode yet or of which a copy is planned.
        # Third: seconds until all other encodes are done.
        encoding, waiting, last = list[float](), list[float](), 0.0
        for each in worker.assignments:
            if each.state is AssignmentState.ENCODING:
                left = self._performances.encode_end(each) - now
                encoding.append(left)
                if each in self.copies:
                    waiting.append(each.ticket.work)
                else:
                    last = max(last, self._left_of_both(each, left, now))
            elif each.state is not AssignmentState.DOWNLOADING:
                waiting.append(each.ticket.work)
        return encoding, waiting, last

    def _left_of_both(self, assignment: Assignment, left: float, now: float) -> float:
        ticket = assignment.ticket
        other = ticket.assignment if assignment.is_copy else ticket.copy
        if other is None:
            return left
        if other.state is AssignmentState.ENCODING:
            return min(left, self._performances.encode_end(other) - now)
        return 0.0  # the other one waits, and is a part of the waiting work

    def _load(self, assigned: Iterable[float], running: float) -> Load:
        longest = self._queue.longest_works(MAX_SCENES_SIMULATED)
        others = len(self._queue) - len(longest)
        being_sent = sum(
            each.ticket.bytes_to_send
            for worker in self._workers.expected()
            if worker.backend.shares_uplink
            for each in worker.assignments
            if each.state is AssignmentState.UPLOADING
        )
        return Load(
            longest_works=[*longest, *assigned],
            other_scenes=others,
            other_work=max(0.0, self._queue.total_work - sum(longest)) if others else 0.0,
            running_seconds=running,
            bytes_to_send=self._queue.bytes_to_send + being_sent,
        )

    def can_finish(self, worker: PoolWorker, work: float) -> bool:
        """Return whether a worker can finish a scene before its task ends by itself."""
        # A worker that has not rendered anything yet can finish any scene, because no other
        # worker would have more time.
        lifetime, record, now = worker.backend.lifetime, worker.record, anyio.current_time()
        unknown = record.ready is None or worker.ready_unknown
        since = record.launched if unknown else record.ready
        if lifetime is None or since is None or not (worker.assignments or record.attempts):
            return True
        wait = 0.0 if spare_slots(worker) > 0 else max(0.0, next_slot_free_at(worker) - now)
        if math.isinf(wait):  # the end of what encodes there is not known
            return True
        return now + wait + self._performances.scene_seconds(worker, work) <= since + lifetime

    def is_in_time(self, ticket: Ticket, worker: PoolWorker) -> bool:
        """Return whether a worker would finish a scene within the expected makespan."""
        # The result is also True if the encode times of any worker were not measured, because a
        # slow worker is then better than an idle one.
        if ticket.avoided_tasks or ticket.suspect:
            return True
        if len(self._backends) == 1 and (worker.slowness == 1 or self._queue_takes(ticket, worker)):
            return True
        snapshot = self.snapshot()
        if not snapshot.measured:
            return True
        known = snapshot.workers.get(worker)
        free_in = min(known.free_in) if known else 0.0
        makespan = snapshot.schedule.unshared_makespan
        return (
            free_in + self._performances.scene_seconds(worker, ticket.work) <= makespan + _TOLERANCE
        )

    def _queue_takes(self, ticket: Ticket, worker: PoolWorker) -> bool:
        """Return whether the queue lasts longer than a scene on a worker that has a free slot."""
        seconds = (
            self._queue.total_work * self._performances.of_backend(worker.backend).seconds_per_work
        )
        slots = self._workers.ready_slots + self._workers.starting_slots
        return seconds / max(slots, 1) > self._performances.scene_seconds(worker, ticket.work)

    @property
    def needs_uplink(self) -> bool:
        """True if files wait for an uplink whose speed is known."""
        return bool(self._queue.bytes_to_send) and any(
            self._performances.of_backend(backend).uplink_seconds_per_megabyte
            for backend in self._backends
        )

    def empty_in(self, worker: PoolWorker, *, without: Ticket | None = None) -> float:
        """Return the seconds until a worker has no scene, if all its slots share what it has."""
        now = anyio.current_time()
        seconds, performance = 0.0, self._performances.of_worker(worker)
        for each in worker.assignments:
            if each.state is AssignmentState.ENCODING:
                seconds += self._performances.encode_end(each) - now
            elif each.state is not AssignmentState.DOWNLOADING and each.ticket is not without:
                seconds += performance.encode_seconds(each.ticket.work)
        return self._ready_in(worker) + seconds / worker.backend.encoder_slots

    def needless_workers(self) -> list[PoolWorker]:
        """Return the starting workers that are not expected to get a scene."""
        known = [
            each
            for each in self._backends
            if self._performances.has_measured(each, "startup", "encode")
        ]
        if not known or not self._workers.ready_slots:
            return []
        fastest = min(
            self._performances.of_backend(backend).seconds_per_work for backend in self._backends
        )
        longest_startup = max(
            self._performances.of_backend(backend).startup_seconds for backend in known
        )
        if self._queue.total_work * fastest / self._workers.ready_slots > 2 * longest_startup:
            return []  # the queue lasts longer than any start-up: no need to simulate
        snapshot = self.snapshot()
        busy = {
            worker
            for (worker, simulated), end in zip(
                snapshot.workers.items(), snapshot.schedule.worker_ends, strict=True
            )
            if end > max(simulated.free_in) + _TOLERANCE
        }
        starting = [
            worker
            for worker in self._workers.starting_on_time
            if not worker.exempt_from_scaling_rule
        ]
        return [each for each in starting if each not in busy and each.backend in known]


def _usd_per_second(worker: PoolWorker) -> float:
    usage = worker.record.usage
    return float(worker.backend.usd_per_second if usage is None else usage.usd_per_second)


def _billed_so_far(worker: PoolWorker, performance: Performance) -> float:
    usage = worker.record.usage
    placement = performance.placement_seconds
    if usage is not None and usage.pull_started_at is not None:
        placement = usage.pull_started_at - usage.created_at
    return worker.age - placement
