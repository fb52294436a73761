"""What is learned of how fast things go."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.engine.figures import KEPT, Figures, work
from cloudburst.models.options import RenderOptions
from cloudburst.models.pace import GUESSED, Pace, Sample
from cloudburst.models.scene import CheckedScene, Scene

ASSUMED = Pace(start=60.0, ratio=0.5, moving=2.0, stop=20.0, placing=20.0, encodes=GUESSED)


@dataclass(frozen=True)
class Somewhere:
    kind: str = "here"
    pace: Pace = ASSUMED


def encoded(seconds: float, sound: float, kind: str = "here") -> Sample:
    return Sample(kind=kind, measure="encode", seconds=seconds, sound=sound)


def scene(seconds: float = 8.0, *, subtitle: bool = False, size: int = 0) -> CheckedScene:
    told = Scene(
        name="s", image=Path("s.png"), audio=Path("s.mp3"), subtitle=Path("s") if subtitle else None
    )
    return CheckedScene(scene=told, seconds=seconds, bytes=size)


def test_what_is_not_measured_is_assumed() -> None:
    assert Figures().pace(Somewhere()) == ASSUMED
    assert Figures([encoded(9.0, 9.0, kind="there")]).pace(Somewhere()) == ASSUMED


def test_what_is_measured_is_said_to_be() -> None:
    figures = Figures([Sample(kind="here", measure="start", seconds=31.0), encoded(3.0, 10.0)])
    found = figures.pace(Somewhere())
    assert found.measured == {"start", "encode"}
    assert (found.start, found.moving, found.stop) == (31.0, 2.0, 20.0)
    assert (figures.count("here", "start"), figures.count("here", "stop")) == (1, 0)


def test_a_start_that_is_shorter_than_assumed_has_no_more_before_its_bill() -> None:
    figures = Figures([Sample(kind="here", measure="start", seconds=5.0)])
    assert figures.pace(Somewhere()).placing == 5.0


def test_of_starts_the_usual_one_counts() -> None:
    starts = [Sample(kind="here", measure="start", seconds=s) for s in (30.0, 31.0, 300.0)]
    assert Figures(starts).pace(Somewhere()).start == 31.0


def test_one_encode_says_how_fast_a_machine_is_and_nothing_of_its_shape() -> None:
    assumed = Pace(scene=1.0, ratio=0.5)
    found = Figures([encoded(12.0, 10.0)]).pace(Somewhere(pace=assumed))  # 6 s were assumed
    assert found.encode(10.0) == pytest.approx(12.0)
    assert found.encode(20.0) == pytest.approx(22.0)


def test_scenes_of_the_same_length_leave_the_shape_as_it_was() -> None:
    rng = random.Random(1)
    samples = [encoded(5.0 + rng.uniform(-1, 1), 10.0 + rng.uniform(-0.01, 0.01)) for _ in range(9)]
    found = Figures(samples).pace(Somewhere())
    assert found.encode(20.0) == pytest.approx(2 * found.encode(10.0), rel=0.2)


@given(
    scene=st.floats(-1.0, 5.0),
    ratio=st.floats(0.5, 5.0),
    seed=st.integers(0, 1000),
)
def test_many_scenes_say_it_all(scene: float, ratio: float, seed: int) -> None:
    rng = random.Random(seed)
    works = [rng.uniform(4, 20) for _ in range(120)]
    found = Figures(encoded(scene + ratio * x, x) for x in works).pace(Somewhere())
    for x in (5.0, 12.0, 20.0):
        assert found.encode(x) == pytest.approx(scene + ratio * x, rel=0.05, abs=0.1)


def test_a_machine_that_has_become_slow_is_believed() -> None:
    lengths = [5.0, 10.0, 15.0, 20.0]
    quick = [encoded(0.5 * x, x) for x in lengths * 30]
    slow = [encoded(1.5 * x, x) for x in lengths * 15]
    assert Figures([*quick, *slow]).pace(Somewhere()).encode(10.0) > 11.0
    assert Figures([*slow, *quick]).pace(Somewhere()).encode(10.0) < 9.0


@given(
    st.lists(st.tuples(st.floats(0.0, 2000.0), st.floats(0.01, 3700.0)), min_size=1, max_size=30)
)
def test_no_encode_takes_less_than_nothing(pairs: list[tuple[float, float]]) -> None:
    found = Figures(encoded(seconds, sound) for seconds, sound in pairs).pace(Somewhere())
    for _, sound in pairs:
        assert found.encode(sound) >= 0
    assert found.encode(max(sound for _, sound in pairs) * 2) >= 0
    assert found.encodes[0] <= 1 <= found.encodes[1]


def test_the_latest_count() -> None:
    figures = Figures(encoded(1.0, 10.0) for _ in range(2 * KEPT))
    assert figures.count("here", "encode") == KEPT


def test_how_far_figures_may_be_off() -> None:
    few = [encoded(10.0, 10.0)] * 5
    assert Figures(few).pace(Somewhere()).encodes == GUESSED
    rng = random.Random(2)
    many = [encoded(x * rng.uniform(0.8, 1.2), x) for x in [5.0, 10.0, 15.0] * 30]
    low, high = Figures(many).pace(Somewhere()).encodes
    assert 0.8 < low < 0.9
    assert 1.1 < high < 1.2


def test_a_figure_is_not_worked_out_twice() -> None:
    figures = Figures([encoded(3.0, 10.0)])
    assert figures.pace(Somewhere()) is figures.pace(Somewhere())
    figures.learn(encoded(5.0, 10.0))
    assert figures.pace(Somewhere()).encode(10.0) > 3.5


def test_the_best_and_the_worst_leave_alone_what_is_not_billed() -> None:
    pace = Pace(start=60.0, placing=20.0, ratio=2.0, starts=(0.5, 2.0), encodes=(0.5, 3.0))
    assert (pace.best.start, pace.best.encode(10.0)) == (40.0, 10.0)
    assert (pace.worst.start, pace.worst.encode(10.0)) == (100.0, 60.0)
    assert pace.worst.worst == pace.worst


def test_a_still_picture_is_half_the_work() -> None:
    still, moving = RenderOptions(effects=()), RenderOptions()
    assert 0.5 < work(scene(), still) / work(scene(), moving) < 0.6
    assert work(scene(9.0), still) > work(scene(), still)


def test_subtitles_and_large_files_are_more_work() -> None:
    options = RenderOptions()
    assert work(scene(subtitle=True), options) > work(scene(), options)
    assert work(scene(size=20_000_000), options) > work(scene(size=1_000_000), options) + 1
