"""What runs would take and cost: by hand, and what holds for all of them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.engine.forecast.plan import (
    Plan,
    WorkerGroup,
    WorkerKind,
    default_plan,
    enumerate_plans,
    make_plan,
)
from cloudburst.engine.forecast.scene_work import MIN_SHARED_WORK
from cloudburst.engine.forecast.simulation import Load
from cloudburst.models.limits import Limits
from cloudburst.models.performance import Performance
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.tier import Tier

RATE = Decimal("0.00003")


def tasks(
    most: int = 4, *, tier: Tier = Tier.STANDARD, encoders: int = 1, **pace: float
) -> WorkerKind:
    facts = {
        "startup_seconds": 60.0,
        "placement_seconds": 20.0,
        "seconds_per_work": 1.0,
        "transfer_seconds": 2.0,
        "stop_seconds": 25.0,
    }
    return WorkerKind(
        backend="fargate",
        tier=tier,
        performance=Performance(**facts | pace),  # type: ignore[arg-type]
        encoder_slots=encoders,
        max_workers=most,
        usd_per_second=RATE * tier.vcpu / 2,
    )


def uncertain(most: int) -> WorkerKind:
    """Return tasks whose start-ups take half to twice, and encodes 0.7 to 1.4 of the usual time."""
    kind = tasks(most)
    performance = replace(kind.performance, startup_range=(0.5, 2.0), encode_range=(0.7, 1.4))
    return replace(kind, performance=performance)


def here(workers: int = 2, ratio: float = 1.0) -> WorkerKind:
    return WorkerKind(
        backend="local",
        performance=Performance(startup_seconds=1.0, seconds_per_work=ratio),
        encoder_slots=1,
        max_workers=workers,
    )


def test_a_run_on_one_task() -> None:
    # Answers at 60, encodes until 90, the last video is there at 92, the bill ends at 117. It
    # began at 20: 97 s.
    plan = make_plan(Load.from_works([10.0, 20.0]), [WorkerGroup(kind=tasks(), count=1)])
    assert (plan.seconds, plan.tasks) == (92.0, 1)
    assert plan.usd == 97 * RATE == plan.usd_low == plan.usd_high


def test_a_minute_at_least() -> None:
    plan = make_plan(
        Load.from_works([1.0]),
        [WorkerGroup(kind=tasks(startup_seconds=25.0, stop_seconds=0.0), count=1)],
    )
    assert plan.usd == 60 * RATE


def test_tasks_that_get_no_scene_are_billed_until_the_run_ends() -> None:
    # Two encode until 70 and 80. The last video is there at 82, and the bills end at 97 and 107.
    plan = make_plan(Load.from_works([10.0, 20.0]), [WorkerGroup(kind=tasks(), count=4)])
    assert plan.tasks == 4
    assert plan.usd == (77 + 87 + 2 * 67) * RATE


def test_this_machine_and_a_task() -> None:
    # Two here take 100 s each, a third one goes to the task: 60 + 100 + 2.
    crews = [WorkerGroup(kind=here(), count=2), WorkerGroup(kind=tasks(), count=1)]
    plan = make_plan(Load.from_works([100.0] * 3), crews)
    assert [(crew.kind.backend, crew.count) for crew in plan.groups] == [
        ("local", 2),
        ("fargate", 1),
    ]
    assert plan.seconds == 162.0
    assert plan.usd == (60 - 20 + 100 + 2 + 25) * RATE


def test_the_range_of_a_bill() -> None:
    offer = tasks()
    pace = Performance(
        startup_seconds=60.0,
        placement_seconds=20.0,
        seconds_per_work=1.0,
        transfer_seconds=2.0,
        stop_seconds=25.0,
        startup_range=(0.5, 1.5),
        encode_range=(0.5, 2),
    )
    unsure = WorkerKind(
        backend="fargate",
        performance=pace,
        encoder_slots=1,
        max_workers=1,
        usd_per_second=offer.usd_per_second,
    )
    plan = make_plan(Load.from_works([100.0]), [WorkerGroup(kind=unsure, count=1)])
    assert plan.usd_low == (20 + 50 + 2 + 25) * RATE
    assert plan.usd == (40 + 100 + 2 + 25) * RATE
    assert plan.usd_high == (60 + 200 + 2 + 25) * RATE
    assert plan.prediction.wall_seconds == plan.seconds


def test_a_task_with_several_slots_is_billed_once() -> None:
    plan = make_plan(Load.from_works([100.0] * 4), [WorkerGroup(kind=tasks(encoders=4), count=1)])
    assert plan.usd == (40 + 100 + 2 + 25) * RATE


def test_every_number_of_tasks_and_this_machine() -> None:
    found = enumerate_plans([100.0] * 6, [here(), tasks(4), tasks(4, tier=Tier.HIGH_PERFORMANCE)])
    told = {
        (plan.paid_group.kind.tier if plan.paid_group else None, plan.tasks, len(plan.groups))
        for plan in found.plans
    }
    assert (None, 0, 1) in told
    for tier in (Tier.STANDARD, Tier.HIGH_PERFORMANCE):
        # Four tasks do two rounds, as three do.
        assert {(tier, number, 1) for number in (1, 2, 3)} <= told
        assert (tier, 4, 1) not in told
        assert (tier, 2, 2) in told


def test_the_cheapest_in_time_and_the_fastest_for_the_money() -> None:
    found = enumerate_plans([100.0] * 8, [tasks(8)])
    assert [plan.tasks for plan in found.frontier] == [1, 2, 3, 4, 8]
    assert one(found.cheapest(deadline=1000.0)).tasks == 1
    assert one(found.cheapest(deadline=470.0)).tasks == 2  # 60 + 4 × 100 + 2
    assert one(found.cheapest(deadline=461.0)).tasks == 3
    assert found.cheapest(deadline=100.0) is None
    # One costs 40 + 800 + 27 s, two 2 × (40 + 400 + 27), eight 8 × (40 + 100 + 27).
    assert one(found.fastest(budget=867 * RATE)).tasks == 1
    assert one(found.fastest(budget=934 * RATE)).tasks == 2
    assert one(found.fastest(budget=Decimal(1))).tasks == 8
    assert found.fastest(budget=866 * RATE) is None
    assert one(found.cheapest(deadline=400.0, budget=Decimal(1))).tasks == 3
    assert found.cheapest(deadline=200.0, budget=934 * RATE) is None
    assert found.closest(deadline=200.0, budget=934 * RATE).tasks == 2
    assert found.closest(deadline=100.0, budget=None).tasks == 8
    assert found.closest(deadline=None, budget=RATE).tasks == 1


def test_a_plan_says_in_how_many_of_ten_runs_it_keeps_a_deadline() -> None:
    plan = make_plan(Load.from_works([100.0]), [WorkerGroup(kind=uncertain(1), count=1)])
    assert (plan.seconds_low, plan.seconds, plan.seconds_high) == (112, 162, 242)
    kept = {
        deadline: plan.runs_within(deadline) for deadline in (111, 112, 150, 162, 202, 242, 999)
    }
    assert kept == {111: 0, 112: 0, 150: 1, 162: 2, 202: 5, 242: 9, 999: 9}


def test_a_deadline_is_planned_for_nine_of_ten_runs() -> None:
    found = enumerate_plans([100.0] * 8, [uncertain(8)])
    one_task, two, *_ = found.frontier
    assert one(found.cheapest(deadline=one_task.seconds_high)) is one_task
    # One task keeps it in two of ten runs, two tasks in nine.
    assert two.seconds_high < one_task.seconds
    assert one(found.cheapest(deadline=one_task.seconds)).tasks == 2
    # None keeps it in nine: the surest.
    fastest = found.frontier[-1]
    tight = (fastest.seconds + fastest.seconds_high) / 2
    assert one(found.cheapest(deadline=tight)) is fastest
    assert fastest.runs_within(tight) == 5


def test_what_costs_nothing_comes_first() -> None:
    found = enumerate_plans([100.0] * 8, [tasks(8), here()])
    cheapest = one(found.cheapest(deadline=1000.0))
    assert (cheapest.usd, cheapest.seconds) == (0, 401.0)
    assert found.frontier[0] is cheapest
    assert one(found.fastest(budget=Decimal("0.0000001"))) is cheapest


def test_one_more_task_that_saves_nothing_is_no_plan() -> None:
    found = enumerate_plans([600.0, 1.0, 1.0], [tasks(3)])
    assert [plan.tasks for plan in found.plans] == [1, 2]


def one(plan: Plan | None) -> Plan:
    assert plan is not None
    return plan


@given(
    works=st.lists(st.floats(0.5, 900.0), min_size=1, max_size=30),
    ratio=st.floats(0.1, 8.0),
    start=st.floats(0.0, 120.0),
    workers=st.integers(0, 3),
)
def test_the_frontier_is_one(works: list[float], ratio: float, start: float, workers: int) -> None:
    offers = [
        tasks(5, tier=tier, encoders=tier.vcpu, seconds_per_work=ratio, startup_seconds=20 + start)
        for tier in Tier
    ]
    found = enumerate_plans(works, [*offers, *([here(workers)] if workers else [])])
    line = found.frontier
    for cheap, dear in pairwise(line):
        assert cheap.usd < dear.usd
        assert cheap.seconds > dear.seconds
    for plan in found.plans:
        assert not any(
            (plan.usd, plan.seconds) != (best.usd, best.seconds)
            and plan.usd <= best.usd
            and plan.seconds <= best.seconds
            for best in line
        )
        assert plan in line or any(
            best.usd <= plan.usd and best.seconds <= plan.seconds for best in line
        )
        assert plan.usd_low <= plan.usd <= plan.usd_high
        total, longest = sum(works) * ratio, max(works)
        if not workers:
            each = plan.groups[0].kind.encoder_slots
            is_shared = each > 1 and longest >= MIN_SHARED_WORK
            least = max(total / (plan.tasks * each), 0.0 if is_shared else longest * ratio)
            assert plan.seconds >= (20 + start + least) * (1 - 1e-9)
            assert plan.usd >= 60 * plan.tasks * plan.groups[0].kind.usd_per_second


def test_prices_are_those_of_the_table() -> None:
    rate = US_EAST_1_RATES.task_usd_per_second(Tier.STANDARD)
    offer = WorkerKind(
        backend="fargate",
        performance=Performance(),
        encoder_slots=1,
        max_workers=1,
        usd_per_second=rate,
    )
    plan = make_plan(Load.from_works([3600.0]), [WorkerGroup(kind=offer, count=1)])
    assert plan.usd == pytest.approx(3600 * rate, abs=Decimal("0.000001"))


def test_a_plan_includes_the_time_of_a_measured_uplink() -> None:
    works, size = [10.0] * 8, 100_000_000
    far = tasks(4, uplink_seconds_per_megabyte=4.0)
    alone = make_plan(Load.from_works(works), [WorkerGroup(kind=far, count=4)])
    slow = make_plan(Load.from_works(works, bytes_to_send=size), [WorkerGroup(kind=far, count=4)])
    assert alone.seconds == 60 + 2 * 10 + 2
    assert slow.seconds == pytest.approx(60 + 10 + 400)
    assert slow.usd == pytest.approx(4 * RATE * (60 - 20 + 10 + 400 + 2 + 25), rel=Decimal("0.01"))
    fast = make_plan(
        Load.from_works(works, bytes_to_send=size), [WorkerGroup(kind=tasks(4), count=4)]
    )
    assert fast.seconds == alone.seconds


def test_a_plan_has_no_task_that_the_uplink_cannot_feed() -> None:
    works, far = [10.0] * 8, tasks(4, uplink_seconds_per_megabyte=4.0)
    known = replace(far.performance, measured=frozenset({"startup", "encode"}))
    far = replace(far, performance=known)
    chosen = [
        default_plan(works, [far], max_tasks=4, hour_usd=Decimal(3), bytes_to_send=size).tasks
        for size in (0, 100_000_000)
    ]
    assert chosen == [4, 1]
    plans = enumerate_plans(works, [far], bytes_to_send=100_000_000).plans
    assert [plan.tasks for plan in plans] == [1]


def test_a_run_with_many_scenes_gets_tasks_in_proportion_to_its_scenes() -> None:
    kind = tasks(2000, encoders=2, seconds_per_work=0.5)
    measured = frozenset({"startup", "encode"})
    kind = replace(kind, performance=replace(kind.performance, measured=measured))

    def plan(scenes: int) -> Plan:
        hour = Limits().hour_usd
        return default_plan([12.0] * scenes, [kind], max_tasks=2000, hour_usd=hour)

    few, many = plan(2_000), plan(20_000)
    assert few.tasks > 80
    assert 9 < many.tasks / few.tasks < 11
    assert many.seconds < 1.1 * few.seconds
