"""When scenes will be done: against bounds that hold for every schedule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.engine.forecast.scaling_rule import NewWorker
from cloudburst.engine.forecast.scene_work import (
    MIN_SHARED_WORK,
    SHARED_START_WORK,
    SHORTEST_SHARED_WORK,
)
from cloudburst.engine.forecast.simulation import (
    MAX_SCENES_SIMULATED,
    Load,
    Schedule,
    SimulatedWorker,
    fill_level,
)
from cloudburst.models.performance import Performance

PACE = Performance(seconds_per_work=1.0)
sounds = st.lists(st.floats(0.1, 1000.0), max_size=40)
frees = st.lists(st.floats(0.0, 100.0), min_size=1, max_size=8)


def places(*free: float, pace: Performance = PACE) -> list[SimulatedWorker]:
    return [SimulatedWorker(free_in=(seconds,), performance=pace) for seconds in free]


def schedule(works: list[float], workers: list[SimulatedWorker]) -> Schedule:
    return Load(longest_works=works).schedule_on(workers)


def test_longest_first() -> None:
    # 9 | 5 + 4, then 3: on whichever is free first.
    found = schedule([3.0, 4.0, 9.0, 5.0], places(0.0, 0.0))
    assert found.makespan == 12.0
    assert sorted(found.worker_ends) == [9.0, 12.0]


def test_a_late_worker_takes_the_rest() -> None:
    found = schedule([10.0, 10.0, 10.0], places(0.0, 15.0))
    assert found.worker_ends == (20.0, 25.0)


def test_a_slow_place_does_not_take_what_a_fast_one_has_done_sooner() -> None:
    slow, fast = (
        SimulatedWorker(free_in=(0.0,), performance=Performance(seconds_per_work=10.0)),
        SimulatedWorker(free_in=(5.0,), performance=Performance(seconds_per_work=1.0)),
    )
    found = schedule([10.0, 10.0], [slow, fast])
    assert found.worker_ends == (0.0, 25.0)
    assert schedule([10.0, 1.0], [slow, fast]).worker_ends == (10.0, 15.0)


def test_the_last_video_travels() -> None:
    found = schedule(
        [4.0], places(1.0, pace=Performance(seconds_per_work=1.0, transfer_seconds=2.0))
    )
    assert (found.makespan, found.worker_ends) == (7.0, (5.0,))


def test_a_simulation_without_work_ends_at_once() -> None:
    assert schedule([], []).makespan == 0.0
    assert schedule([], places(3.0)).worker_ends == (3.0,)


@given(sounds, st.integers(1, 8))
def test_no_sooner_than_any_schedule_can_be(works: list[float], number: int) -> None:
    found = schedule(works, places(*[0.0] * number))
    bound = max(sum(works) / number, max(works, default=0.0))
    assert found.makespan >= bound * (1 - 1e-9)
    # And no later than any list of scenes has it done, in whatever order (Graham, 1966).
    longest = max(works, default=0.0)
    latest = sum(works) / number + (1 - 1 / number) * longest
    assert found.makespan <= latest * (1 + 1e-9)


@given(sounds, frees, st.floats(0.0, 100.0))
def test_one_more_place_is_never_later(works: list[float], free: list[float], more: float) -> None:
    before = schedule(works, places(*free)).makespan
    assert schedule(works, places(*free, more)).makespan <= before * (1 + 1e-9)


@given(sounds, frees)
def test_every_scene_is_encoded_once(works: list[float], free: list[float]) -> None:
    found = schedule(works, places(*free))
    worked = sum(end - begin for end, begin in zip(found.worker_ends, free, strict=True))
    assert worked == pytest.approx(sum(works))


@given(sounds, frees)
def test_the_order_does_not_matter(works: list[float], free: list[float]) -> None:
    one = schedule(works, places(*free))
    other = schedule(works[::-1], places(*free[::-1]))
    assert one.makespan == pytest.approx(other.makespan)


seconds = st.floats(0.1, 500)
works = st.lists(seconds, min_size=1, max_size=40)
worker_lists = st.lists(
    st.builds(
        SimulatedWorker,
        free_in=st.lists(st.floats(0, 100), min_size=1, max_size=4).map(tuple),
        performance=st.builds(
            Performance, seconds_per_work=st.floats(0.1, 5), transfer_seconds=st.floats(0, 3)
        ),
    ),
    min_size=1,
    max_size=8,
)


# Shared encoding: see `SHARED_START_WORK`; here, a second of work takes a second.


def test_a_long_scene_is_shared_by_the_idle_slots_of_its_worker():
    two, one = SimulatedWorker(free_in=(0.0, 0.0), performance=PACE), places(0.0)[0]
    shared = schedule([100.0], [two])
    assert shared.makespan == (100.0 + SHARED_START_WORK) / 2
    assert shared.worker_ends == (shared.makespan,)
    assert shared.unshared_makespan == 100.0
    assert schedule([100.0], [one, one]).makespan == 100.0  # not by another worker


def test_a_short_scene_is_not_shared():
    four = SimulatedWorker(free_in=(0.0,) * 4, performance=PACE)
    below = MIN_SHARED_WORK - 0.01
    assert schedule([below], [four]).makespan == below


def test_many_slots_do_not_encode_a_scene_at_once():
    many = SimulatedWorker(free_in=(0.0,) * 16, performance=PACE)
    assert schedule([40.0], [many]).makespan == SHORTEST_SHARED_WORK


def test_a_slot_that_is_free_too_late_does_not_take_part():
    worker = SimulatedWorker(free_in=(0.0, 96.0), performance=PACE)
    assert schedule([100.0], [worker]).makespan == 100.0


def test_short_scenes_come_before_shared_encoding():
    worker = SimulatedWorker(free_in=(0.0, 0.0), performance=PACE)
    assert schedule([100.0, 10.0, 10.0], [worker]).makespan == (120.0 + SHARED_START_WORK) / 2


def test_the_last_of_three_long_scenes_is_shared():
    worker = SimulatedWorker(free_in=(0.0, 0.0), performance=PACE)
    found = schedule([100.0, 100.0, 100.0], [worker])
    assert found.makespan == pytest.approx(150.0, abs=SHARED_START_WORK)
    assert found.unshared_makespan == 200.0


def test_each_of_three_long_scenes_gets_all_slots_of_a_worker_that_is_ready_soon():
    workers = [SimulatedWorker(free_in=(free,) * 2, performance=PACE) for free in (0.0, 9.0, 18.0)]
    shared = (100.0 + SHARED_START_WORK) / 2
    found = schedule([100.0, 100.0, 100.0], workers)
    assert found.worker_ends == (shared, 9.0 + shared, 18.0 + shared)


def test_a_long_scene_shares_a_worker_if_another_one_is_ready_too_late():
    workers = [SimulatedWorker(free_in=(free,) * 2, performance=PACE) for free in (0.0, 60.0)]
    assert schedule([100.0, 100.0], workers).worker_ends == (100.0, 60.0)


@given(works, worker_lists)
def test_shared_encoding_is_never_later_nor_faster_than_all_slots(works, workers):
    found = schedule(works, workers)
    assert found.makespan <= found.unshared_makespan
    fastest = min(each.performance.seconds_per_work for each in workers)
    slots = sum(len(each.free_in) for each in workers)
    assert found.makespan >= sum(works) * fastest / slots * (1 - 1e-9)


def test_scenes_are_spread_over_workers_with_free_slots():
    worker = SimulatedWorker(free_in=(0.0, 0.0), performance=PACE)
    assert schedule([5.0, 5.0], [worker, worker]).worker_ends == (5.0, 5.0)


@given(works, worker_lists, st.integers(1, 500), seconds)
def test_more_scenes_never_make_it_earlier(works, places, others, each):
    alone = Load(longest_works=works).schedule_on(places)
    more = Load(longest_works=works, other_scenes=others, other_work=others * each).schedule_on(
        places
    )
    assert more.makespan >= alone.makespan * (1 - 1e-9)
    assert all(
        a >= b * (1 - 1e-9) for a, b in zip(more.worker_ends, alone.worker_ends, strict=True)
    )


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 50)), min_size=1), st.integers(1, 999))
def test_the_fill_level_places_the_whole_number(pairs, number):
    ends, each = zip(*pairs, strict=True)
    level = fill_level(ends, each, number)
    done = sum(max(0.0, level - end) / seconds for end, seconds in pairs)
    assert done == pytest.approx(number, rel=1e-6)


@given(st.integers(1, 30), st.floats(1, 20))
def test_pouring_is_close_to_placing_one_by_one(count, ratio):
    """A thousand equal scenes: the same end but for one scene."""
    spots = [
        SimulatedWorker(free_in=(float(n),), performance=Performance(seconds_per_work=ratio))
        for n in range(count)
    ]
    exact = schedule([2.0] * 1000, spots).makespan
    rest = 1000 - MAX_SCENES_SIMULATED
    poured = (
        Load(longest_works=[2.0] * MAX_SCENES_SIMULATED, other_scenes=rest, other_work=2.0 * rest)
        .schedule_on(spots)
        .makespan
    )
    assert abs(exact - poured) <= 2.0 * ratio + 1e-6


def test_with_no_places_it_is_never_done():
    assert Load(longest_works=[1.0]).schedule_on([]).makespan == float("inf")
    assert Load(longest_works=[]).schedule_on([]).makespan == 0.0


LINE = Performance(startup_seconds=20.0, uplink_seconds_per_megabyte=4.0)


def far_load(*, megabytes: float) -> Load:
    return Load(longest_works=[3.0] * 12, bytes_to_send=megabytes * 1e6)


def started(number: int, *, slots: int = 1) -> list[SimulatedWorker]:
    return NewWorker(LINE, slots, 0.0).started(number)


def test_more_workers_do_not_shorten_the_time_of_the_uplink() -> None:
    load = far_load(megabytes=6)
    ends = [load.schedule_on(started(number)).makespan for number in (1, 2, 4, 12)]
    assert ends == pytest.approx([20 + 36, 20 + 3 + 24, 20 + 3 + 24, 20 + 3 + 24])
    assert far_load(megabytes=0).schedule_on(started(4)).makespan == pytest.approx(20 + 9)


def test_workers_here_encode_while_the_uplink_sends() -> None:
    here = SimulatedWorker(free_in=(0.0, 0.0), performance=PACE)
    load = far_load(megabytes=600)
    assert load.uplink_bound([here]) == 0.0
    assert load.schedule_on([here, *started(1)]).makespan == pytest.approx(18.0)
    assert load.uplink_bound([here, *started(1)]) == pytest.approx(18.0)


def test_the_uplink_has_nothing_to_send_once_all_scenes_encode() -> None:
    load = Load(longest_works=[], running_seconds=5.0, bytes_to_send=6e6)
    assert load.schedule_on(started(1)).makespan == 5.0
