"""How many tasks scenes are worth."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst import calculate_optimal_batch_distribution
from cloudburst.errors import ConfigurationError

count = st.integers(1, 300)


@pytest.mark.parametrize(
    ("scenes", "per_batch", "most", "least", "shares"),
    [
        (4, 2, 2, 5, [2, 2]),
        (8, 2, 4, 5, [2] * 4),
        (50, 10, 10, 5, [10] * 5),
        (120, 10, 10, 5, [12] * 10),
        (101, 10, 10, 5, [11] + [10] * 9),
        (9, 4, 10, 4, [5, 4]),
        (3, 10, 10, 5, [3]),
    ],
)
def test_shares(scenes, per_batch, most, least, shares):
    plan = calculate_optimal_batch_distribution(scenes, per_batch, most, least)
    assert plan["batch_distribution"] == plan.batch_distribution == shares
    assert plan["num_tasks"] == plan["total_batches"] == len(shares)
    assert list(plan) == [
        "num_tasks",
        "batch_distribution",
        "total_batches",
        "strategy",
        "warnings",
    ]


def test_the_defaults():
    assert calculate_optimal_batch_distribution(
        total_scenes=101
    ) == calculate_optimal_batch_distribution(101, 10, 10, 5)


def test_what_is_not_as_asked_for_is_told():
    assert calculate_optimal_batch_distribution(50).warnings == []
    (larger,) = calculate_optimal_batch_distribution(120).warnings
    assert "more scenes than scenes_per_batch=10" in larger
    (fewer,) = calculate_optimal_batch_distribution(9, 4, 10, 4).warnings
    assert "2 instead of 3 tasks, so that each has at least 4 scenes" in fewer
    plan = calculate_optimal_batch_distribution(101)
    assert plan.strategy == "101 scenes on 10 tasks: 1 × 11 and 9 × 10"


@pytest.mark.parametrize("number", [0, -1, 2.0, "2", True, None])
@pytest.mark.parametrize("place", range(4))
def test_numbers_that_are_none(place, number):
    numbers = [10, 5, 5, 5]
    numbers[place] = number
    with pytest.raises(ConfigurationError, match="expected a whole number, at least 1"):
        calculate_optimal_batch_distribution(*numbers)


@given(count, count, count, count)
def test_the_rule(scenes, per_batch, most, least):
    plan = calculate_optimal_batch_distribution(scenes, per_batch, most, least)
    shares = plan.batch_distribution
    assert sum(shares) == scenes
    assert max(shares) - min(shares) <= 1
    tasks = min(most, math.ceil(scenes / per_batch))
    while tasks > 1 and scenes // tasks < min(least, per_batch):
        tasks -= 1
    assert plan.num_tasks == len(shares) == tasks
