"""What is learned of how fast things go."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.engine.forecast.measurements import (
    MAX_SAMPLES_PER_MEASURE,
    Measurements,
)
from cloudburst.engine.forecast.scene_work import BASE_WORK
from cloudburst.models.performance import ASSUMED_RANGE, Performance, Sample

ASSUMED = Performance(
    startup_seconds=60.0,
    seconds_per_work=0.5,
    transfer_seconds=2.0,
    stop_seconds=20.0,
    placement_seconds=20.0,
    encode_range=ASSUMED_RANGE,
)


def encoded(seconds: float, sound: float, kind: str = "here") -> Sample:
    return Sample(kind=kind, measure="encode", seconds=seconds, work=sound)


def test_what_is_not_measured_is_assumed() -> None:
    assert Measurements().performance("here", ASSUMED) == ASSUMED
    assert Measurements([encoded(9.0, 9.0, kind="there")]).performance("here", ASSUMED) == ASSUMED


def test_what_is_measured_is_said_to_be() -> None:
    measurements = Measurements(
        [Sample(kind="here", measure="startup", seconds=31.0), encoded(3.0, 10.0)]
    )
    found = measurements.performance("here", ASSUMED)
    assert found.measured == {"startup", "encode"}
    assert (found.startup_seconds, found.transfer_seconds, found.stop_seconds) == (31.0, 2.0, 20.0)
    assert (measurements.count("here", "startup"), measurements.count("here", "stop")) == (1, 0)


def test_a_start_that_is_shorter_than_assumed_has_no_more_before_its_bill() -> None:
    measurements = Measurements([Sample(kind="here", measure="startup", seconds=5.0)])
    assert measurements.performance("here", ASSUMED).placement_seconds == 5.0


def test_the_median_start_counts() -> None:
    starts = [Sample(kind="here", measure="startup", seconds=s) for s in (30.0, 31.0, 300.0)]
    assert Measurements(starts).performance("here", ASSUMED).startup_seconds == 31.0


def test_old_starts_are_forgotten_after_two_runs_of_two_tasks() -> None:
    starts = [Sample(kind="here", measure="startup", seconds=s) for s in [240.0] * 30 + [60.0] * 4]
    assert Measurements(starts).performance("here", ASSUMED).startup_seconds == 60.0
    more = [Sample(kind="here", measure="startup", seconds=60.0)] * 18
    assert Measurements([*starts, *more]).performance("here", ASSUMED).late_after < 80


def test_one_encode_says_how_fast_a_machine_is_and_nothing_of_its_shape() -> None:
    assumed = Performance(seconds_per_scene=1.0, seconds_per_work=0.5)
    found = Measurements([encoded(12.0, 10.0)]).performance("here", assumed)  # 6 s were assumed
    assert found.encode_seconds(10.0) == pytest.approx(12.0)
    assert found.encode_seconds(20.0) == pytest.approx(22.0)


def test_after_many_short_scenes_a_long_one_is_not_expected_too_early() -> None:
    assumed = Performance(seconds_per_work=0.235)
    # On a slower machine: 0.6 s for the start, and 0.3 s for each second of camera motion.
    lengths = [0.5, 1.0, 1.5] * 20
    samples = [encoded(0.6 + 0.3 * length, BASE_WORK + length) for length in lengths]
    found = Measurements(samples).performance("here", assumed)
    assert found.encode_seconds(BASE_WORK + 60.0) == pytest.approx(18.6, rel=0.1)


def test_scenes_of_the_same_length_leave_the_shape_as_it_was() -> None:
    rng = random.Random(1)
    samples = [encoded(5.0 + rng.uniform(-1, 1), 10.0 + rng.uniform(-0.01, 0.01)) for _ in range(9)]
    found = Measurements(samples).performance("here", ASSUMED)
    assert found.encode_seconds(20.0) == pytest.approx(2 * found.encode_seconds(10.0), rel=0.2)


@given(
    scene=st.floats(-1.0, 5.0),
    ratio=st.floats(0.5, 5.0),
    seed=st.integers(0, 1000),
)
def test_many_scenes_say_it_all(scene: float, ratio: float, seed: int) -> None:
    rng = random.Random(seed)
    works = [rng.uniform(4, 20) for _ in range(120)]
    found = Measurements(encoded(scene + ratio * x, x) for x in works).performance("here", ASSUMED)
    for x in (5.0, 12.0, 20.0):
        assert found.encode_seconds(x) == pytest.approx(scene + ratio * x, rel=0.05, abs=0.1)


def test_a_machine_that_has_become_slow_is_believed() -> None:
    lengths = [5.0, 10.0, 15.0, 20.0]
    quick = [encoded(0.5 * x, x) for x in lengths * 30]
    slow = [encoded(1.5 * x, x) for x in lengths * 15]
    assert Measurements([*quick, *slow]).performance("here", ASSUMED).encode_seconds(10.0) > 11.0
    assert Measurements([*slow, *quick]).performance("here", ASSUMED).encode_seconds(10.0) < 9.0


@given(
    st.lists(st.tuples(st.floats(0.0, 2000.0), st.floats(0.01, 3700.0)), min_size=1, max_size=30)
)
def test_no_encode_takes_less_than_nothing(pairs: list[tuple[float, float]]) -> None:
    found = Measurements(encoded(seconds, sound) for seconds, sound in pairs).performance(
        "here", ASSUMED
    )
    for _, sound in pairs:
        assert found.encode_seconds(sound) >= 0
    assert found.encode_seconds(max(sound for _, sound in pairs) * 2) >= 0
    assert found.encode_range[0] <= 1 <= found.encode_range[1]


def test_the_latest_count() -> None:
    measurements = Measurements(encoded(1.0, 10.0) for _ in range(2 * MAX_SAMPLES_PER_MEASURE))
    assert measurements.count("here", "encode") == MAX_SAMPLES_PER_MEASURE


def test_how_far_figures_may_be_off() -> None:
    few = [encoded(10.0, 10.0)] * 5
    assert Measurements(few).performance("here", ASSUMED).encode_range == ASSUMED_RANGE
    rng = random.Random(2)
    many = [encoded(x * rng.uniform(0.8, 1.2), x) for x in [5.0, 10.0, 15.0] * 30]
    low, high = Measurements(many).performance("here", ASSUMED).encode_range
    assert 0.8 < low < 0.9
    assert 1.1 < high < 1.2


def test_the_best_and_the_worst_leave_alone_what_is_not_billed() -> None:
    pace = Performance(
        startup_seconds=60.0,
        placement_seconds=20.0,
        seconds_per_work=2.0,
        startup_range=(0.5, 2.0),
        encode_range=(0.5, 3.0),
    )
    best, worst = pace.in_case("best"), pace.in_case("worst")
    assert (best.startup_seconds, best.encode_seconds(10.0)) == (40.0, 10.0)
    assert (worst.startup_seconds, worst.encode_seconds(10.0)) == (100.0, 60.0)
    assert worst.in_case("worst") == worst


@pytest.mark.parametrize("slow", [2.0, 4.0])
def test_a_slow_worker_does_not_change_what_is_usual(slow):
    """Every fourth encode was on a worker that takes longer."""
    measurements = Measurements()
    for number, work in enumerate([5.0, 20.0, 60.0, 9.0, 30.0] * 8):
        seconds = work * (slow if number % 4 == 0 else 1.0)
        measurements.add(Sample(kind="k", measure="encode", seconds=seconds, work=work))
    performance = measurements.performance("k", Performance(seconds_per_work=3.0))
    assert performance.encode_seconds(40.0) == pytest.approx(40.0, rel=0.01)
    assert performance.encode_range == pytest.approx((1.0, 1.0), rel=0.01)


def test_when_all_workers_are_slower_than_before_that_is_usual():
    measurements = Measurements()
    for factor in (*[1.0] * 60, *[2.0] * 16):
        measurements.add(Sample(kind="k", measure="encode", seconds=10 * factor, work=10.0))
    performance = measurements.performance("k", Performance())
    assert performance.encode_seconds(10.0) == pytest.approx(20.0, rel=0.01)
