"""Scheduler, which makes all decisions about scenes and workers without awaiting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import anyio

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.forecast.plan import Plan, WorkerKind, default_plan
from cloudburst.engine.pool_state import Assignment, PoolWorker, Ticket, WorkerState
from cloudburst.engine.records import Attempt
from cloudburst.engine.scheduler.assigner import Assigner
from cloudburst.engine.scheduler.backend_health import BackendHealth
from cloudburst.engine.scheduler.budget import Budget, SharedBudget
from cloudburst.engine.scheduler.encoder_slots import grant_slots
from cloudburst.engine.scheduler.estimator import Estimator
from cloudburst.engine.scheduler.idle_workers import KeptWorkers, Starts
from cloudburst.engine.scheduler.performances import Performances
from cloudburst.engine.scheduler.queue import FairQueue, PausedRuns
from cloudburst.engine.scheduler.scaling import Autoscaler
from cloudburst.engine.scheduler.speculation import Speculation
from cloudburst.engine.scheduler.workers import WorkerIndex
from cloudburst.engine.uplink import Uplink
from cloudburst.errors import BudgetError, CloudburstError
from cloudburst.models.limits import Limits
from cloudburst.models.task import TaskSpec
from cloudburst.ports.backend import Backend

# Seconds after which decisions are made again even if nothing has happened: an encode may have
# become too slow, or a deadline may be close.
TICK_SECONDS = 2.0


class SecondsLeft(NamedTuple):
    """Seconds until all scenes are done, and their range: see `Plan.seconds_low`."""

    expected: float
    low: float
    high: float


class Scheduler:
    """Scheduler of all runs of a client.

    It never awaits, so that decisions do not race.
    """

    def __init__(
        self,
        backends: Sequence[Backend],
        *,
        spec: TaskSpec,
        limits: Limits,
        measurements: Measurements,
        shared_budget: SharedBudget | None = None,
    ) -> None:
        self._backends = backends
        self._spec = spec
        self._limits = limits
        self.queue = queue = FairQueue()
        self.workers = workers = WorkerIndex()
        self.health = BackendHealth(backends, workers, limits)
        self.performances = performances = Performances(measurements)
        self._estimator = Estimator(backends, workers, queue, performances)
        self.budget = Budget(limits.max_usd, performances.slowest, workers, shared_budget)
        self._starts = Starts(workers, performances, self._estimator)
        self.autoscaler = Autoscaler(
            spec=spec,
            limits=limits,
            workers=workers,
            queue=queue,
            health=self.health,
            budget=self.budget,
            starts=self._starts,
            estimator=self._estimator,
        )
        self._assigner = Assigner(
            workers=workers,
            queue=queue,
            health=self.health,
            budget=self.budget,
            estimator=self._estimator,
            on_phase_end=self.decide,
        )
        self._speculation = Speculation(
            workers=workers,
            queue=queue,
            performances=performances,
            estimator=self._estimator,
            badness=self.autoscaler.badness,
            start_copy=self._assigner.start_copy,
        )
        unassign, decide = self._assigner.unassign, self._decide_on_scenes
        # When a run begins while no other is active, all circuit breakers are closed. Until then,
        # an open one stays open, so that scenes between two attempts get its error, too.
        self.paused_runs = PausedRuns(
            workers, queue, unassign=unassign, decide=decide, on_first_run=self.health.reset
        )
        self.kept_workers = KeptWorkers(
            limits, workers=workers, budget=self.budget, performances=performances
        )
        self._last_tick = 0.0
        self.decision_made = anyio.Event()
        """Event that is set after every decision, and is then replaced by a new event."""
        self.closed = False
        """True once the scheduler is closed and makes no more decisions."""

    # Decisions.

    def decide(self, changed_worker: PoolWorker | None = None) -> None:
        """Make all decisions that are possible now."""
        if changed_worker is not None:
            grant_slots(changed_worker)
            self._update_times(changed_worker)
            self.workers.refresh(changed_worker)
        if not self.closed:
            self.budget.begin_round()
            self._estimator.invalidate()
            # A free slot goes to the longest work: a copy of a slow encode comes before shorter
            # scenes that wait, any other copy only once no scene waits. What still waits decides
            # how many workers start. Scenes then move to slots that are left, and only after that
            # it is clear which starts are needless and which workers the uplink does not feed.
            if self._limits.speculative_copies:
                self._speculation.review()
                self._speculation.start_copies()
            self._assigner.assign_queue()
            self.autoscaler.start_workers()
            self._fail_hopeless()
            self._assigner.move_waiting()
            if not (self._limits.idle or self.kept_workers.expects_scenes):
                self._starts.cancel_needless()
            if (starved := self.autoscaler.stop_starved()) is not None:
                self.paused_runs.requeue(each for each in starved.assignments if not each.sending)
            if not (len(self.queue) or self.workers.overbooked):
                self._speculation.start_copies()
        self.decision_made.set()
        self.decision_made = anyio.Event()

    def _update_times(self, worker: PoolWorker) -> None:
        self.performances.update_worker(worker)
        self._speculation.note(worker)

    def _decide_on_scenes(self, changed_worker: PoolWorker | None = None) -> None:
        """Make all decisions again because scenes have arrived in the queue."""
        self._starts.end_pauses()
        self.autoscaler.reconsider()
        self.decide(changed_worker)

    def _fail_hopeless(self) -> None:
        """Fail all waiting scenes if no worker is busy or starting and none can be started."""
        if not len(self.queue) or any(each.assignments or each.starting for each in self.workers):
            return
        if error := self.budget.refusal():
            self._fail_waiting(error)
        if not len(self.workers):
            for refused in self.health.errors:
                self._fail_waiting(refused)

    def _fail_waiting(self, error: CloudburstError) -> None:
        while ticket := self.queue.take(lambda _: True):
            ticket.error = error
            ticket.notify()

    def tick(self, worker: PoolWorker) -> None:
        """Update the expected times of a worker, and make decisions again after `TICK_SECONDS`."""
        # No decision is made while no scene waits, no slot is free and no encode is slow, or
        # while workers only start, without a deadline or a new late start.
        now = anyio.current_time()
        if worker.assignments:
            self._update_times(worker)
        if now < self._last_tick + TICK_SECONDS:
            return
        self._last_tick = now
        late = self.autoscaler.review_starts()
        if (unaffordable := self.budget.unaffordable()) is not None:
            self._close(unaffordable)
        slow = bool(self._speculation.slow)
        if not (len(self.queue) or self.workers.free or slow):
            return
        if not (late or self.workers.ready_slots or self.queue.earliest_deadline < math.inf):
            return
        self._close_expiring()
        self.autoscaler.reconsider()
        self.decide()

    def _close_expiring(self) -> None:
        """Close workers whose task ends before the shortest waiting scene would be done."""
        if not len(self.queue):
            return
        shortest = self.queue.shortest().work
        for worker in tuple(self.workers.ready):
            limited = worker.backend.lifetime is not None
            if limited and not self._estimator.can_finish(worker, shortest):
                worker.move_to(WorkerState.CLOSING)
                worker.changed.set()
                self.workers.refresh(worker)

    def _close(self, worker: PoolWorker) -> None:
        worker.move_to(WorkerState.CLOSING)
        worker.closing_error = BudgetError(
            f"{worker.record.task} was stopped while it encoded, because the end of its encodes "
            f"would take the bill over Limits.max_usd (${self._limits.max_usd})"
        )
        for each in worker.assignments:
            if each.encoding_since is not None:  # so no other worker is started for the same result
                takes = self.performances.encode_end(each) - each.encoding_since
                self.performances.slowest.add_scene(takes, each.ticket.audio_seconds)
        self.paused_runs.requeue(worker.assignments, encoding=True)
        self._requeue(worker)

    def close(self, error: CloudburstError) -> None:
        """Make no more decisions, and fail all waiting scenes with this error."""
        self.closed = True
        self.queue.resume_all()
        self._fail_waiting(error)
        self.decide()

    # Runs and scenes.

    def enqueue(self, *tickets: Ticket) -> None:
        """Add scenes of one run to the queue, or fail them if the run was aborted."""
        if self.paused_runs.fail_aborted(tickets):
            return
        if tickets:
            self.kept_workers.note_scenes()
        self.queue.put(*tickets)
        self._decide_on_scenes()

    def withdraw(self, tickets: Iterable[Ticket]) -> None:
        """Remove scenes from the queue. Scenes that are not in the queue are ignored."""
        self.queue.remove_all(tickets)
        self.decide()

    def release(self, assignment: Assignment) -> None:
        """End an assignment, whether its scene is done, has failed or was never started."""
        worker = assignment.worker
        if assignment in worker.assignments:
            worker.assignments.remove(assignment)
        assignment.ticket.unassign(assignment)
        worker.last_used = anyio.current_time()
        if not len(self.queue):
            self.kept_workers.note_release()
        worker.changed.set()
        self.decide(worker)

    def on_scene_finished(self, attempt: Attempt, assignment: Assignment, uplink: Uplink) -> None:
        """Record that an attempt has made the video of a scene, and learn from its times."""
        attempt.finished = True
        ticket, worker = assignment.ticket, assignment.worker
        self.health.on_scene_finished(worker.backend)
        if not ticket.is_film:
            self.performances.learn_scene(worker, attempt, ticket)
            if worker.backend.shares_uplink:
                self.performances.learn_uplink(worker.backend, uplink)
        self.autoscaler.reconsider()

    def on_disk_full(self, assignment: Assignment, error: CloudburstError) -> None:
        """Close a worker that has no disk space for a scene; its running encodes may finish."""
        worker = assignment.worker
        self._assigner.unassign(assignment)
        worker.move_to(WorkerState.CLOSING)
        worker.closing_error = error
        self._requeue(worker)

    # Workers.

    def drain(self, worker: PoolWorker) -> None:
        """Assign no more scenes to a worker whose stop was announced by its backend."""
        worker.stop_announced = True
        worker.move_to(WorkerState.DRAINING)
        self._requeue(worker)

    def _requeue(self, worker: PoolWorker) -> None:
        self.paused_runs.requeue(worker.assignments)
        self._decide_on_scenes(worker)

    def on_launch_answered(self, worker: PoolWorker) -> None:
        """Record that the launch of a worker was accepted or given up."""
        if worker in self.autoscaler.unanswered:
            self.autoscaler.unanswered.remove(worker)
            self.decide(worker)

    def on_ready(self, worker: PoolWorker) -> None:
        """Make a worker that has become ready available for scenes, and learn from its start-up."""
        launched, ready = worker.record.launched, worker.record.ready
        self.health.on_ready(worker.backend)
        observed = worker.found is None  # not the start-up of an adopted worker
        if observed and launched is not None and ready is not None:
            self.performances.learn_startup(worker, ready - launched)
            self.autoscaler.reconsider()
        self._starts.on_ready(worker)
        self.kept_workers.note_ready(worker)
        self.decide(worker)

    def on_start_failed(self, worker: PoolWorker, error: CloudburstError) -> None:
        """Handle the failed start of a worker."""
        # If no worker can start on its backend, all other starts there are cancelled; ready ones
        # stay.
        if self.health.on_start_failed(worker, error):
            self._starts.cancel_on(worker.backend)

    def on_ended(self, worker: PoolWorker) -> None:
        """Remove a worker that has ended, and count its cost against the budget."""
        self.health.on_ended(worker)
        self.workers.remove(worker)
        self.performances.forget(worker)
        self._speculation.forget(worker)
        self.budget.add_stopped(worker.record)
        self.autoscaler.reconsider()
        self.on_launch_answered(worker)

    def seconds_left(self) -> SecondsLeft | None:
        """Return the expected seconds until all scenes are done; ``None`` while unknown."""
        snapshot = self._estimator.new_snapshot()
        left = snapshot.schedule.makespan
        if not snapshot.workers or not snapshot.measured or left == math.inf:
            return None
        low, high = snapshot.makespan("best"), snapshot.makespan("worst")
        return SecondsLeft(left, low=min(low, left), high=max(high, left))

    def plan_for(self, works: Iterable[float], bytes_to_send: float) -> Plan:
        """Return the plan of a run, assuming that no other run is active and no worker is warm."""
        limits = self._limits
        kinds = [
            WorkerKind(
                backend=backend.name,
                tier=self._spec.tier,
                performance=self.performances.of_backend(backend),
                encoder_slots=backend.encoder_slots,
                max_workers=min(limits.workers, backend.capacity or limits.workers),
                usd_per_second=backend.usd_per_second,
            )
            for backend in self._backends
        ]
        return default_plan(
            works,
            kinds,
            max_tasks=limits.workers,
            hour_usd=limits.hour_usd,
            deadline=limits.deadline,
            bytes_to_send=bytes_to_send,
        )
