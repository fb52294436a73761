"""The scaling rule and the forecast of billed seconds, with sums made by hand."""

from __future__ import annotations

import math

import pytest

from cloudburst.engine.forecast.billing_forecast import (
    billed_seconds,
    billed_task_seconds,
    unused_task_seconds,
)
from cloudburst.engine.forecast.scaling_rule import ScalingDecision, one_more_worker
from cloudburst.engine.forecast.simulation import Load, SimulatedWorker
from cloudburst.models.performance import Performance

TASK = Performance(startup_seconds=40.0, measured=frozenset({"startup", "encode"}))
HERE = Performance(seconds_per_work=3.0, measured=frozenset({"startup", "encode"}))


def task(free_in: float = 40.0) -> SimulatedWorker:
    return SimulatedWorker(free_in=(free_in,), performance=TASK, billed=True)


def decide(works: list[float], workers: list[SimulatedWorker], **facts: float) -> ScalingDecision:
    return one_more_worker(Load.from_works(works), workers, task(), **{"room": 9} | facts)  # type: ignore[arg-type]


def test_the_first_worker_pays_off() -> None:
    assert decide([0.1], []).pays_off


def test_a_worker_that_was_never_measured_pays_off() -> None:
    unknown = SimulatedWorker(free_in=(40.0,), performance=Performance(startup_seconds=40.0))
    assert one_more_worker(Load.from_works([1.0]), [task()], unknown, room=1).pays_off


@pytest.mark.parametrize(("scenes", "pays_off"), [(7, False), (8, False), (9, False), (10, True)])
def test_a_task_pays_off_that_saves_more_than_its_start_up(scenes: int, pays_off: bool) -> None:
    # 40 + 10 s for each scene on one task; on two, half of the scenes each.
    decision = decide([10.0] * scenes, [task()])
    assert decision.saved_seconds == 10.0 * (scenes // 2)
    assert decision.unused_seconds == 40.0
    assert decision.pays_off is pays_off


def test_the_rest_of_the_minute_counts_as_unused() -> None:
    quick = Performance(startup_seconds=2.0, measured=TASK.measured)
    new = SimulatedWorker(free_in=(2.0,), performance=quick, billed=True)
    decision = one_more_worker(Load.from_works([10.0, 10.0]), [new], new, room=1)
    assert decision == ScalingDecision(pays_off=False, saved_seconds=10.0, unused_seconds=50.0)


@pytest.mark.parametrize(("deadline", "pays_off"), [(109.0, True), (110.0, False)])
def test_for_a_deadline_every_task_pays_off_that_saves_time(
    deadline: float, pays_off: bool
) -> None:
    assert decide([10.0] * 7, [task()], deadline=deadline).pays_off is pays_off
    assert not decide([10.0], [task()], deadline=1.0).pays_off, "one scene needs one task"


def test_a_free_worker_pays_off_when_it_gets_a_scene() -> None:
    load = Load.from_works([10.0] * 4)
    for startup, pays_off in ((20.0, True), (200.0, False)):
        late = Performance(startup_seconds=startup, measured=TASK.measured)
        new = SimulatedWorker(free_in=(startup,), performance=late)
        assert one_more_worker(load, [task()], new, room=1).pays_off is pays_off


def test_free_workers_must_not_delay_a_run() -> None:
    # A free slot takes 30 s for a scene: it and one task are done at 120 s, two tasks at 100 s.
    here = SimulatedWorker(free_in=(0.0,), performance=HERE)
    load = Load.from_works([10.0] * 12)
    alone, helped = (load.schedule_on(workers).makespan for workers in ([task()], [here, task()]))
    assert (alone, helped) == (160.0, 120.0)
    decision = one_more_worker(load, [here, task()], task(), room=9)
    assert decision.saved_seconds <= decision.unused_seconds
    assert decision.pays_off
    assert not one_more_worker(load, [here, task()], task(), room=0).pays_off


def test_billed_seconds() -> None:
    performance = Performance(
        startup_seconds=40.0, placement_seconds=18.0, transfer_seconds=2.0, stop_seconds=23.0
    )
    assert billed_seconds(12.0) == 60.0
    assert billed_seconds(61.5) == 61.5
    assert billed_task_seconds(performance, 100.0) == 100.0 - 18.0 + 2.0 + 23.0
    assert billed_task_seconds(performance, 41.0) == 60.0
    # The bill begins after 18 s, ends 25 s after the last encode and has at least 60 s.
    assert unused_task_seconds(performance, 100.0) == 40.0 - 18.0
    assert unused_task_seconds(performance, 46.0) == 40.0 - 18.0 + 7.0
    assert math.isclose(unused_task_seconds(performance, 53.0), 40.0 - 18.0)
