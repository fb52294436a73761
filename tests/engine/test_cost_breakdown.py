"""Costs that were worked out by hand from AWS's price list (us-east-1, 2026-11)."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import ROUND_DOWN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.engine.records import Attempt, PhaseSpan, WorkerRecord
from cloudburst.engine.report import cost_of, scene_costs, total_cost
from cloudburst.errors import WorkerStoppedError
from cloudburst.models.prices import IPV4_USD_PER_SECOND, US_EAST_1_RATES, Rates
from cloudburst.models.report import Cost
from cloudburst.models.task import Usage, seconds_billed

ARM = Rates(vcpu=Decimal("0.03238") / 3600, memory_gb=Decimal("0.00356") / 3600)
SPOT = Rates(vcpu=Decimal("0.01246") / 3600, memory_gb=Decimal("0.00137") / 3600)

PULL = 1_764_000_000.25
STANDARD = Usage(
    rates=US_EAST_1_RATES,
    vcpu=2,
    memory_gb=4,
    public_ipv4=True,
    created_at=PULL - 8,
    pull_started_at=PULL,
    last_seen_at=PULL,
)


def stopped(after: float, usage: Usage = STANDARD) -> Usage:
    return replace(usage, stopped_at=PULL + after)


def worker(usage: Usage | None, visits=(), **facts) -> WorkerRecord:
    return WorkerRecord(
        backend="fargate", run="r", task="t", usage=usage, attempts=list(visits), **facts
    )


def visit(scene, *spans, done=True):
    return Attempt(run="r", scene=scene, spans=[PhaseSpan(*span) for span in spans], finished=done)


@pytest.mark.parametrize(
    ("usage", "seconds", "usd"),
    [
        # (2 × 0.04048 + 4 × 0.004445 + 0.005) / 3600 = 0.10374 / 3600
        pytest.param(stopped(1), 60, "0.001729000000", id="one second is billed as a minute"),
        pytest.param(stopped(60), 60, "0.001729000000", id="a minute"),
        pytest.param(stopped(60.001), 61, "0.001757816666", id="a millisecond begins a second"),
        pytest.param(stopped(3600), 3600, "0.103740000000", id="an hour"),
        # 0.09874 / 3600 × 90
        pytest.param(
            stopped(90, replace(STANDARD, public_ipv4=False)), 90, "0.002468499999", id="no address"
        ),
        # (2 × 0.03238 + 4 × 0.00356) / 3600 × 300 = 0.079 / 12
        pytest.param(
            stopped(300, replace(STANDARD, rates=ARM, public_ipv4=False)),
            300,
            "0.006583333333",
            id="ARM",
        ),
        # (2 × 0.01246 + 4 × 0.00137) / 3600 × 360 = 0.0304 / 10
        pytest.param(
            stopped(360, replace(STANDARD, rates=SPOT, public_ipv4=False)),
            360,
            "0.003040000000",
            id="Spot",
        ),
        # (0.09874 + 80 × 0.000111) / 3600 × 600 = 0.10762 / 6
        pytest.param(
            stopped(600, replace(STANDARD, extra_disk_gb=80, public_ipv4=False)),
            600,
            "0.017936666666",
            id="100 GB of disk",
        ),
        pytest.param(stopped(12), 60, "0.001729000000", id="a pull that failed"),
        pytest.param(
            replace(STANDARD, pull_started_at=None, stopped_at=PULL), 0, "0", id="no pull at all"
        ),
        pytest.param(replace(STANDARD, pull_started_at=None), 0, "0", id="not yet"),
        pytest.param(
            replace(STANDARD, last_seen_at=PULL + 100), 100, "0.002881666666", id="still runs"
        ),
    ],
)
def test_bills_of_tasks_on_which_nothing_was_finished(usage, seconds, usd):
    cost = cost_of(worker(usage))
    assert cost is not None
    assert (cost.billed_seconds, cost.usd) == (seconds, Decimal(usd))
    assert cost.wasted == cost.usd


def test_what_a_task_did_with_its_time():
    # 8 s after its launch it pulls, 40 s later it answers; on our clock it was launched at 100.
    one = visit("a", ("upload", 148, 150), ("encode", 150, 170), ("download", 170, 173))
    # Uploaded beside a's encode, encoded beside a's download: the encodes count once.
    two = visit("b", ("upload", 160, 165), ("encode", 170, 180), ("download", 180, 181))
    three = visit("c", ("upload", 181, 184), ("encode", 184, 190), done=False)
    record = worker(
        stopped(100), [one, two, three], launched=100.0, ready=148.0, stopped=191.0, settled=True
    )
    cost = cost_of(record)
    assert cost is not None
    rate = US_EAST_1_RATES.vcpu * 2 + US_EAST_1_RATES.memory_gb * 4 + IPV4_USD_PER_SECOND
    seconds = {"starting": 40, "encoding": 30, "transferring": 3, "wasted": 9, "idle": 18}
    for part, length in seconds.items():
        assert getattr(cost, part) == pytest.approx(length * rate, abs=Decimal("1e-11")), part
    assert cost.usd == (100 * rate).quantize(Decimal("1e-12"), ROUND_DOWN)
    assert cost.final

    given_to = scene_costs(record, cost)
    assert sum(given_to.values()) == cost.usd - cost.wasted
    # a took 25 s and b 16 s of work.
    assert given_to["r", "a"] / given_to["r", "b"] == pytest.approx(Decimal(25) / 16)


def test_a_scene_that_was_finished_twice_on_a_task_has_the_share_of_both():
    """Its files changed, and the run went on with the task of its first life."""
    first = visit("a", ("upload", 150, 155), ("encode", 155, 165))
    other = visit("b", ("upload", 165, 170), ("encode", 170, 185))
    again = visit("a", ("upload", 185, 190), ("encode", 190, 200))
    record = worker(stopped(110), [first, other, again], launched=100.0, ready=148.0, stopped=201.0)
    cost = cost_of(record)
    given_to = scene_costs(record, cost)
    assert sum(given_to.values()) == cost.usd - cost.wasted
    assert given_to["r", "a"] / given_to["r", "b"] == pytest.approx(Decimal(30) / 20)


def test_the_bill_of_a_task_that_was_not_looked_at_counts_to_its_last_scene():
    known = replace(STANDARD, last_seen_at=PULL + 5)  # and no answer of AWS since
    facts = {"launched": 92.0, "ready": 130.0}
    busy = worker(
        known,
        [visit("a", ("encode", 130, 280)), visit("b", ("encode", 280, 400), done=False)],
        **facts,
    )
    cost = cost_of(busy)
    assert (cost.billed_seconds, cost.final) == (180, False)  # until 280: b may have failed at once
    assert cost_of(worker(known, **facts)).billed_seconds == 60
    after = cost_of(replace(busy, usage=replace(known, stopped_at=PULL + 330)))
    assert after.billed_seconds == 330


def test_nothing_is_billed_on_this_machine():
    assert cost_of(worker(None)) is None
    assert total_cost([None, None]) == Cost(final=True)


def test_a_sum_is_final_when_all_of_it_is():
    one, two = (
        Cost(starting=Decimal(1), billed_seconds=60, final=True),
        Cost(idle=Decimal(2), billed_seconds=70),
    )
    both = total_cost([one, None, two])
    assert both == Cost(starting=Decimal(1), idle=Decimal(2), billed_seconds=130, final=False)


@given(seed=st.integers(0, 10**9), length=st.floats(0, 7200))
def test_parts_and_shares_add_up_exactly(seed, length):
    """Whatever the clocks say."""
    rng = random.Random(seed)
    visits = []
    for number in range(rng.randrange(6)):
        times = sorted(rng.uniform(90, 400) for _ in range(4))
        spans = zip(("upload", "encode", "download"), times[:3], times[1:], strict=True)
        visits.append(visit(f"s{number}", *spans, done=rng.random() < 0.7))
    record = worker(
        stopped(length, replace(STANDARD, extra_disk_gb=rng.randrange(50))),
        visits,
        launched=rng.uniform(0, 100),
        ready=rng.choice([None, rng.uniform(0, 200)]),
    )
    cost = cost_of(record)
    assert cost is not None
    whole = (seconds_billed(record.usage) * record.usage.usd_per_second).quantize(
        Decimal("1e-12"), ROUND_DOWN
    )
    assert cost.usd == whole
    assert min(cost.starting, cost.encoding, cost.transferring, cost.idle, cost.wasted) >= 0
    finished = any(v.finished for v in visits)
    assert sum(scene_costs(record, cost).values()) == (cost.usd - cost.wasted if finished else 0)


def test_errors_keep_the_stop_code():
    error = WorkerStoppedError("gone", task="t", stop_code="SpotInterruption")
    assert (error.task, error.stop_code) == ("t", "SpotInterruption")
