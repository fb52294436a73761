"""When scenes will be done: against bounds that hold for every schedule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.engine.forecast.simulation import (
    MAX_SCENES_SIMULATED,
    EncoderSlot,
    Load,
    fill_level,
    list_schedule,
)
from cloudburst.models.performance import Performance

PACE = Performance(seconds_per_work=1.0)
sounds = st.lists(st.floats(0.1, 1000.0), max_size=40)
frees = st.lists(st.floats(0.0, 100.0), min_size=1, max_size=8)


def places(*free: float, pace: Performance = PACE) -> list[EncoderSlot]:
    return [EncoderSlot(free_in=seconds, performance=pace) for seconds in free]


def test_longest_first() -> None:
    # 9 | 5 + 4, then 3: on whichever is free first.
    found = list_schedule([3.0, 4.0, 9.0, 5.0], places(0.0, 0.0))
    assert found.makespan == 12.0
    assert sorted(found.slot_ends) == [9.0, 12.0]


def test_who_comes_late_takes_what_is_left() -> None:
    found = list_schedule([10.0, 10.0, 10.0], places(0.0, 15.0))
    assert found.slot_ends == (20.0, 25.0)


def test_a_slow_place_does_not_take_what_a_fast_one_has_done_sooner() -> None:
    slow, fast = (
        EncoderSlot(free_in=0.0, performance=Performance(seconds_per_work=10.0)),
        EncoderSlot(free_in=5.0, performance=Performance(seconds_per_work=1.0)),
    )
    found = list_schedule([10.0, 10.0], [slow, fast])
    assert found.slot_ends == (0.0, 25.0)
    assert list_schedule([10.0, 1.0], [slow, fast]).slot_ends == (10.0, 15.0)


def test_the_last_video_travels() -> None:
    found = list_schedule(
        [4.0], places(1.0, pace=Performance(seconds_per_work=1.0, transfer_seconds=2.0))
    )
    assert (found.makespan, found.slot_ends) == (7.0, (5.0,))


def test_nothing_to_do_is_done() -> None:
    assert list_schedule([], []).makespan == 0.0
    assert list_schedule([], places(3.0)).slot_ends == (3.0,)


@given(sounds, st.integers(1, 8))
def test_no_sooner_than_any_schedule_can_be(works: list[float], number: int) -> None:
    found = list_schedule(works, places(*[0.0] * number))
    bound = max(sum(works) / number, max(works, default=0.0))
    assert found.makespan >= bound * (1 - 1e-9)
    # And no later than any list of scenes has it done, in whatever order (Graham, 1966).
    longest = max(works, default=0.0)
    latest = sum(works) / number + (1 - 1 / number) * longest
    assert found.makespan <= latest * (1 + 1e-9)


@given(sounds, frees, st.floats(0.0, 100.0))
def test_one_more_place_is_never_later(works: list[float], free: list[float], more: float) -> None:
    before = list_schedule(works, places(*free)).makespan
    assert list_schedule(works, places(*free, more)).makespan <= before * (1 + 1e-9)


@given(sounds, frees)
def test_every_scene_is_encoded_once(works: list[float], free: list[float]) -> None:
    found = list_schedule(works, places(*free))
    worked = sum(end - begin for end, begin in zip(found.slot_ends, free, strict=True))
    assert worked == pytest.approx(sum(works))


@given(sounds, frees)
def test_the_order_does_not_matter(works: list[float], free: list[float]) -> None:
    one = list_schedule(works, places(*free))
    other = list_schedule(works[::-1], places(*free[::-1]))
    assert one.makespan == pytest.approx(other.makespan)


seconds = st.floats(0.1, 500)
works = st.lists(seconds, min_size=1, max_size=40)
slot_lists = st.lists(
    st.builds(
        EncoderSlot,
        free_in=st.floats(0, 100),
        performance=st.builds(
            Performance, seconds_per_work=st.floats(0.1, 5), transfer_seconds=st.floats(0, 3)
        ),
    ),
    min_size=1,
    max_size=8,
)


@given(works, slot_lists)
def test_without_others_it_is_the_forecast(works, places):
    assert Load(longest_works=works).schedule_on(places) == list_schedule(works, places)


@given(works, slot_lists, st.integers(1, 500), seconds)
def test_more_scenes_never_make_it_earlier(works, places, others, each):
    alone = Load(longest_works=works).schedule_on(places)
    more = Load(longest_works=works, other_scenes=others, other_work=others * each).schedule_on(
        places
    )
    assert more.makespan >= alone.makespan
    assert all(a >= b for a, b in zip(more.slot_ends, alone.slot_ends, strict=True))


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 50)), min_size=1), st.integers(1, 999))
def test_what_is_poured_is_all_there(pairs, number):
    ends, each = zip(*pairs, strict=True)
    level = fill_level(ends, each, number)
    done = sum(max(0.0, level - end) / seconds for end, seconds in pairs)
    assert done == pytest.approx(number, rel=1e-6)


@given(st.integers(1, 30), st.floats(1, 20))
def test_pouring_is_close_to_placing_one_by_one(count, ratio):
    """A thousand equal scenes: the same end but for one scene."""
    spots = [
        EncoderSlot(free_in=float(n), performance=Performance(seconds_per_work=ratio))
        for n in range(count)
    ]
    exact = list_schedule([2.0] * 1000, spots).makespan
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
