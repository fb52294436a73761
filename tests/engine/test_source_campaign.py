"""Sources in virtual time, beside the list of their scenes and one client for each scene."""

from __future__ import annotations

import random
from decimal import Decimal
from statistics import median
from types import SimpleNamespace

import pytest

from cloudburst.models import limits
from support.project import ROOT

HOUR_USD = Decimal("1.5")
NAMES = ("bursty", "instant", "fast", "slow 30", "slow 120", "slow 600", "stopping")
NAMES += ("needing 1", "needing 4", "faulty", "failing")


@pytest.fixture
def run_source(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    delays = random.Random(1)  # the same health checks in each run of the test
    monkeypatch.setattr(limits, "random", SimpleNamespace(Random=lambda: delays))
    from schedules import sources
    from schedules.task_model import BURSTS

    by_name = {source.name: source for source in sources.SOURCES}
    return lambda name, seed=0: sources.run_source(by_name[name], BURSTS, seed, HOUR_USD, number=10)


@pytest.mark.few(1)
@pytest.mark.parametrize("name", NAMES)
def test_a_source_ends_soon_and_costs_no_more_than_single_scenes(name, run_source):
    outcome = run_source(name)
    assert outcome.wall_ratio <= 1.1
    assert outcome.bill_over_alone <= 1.005
    if not outcome.is_limited_by_source:
        # With some scenes, one more task is started than for the list. As in the benchmark, the
        # median counts.
        others = (run_source(name, seed).bill_ratio for seed in (1, 2))
        assert median([outcome.bill_ratio, *others]) <= 1.1


def test_the_start_of_a_task_is_no_pause_of_a_source_that_needs_videos(run_source):
    assert len(run_source("needing 1").report.workers) == 1
