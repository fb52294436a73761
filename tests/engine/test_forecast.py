"""When scenes will be done: against bounds that hold for every schedule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.engine.forecast import Place, forecast
from cloudburst.models.pace import Pace

PACE = Pace(ratio=1.0)
sounds = st.lists(st.floats(0.1, 1000.0), max_size=40)
frees = st.lists(st.floats(0.0, 100.0), min_size=1, max_size=8)


def places(*free: float, pace: Pace = PACE) -> list[Place]:
    return [Place(free=seconds, pace=pace) for seconds in free]


def test_longest_first() -> None:
    # 9 | 5 + 4, then 3: on whichever is free first.
    found = forecast([3.0, 4.0, 9.0, 5.0], places(0.0, 0.0))
    assert found.seconds == 12.0
    assert sorted(found.ends) == [9.0, 12.0]


def test_who_comes_late_takes_what_is_left() -> None:
    found = forecast([10.0, 10.0, 10.0], places(0.0, 15.0))
    assert found.ends == (20.0, 25.0)


def test_a_slow_place_does_not_take_what_a_fast_one_has_done_sooner() -> None:
    slow, fast = Place(free=0.0, pace=Pace(ratio=10.0)), Place(free=5.0, pace=Pace(ratio=1.0))
    found = forecast([10.0, 10.0], [slow, fast])
    assert found.ends == (0.0, 25.0)
    assert forecast([10.0, 1.0], [slow, fast]).ends == (10.0, 15.0)


def test_the_last_video_travels() -> None:
    found = forecast([4.0], places(1.0, pace=Pace(ratio=1.0, moving=2.0)))
    assert (found.seconds, found.ends) == (7.0, (5.0,))


def test_nothing_to_do_is_done() -> None:
    assert forecast([], []).seconds == 0.0
    assert forecast([], places(3.0)).ends == (3.0,)


@given(sounds, st.integers(1, 8))
def test_no_sooner_than_any_schedule_can_be(works: list[float], number: int) -> None:
    found = forecast(works, places(*[0.0] * number))
    bound = max(sum(works) / number, max(works, default=0.0))
    assert found.seconds >= bound * (1 - 1e-9)
    # And no later than any list of scenes has it done, in whatever order (Graham, 1966).
    longest = max(works, default=0.0)
    latest = sum(works) / number + (1 - 1 / number) * longest
    assert found.seconds <= latest * (1 + 1e-9)


@given(sounds, frees, st.floats(0.0, 100.0))
def test_one_more_place_is_never_later(works: list[float], free: list[float], more: float) -> None:
    before = forecast(works, places(*free)).seconds
    assert forecast(works, places(*free, more)).seconds <= before * (1 + 1e-9)


@given(sounds, frees)
def test_every_scene_is_encoded_once(works: list[float], free: list[float]) -> None:
    found = forecast(works, places(*free))
    worked = sum(end - begin for end, begin in zip(found.ends, free, strict=True))
    assert worked == pytest.approx(sum(works))


@given(sounds, frees)
def test_the_order_does_not_matter(works: list[float], free: list[float]) -> None:
    one = forecast(works, places(*free))
    other = forecast(works[::-1], places(*free[::-1]))
    assert one.seconds == pytest.approx(other.seconds)
