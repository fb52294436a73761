"""Cost of a task during any sequence of events: sums, shares, and final figures that stay."""

from __future__ import annotations

from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cloudburst.engine.records import Attempt, PhaseSpan, WorkerRecord
from cloudburst.engine.report import COST_PARTS, cost_of, scene_costs, total_cost
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.task import (
    MINIMUM_BILLED_SECONDS,
    TaskState,
    TaskStatus,
    Usage,
    seconds_billed,
)

EPOCH = 1_700_000_000.0
steps = st.floats(0, 400, allow_nan=False).map(lambda seconds: round(seconds, 3))
WORKS = ("upload", "encode", "download")


class Ledger(RuleBasedStateMachine):
    """One task of a run: it starts, works, fails, and is seen by AWS, whose clock is not ours."""

    @initialize(skew=st.floats(-3, 3, allow_nan=False), launched=steps)
    def launch(self, skew, launched):
        self.now = launched
        self.skew = EPOCH - launched + skew
        self.worker = WorkerRecord(backend="fargate", run="run", task="t", launched=launched)
        self.pull = self.stopped = None
        self.open = []
        self.last = Decimal()
        self.final = None
        self.number = 0

    @rule(seconds=steps)
    def time_passes(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.pull is None and self.stopped is None)
    @rule()
    def the_pull_starts(self):
        self.pull = self.now + self.skew

    @precondition(lambda self: self.worker.ready is None and self.pull and not self.stopped)
    @rule()
    def it_answers(self):
        self.worker.ready = self.now

    @precondition(lambda self: self.worker.ready is not None and not self.stopped)
    @rule(run=st.sampled_from(["run", "other"]), copied=st.booleans())
    def a_visit_begins(self, run, copied):
        self.number += 1
        name = "copied" if copied else f"s{self.number}"
        visit = Attempt(run=run, scene=name)
        self.worker.attempts.append(visit)
        self.open.append(visit)

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 9), work=st.sampled_from(WORKS), seconds=steps)
    def a_visit_works(self, which, work, seconds):
        visit = self.open[which % len(self.open)]
        ended = self.now + seconds
        visit.spans.append(PhaseSpan(work, self.now, ended))
        self.now = ended

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 9), done=st.booleans())
    def a_visit_ends(self, which, done):
        self.open.pop(which % len(self.open)).finished = done

    @precondition(lambda self: self.stopped is None)
    @rule()
    def it_stops(self):
        self.stopped = self.now + self.skew
        self.open.clear()

    @precondition(lambda self: self.final is None)
    @rule()
    def aws_is_asked(self):
        usage = Usage(
            rates=US_EAST_1_RATES,
            vcpu=2,
            memory_gb=4,
            created_at=self.worker.launched + self.skew,
            pull_started_at=self.pull,
            last_seen_at=self.now + self.skew,
            stopped_at=self.stopped,
        )
        state = TaskState.STOPPED if self.stopped else TaskState.RUNNING
        self.worker.update(TaskStatus(state=state, usage=usage))
        if self.stopped:
            self.final = cost_of(self.worker)

    @invariant()
    def it_adds_up(self):
        cost, usage = cost_of(self.worker), self.worker.usage
        if usage is None:
            assert cost is None
            return
        assert all(getattr(cost, part) >= 0 for part in COST_PARTS)
        seen = seconds_billed(usage)  # a running task is billed at least to its last scene
        assert (
            cost.billed_seconds >= seen if usage.stopped_at is None else cost.billed_seconds == seen
        )
        exact = cost.billed_seconds * usage.usd_per_second
        assert abs(cost.usd - exact) < Decimal("1e-9")
        assert sum((getattr(cost, part) for part in COST_PARTS), Decimal()) == cost.usd
        assert cost.billed_seconds == 0 or cost.billed_seconds >= MINIMUM_BILLED_SECONDS
        given = scene_costs(self.worker, cost)
        assert all(amount >= 0 for amount in given.values())
        if given:
            assert sum(given.values(), Decimal()) + cost.wasted == cost.usd
        else:
            assert not any(visit.finished for visit in self.worker.attempts) or not cost.usd
        both = total_cost([cost, cost, None])
        assert both.usd == 2 * cost.usd

    @invariant()
    def it_never_goes_down(self):
        cost = cost_of(self.worker)
        if cost is not None:
            assert cost.usd >= self.last
            self.last = cost.usd

    @invariant()
    def what_is_final_stays(self):
        cost = cost_of(self.worker)
        assert (cost is not None and cost.final) == (self.final is not None)
        if self.final is not None:
            assert (cost.usd, cost.billed_seconds) == (self.final.usd, self.final.billed_seconds)


SETTINGS = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)


class TestLedger(Ledger.TestCase):
    settings = SETTINGS


@pytest.mark.nightly
@pytest.mark.chaos
@pytest.mark.timeout(320)
class TestLedgerAtNight(Ledger.TestCase):
    settings = settings(SETTINGS, max_examples=300)
