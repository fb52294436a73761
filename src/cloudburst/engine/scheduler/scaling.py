"""Autoscaler, which starts as many workers as are worth their price."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count

import anyio

from cloudburst.engine.forecast.scaling_rule import (
    MAX_DELAY_BY_FREE_WORKERS,
    Forecast,
    Goal,
    best_outcome,
    further_workers,
    next_step,
    waiting_usd,
)
from cloudburst.engine.forecast.simulation import worker_usd
from cloudburst.engine.pool_state import Assignment, PoolWorker, Ticket
from cloudburst.engine.records import WorkerRecord
from cloudburst.engine.scheduler.backend_health import BackendHealth
from cloudburst.engine.scheduler.budget import Budget
from cloudburst.engine.scheduler.estimator import Estimator
from cloudburst.engine.scheduler.idle_workers import REPLACED, Starts
from cloudburst.engine.scheduler.queue import FairQueue
from cloudburst.engine.scheduler.workers import WorkerIndex
from cloudburst.models.limits import Limits
from cloudburst.models.task import TaskSpec
from cloudburst.ports.backend import Backend

logger = logging.getLogger(__name__)

# Largest number of launches that wait for an answer at the same time. It is the number of tasks
# that Fargate lets an account launch at once before it limits the rate
# (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/throttling.html, 2026-11).
MAX_UNANSWERED_LAUNCHES = 100
# Largest number of launches that one decision begins. For each of them, a key and a certificate
# are made, which blocks the event loop for a millisecond.
LAUNCHES_PER_DECISION = 10
# Share of the time in which the uplink sends all files in which the other workers must have
# encoded all scenes, for a worker to be stopped. The value is a choice: files do not arrive
# evenly, and the speed of the line changes.
MAX_BUSY = 0.7
# Seconds between two checks whether the uplink feeds all workers, each of which simulates them.
STARVED_SECONDS = 2.0
# Number of runs for which the client remembers that it has logged why no more tasks are started.
# It is limited because a client may serve any number of runs.
_MAX_EXPLAINED_RUNS = 100


@dataclass(eq=False, slots=True, repr=False)
class Autoscaler:
    """Autoscaler of a client: starts workers by the scaling rule, as far as the budget allows."""

    spec: TaskSpec
    limits: Limits
    workers: WorkerIndex
    queue: FairQueue
    health: BackendHealth
    budget: Budget
    starts: Starts
    estimator: Estimator
    start: Callable[[PoolWorker], None] = field(init=False)
    """Function that is called with each new worker; the pool sets it."""
    _numbers: count[int] = field(default_factory=count)
    unanswered: set[PoolWorker] = field(default_factory=set[PoolWorker])
    """Workers whose launch waits for an answer."""
    # Changes when the scaling rule may have another result.
    _situation: int = 0
    # By backend: the situation of the last decision, and how many workers are still to start.
    _to_start: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    # By backend: late worker that was stopped to make room for another one.
    _made_room: dict[str, PoolWorker] = field(default_factory=dict[str, PoolWorker])
    # By backend: time on anyio's clock before which the scaling rule is not applied again.
    _next_start: dict[str, float] = field(default_factory=dict[str, float])
    # Time on anyio's clock before which no worker is stopped as starved.
    _next_stop: float = 0.0
    _explained_runs: deque[str] = field(default_factory=lambda: deque(maxlen=_MAX_EXPLAINED_RUNS))

    def reconsider(self) -> None:
        """Decide again how many workers are needed."""
        self._situation += 1

    def start_workers(self) -> None:
        """Start as many workers as the scaling rule says, as far as the budget allows it."""
        limit = min(MAX_UNANSWERED_LAUNCHES, len(self.unanswered) + LAUNCHES_PER_DECISION)
        while (
            self.estimator.waiting_scenes > self._claimed_scenes() and len(self.unanswered) < limit
        ):
            worker = self._next_worker()
            if worker is None:
                break
            self.unanswered.add(worker)
            self._add(worker)
        self._make_room()

    def _first_ticket(self) -> Ticket:
        return self.queue.first() if len(self.queue) else next(iter(self.estimator.copies)).ticket

    def badness(self) -> tuple[float, float]:
        """Return a sort key of the forecast of all runs with the best number of further workers."""
        snapshot, goal = self.estimator.snapshot(), self._goal()
        workers = tuple(snapshot.workers.values())
        for backend in self.health.with_room:
            if backend.usd_per_second and not backend.eager:
                new, room = self.estimator.new_worker(backend), self.health.room(backend)
                outcome = best_outcome(snapshot.load, workers, new, room=room, goal=goal)
                return goal.badness(outcome)
        usd = sum(map(worker_usd, workers, snapshot.schedule.worker_ends))
        return goal.badness(Forecast(0, snapshot.schedule.makespan, usd))

    def review_starts(self) -> bool:
        """Find late starts, and return whether there are new ones or one was stopped."""
        changed = self.starts.review()
        if not len(self.queue):
            return changed
        audio_seconds = self.queue.shortest().audio_seconds
        for worker in self.workers.starting:
            # Its start takes longer than the budget has foreseen: it would be paid for nothing.
            if worker.record.task and not self.budget.allows(worker, audio_seconds):
                self.starts.give_up(worker, "no scene could be rendered within max_usd")
                return True
        return changed

    def _make_room(self) -> None:
        """Stop overdue workers in whose place another one is needed that would exceed a limit."""
        if self.estimator.waiting_scenes <= self._claimed_scenes():
            return
        for late in self.starts.overdue():
            new = self._new_worker(late.backend, exempt=False)
            audio_seconds = new.expected_audio_seconds
            has_room = self.health.room(late.backend) > 0
            if has_room and self.budget.allows(new, audio_seconds):
                continue  # it is started without a stop, if it is worth its price
            if not self.budget.allows(new, audio_seconds, stopped=late):
                continue
            if self._number_to_start(late.backend, room=1):
                self._made_room[late.backend.name] = late
                self.starts.give_up(late, REPLACED)
                self.budget.begin_round()  # what was refused may be allowed without the late one
            return  # one at a time: the next one when its stop was accepted

    def _claimed_scenes(self) -> int:
        if not self.health.any_eager:
            number = len(self.workers.starting_on_time)
            long = min(number, self.queue.long_scenes)
            return long + self.workers.starting_slots * (number - long) // max(number, 1)
        starting = (worker.backend for worker in self.workers.starting_on_time)
        return sum(1 if backend.eager else backend.encoder_slots for backend in starting)

    def _next_worker(self) -> PoolWorker | None:
        for backend in self.health.with_room:
            if (late := self._made_room.get(backend.name)) is not None and late in self.workers:
                continue  # its stop was not accepted yet
            # After a refusal by the budget, any worker that can be paid for is better than none.
            refused = self.budget.refusal() is not None
            copy = None
            if not len(self.queue):
                copy = self._copy_without_worker(backend)
                if copy is None:
                    continue
            # A waiting scene that has failed on all current workers needs a new one.
            avoided = any(
                all(worker.record.task in ticket.avoided_tasks for worker in self.workers.usable)
                for ticket in self.queue.restricted
            )
            exempt = backend.eager or refused or avoided
            if not exempt and copy is None and self.starts.is_paused(backend):
                continue
            if exempt or self._workers_to_start(backend):
                worker = self._new_worker(backend, exempt=exempt)
                if self.budget.allows(worker, worker.expected_audio_seconds):
                    self._replace_late(worker)
                    if copy is not None:
                        copy.copy_worker_started = True
                    situation, number = self._to_start.get(backend.name, (self._situation, 0))
                    self._to_start[backend.name] = situation, max(0, number - 1)
                    return worker
        return None

    def _copy_without_worker(self, backend: Backend) -> Assignment | None:
        # A copy is compared with an attempt on the backend of the slow encode, so a worker of
        # another backend may not be able to take it.
        if backend.eager:  # the callers of eager backends have planned no task for a copy
            return None
        for slow in self.estimator.copies:
            if slow.worker.backend is backend and not slow.copy_worker_started:
                return slow
        return None

    def _replace_late(self, worker: PoolWorker) -> None:
        late = self._made_room.pop(worker.backend.name, None)
        if late is None:
            late = worker.replaces = self.starts.to_replace(worker.backend)
        if late is not None:
            worker.late_starts_before = late.late_starts_before + 1

    def _workers_to_start(self, backend: Backend) -> int:
        situation, number = self._to_start.get(backend.name, (None, 0))
        is_new = situation != self._situation
        too_soon = anyio.current_time() < self._next_start.get(backend.name, -math.inf)
        if (not is_new or too_soon) and (number or self.workers.any_expected):
            return number
        self._next_start[backend.name] = self.estimator.next_simulation_at()
        room = self.health.room(backend)
        number = self._number_to_start(backend, room=room)
        self._to_start[backend.name] = self._situation, number
        if backend.usd_per_second and number < room:
            self._explain(backend, number, room)
        return number

    def _number_to_start(self, backend: Backend, *, room: int) -> int:
        snapshot = self.estimator.snapshot()
        return further_workers(
            snapshot.load,
            tuple(snapshot.workers.values()),
            self.estimator.new_worker(backend),
            room=room,
            goal=self._goal(),
        )

    def _goal(self) -> Goal:
        return Goal(
            hour_usd=waiting_usd(self.limits.hour_usd, self.estimator.snapshot().load),
            deadline=self.queue.earliest_deadline - anyio.current_time(),
            max_usd=self.budget.usd_for_plans,
        )

    def _explain(self, backend: Backend, number: int, room: int) -> None:
        """Log once for each run why no more tasks are started although more are allowed."""
        run = self._first_ticket().run
        if run in self._explained_runs:
            return
        self._explained_runs.append(run)
        snapshot, new = self.estimator.snapshot(), self.estimator.new_worker(backend)
        workers = tuple(snapshot.workers.values())
        step = next_step(snapshot.load, workers, new, number=number, room=room)
        tasks = self.workers.count_billed_like(backend)
        if step is not None:
            logger.info(
                "%d of %d tasks: %d more would save %.0f s and cost $%.4f; "
                "an hour of waiting is worth $%.2f (from Limits.hour_usd)",
                *(tasks + number, tasks + room, *step, self._goal().hour_usd),
            )

    def _new_worker(self, backend: Backend, *, exempt: bool) -> PoolWorker:
        first = self._first_ticket()
        return PoolWorker(
            backend=backend,
            number=next(self._numbers),
            spec=replace(self.spec, run=first.run, scene=first.scene, language=first.language),
            record=WorkerRecord(backend=backend.name, run=first.run),
            expected_audio_seconds=first.audio_seconds,
            exempt_from_scaling_rule=exempt,
        )

    def adopt(self, worker: PoolWorker) -> None:
        """Add a worker whose task was started by an earlier process."""
        worker.number = next(self._numbers)
        self._add(worker)

    def _add(self, worker: PoolWorker) -> None:
        self.workers.add(worker)
        self.estimator.invalidate()
        self.start(worker)

    def stop_starved(self) -> PoolWorker | None:
        """Stop a worker that the uplink does not feed and whose start is cheaper than its wait."""
        now = anyio.current_time()
        if self.limits.idle or now < self._next_stop or not self.estimator.needs_uplink:
            return None
        self._next_stop = now + STARVED_SECONDS
        snapshot = self.estimator.snapshot()
        workers, load = snapshot.workers, snapshot.load
        sent = load.uplink_bound(tuple(workers.values()))
        if sent < snapshot.schedule.makespan:
            return None
        encodes = replace(load, bytes_to_send=0.0)
        for worker, known in sorted(workers.items(), key=lambda pair: -pair[1].ready_in):
            busy = 0.0 if worker.starting else max(known.free_in)
            waits = sent - busy > known.performance.startup_seconds
            if worker.backend.eager or not known.usd_per_second or not waits:
                continue
            others = [other for other in workers.values() if other is not known]
            soon = others and load.uplink_bound(others) <= sent * MAX_DELAY_BY_FREE_WORKERS
            if soon and encodes.schedule_on(others).makespan <= MAX_BUSY * sent:
                self.starts.stop_needless(worker)
                return worker
        return None
