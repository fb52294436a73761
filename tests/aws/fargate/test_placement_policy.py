"""The placement of tasks and its fallbacks, in virtual time."""

from __future__ import annotations

import logging
from decimal import Decimal

import anyio
import pytest

from cloudburst.aws.fargate.placement import (
    FALLBACK_SECONDS,
    FALLBACKS,
    MEMORY_GB_BY_VCPU,
    PlacementPolicy,
)
from cloudburst.emulator.definitions import MEMORY_MB_BY_CPU
from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import Settings
from cloudburst.models.task import TaskId
from cloudburst.models.tier import Tier
from cloudburst.testing import VirtualClockLoop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return ("asyncio", {"loop_factory": VirtualClockLoop})


def made(*, subnets=("a", "b"), capacity="FARGATE_SPOT", fallbacks=FALLBACKS, tier=Tier.STANDARD):
    settings = Settings(subnets=subnets, capacity=capacity, fallbacks=fallbacks)
    return PlacementPolicy(settings, tier, price)


def price(provider, vcpu, memory_gb):
    return (vcpu + Decimal(memory_gb) / 100) * (1 if provider == "FARGATE" else Decimal("0.3"))


def told(place):
    return (place.subnets, place.provider, place.vcpu, place.memory_gb)


ALL = ("a", "b")
WAY = [
    (ALL, "FARGATE_SPOT", 2, 4),
    (("a",), "FARGATE_SPOT", 2, 4),
    (("b",), "FARGATE_SPOT", 2, 4),
    (ALL, None, 2, 4),
    (ALL, None, 2, 5),
    (ALL, None, 4, 8),
]


async def test_the_whole_way_up_and_around():
    policy, way = made(), []
    for _ in range(len(WAY) + 1):
        way.append(place := policy.next_placement(Tier.STANDARD))
        policy.report_no_capacity(place.option, "no room")
    assert [told(place) for place in way] == [*WAY, WAY[0]]


async def test_many_refusals_of_one_rung_climb_once():
    policy = made()
    places = [policy.next_placement(Tier.STANDARD) for _ in range(10)]
    for place in places:
        policy.report_no_capacity(place.option, "no room")
    assert told(policy.next_placement(Tier.STANDARD)) == WAY[1]


async def test_without_spot_there_is_no_rung_for_it():
    policy, way = made(capacity="FARGATE", subnets=("a",)), []
    for _ in range(4):
        way.append(place := policy.next_placement(Tier.STANDARD))
        policy.report_no_capacity(place.option, "no room")
    assert [told(place) for place in way] == [
        (("a",), None, 2, 4),
        (("a",), None, 2, 5),
        (("a",), None, 4, 8),
        (("a",), None, 2, 4),
    ]


@pytest.mark.parametrize("tier", list(Tier))
@pytest.mark.parametrize("fallbacks", [FALLBACKS, ("size",), ("on-demand",), ("subnet",), ()])
async def test_the_budget_counts_with_the_dearest_rung(tier, fallbacks):
    policy = made(tier=tier, fallbacks=fallbacks)
    seen = set()
    for _ in range(10):
        place = policy.next_placement(tier)
        seen.add(price(place.provider or "FARGATE", place.vcpu, place.memory_gb))
        policy.report_no_capacity(place.option, "no room")
    assert policy.max_usd_per_second == max(seen)


async def test_sizes_of_fargate_are_known():
    """The emulator has them from AWS's page on its own."""
    for vcpu, sizes in MEMORY_GB_BY_VCPU.items():
        assert list(sizes) == [mb // 1024 for mb in MEMORY_MB_BY_CPU[vcpu * 1024]]


async def test_a_setting_that_is_none():
    with pytest.raises(
        ConfigurationError, match="'zone'; expected some of subnet, on-demand, size"
    ):
        made(fallbacks=("subnet", "zone"))
    assert Settings(CLOUDBURST_FALLBACKS="on-demand, size").fallbacks == ("on-demand", "size")
    assert Settings(CLOUDBURST_FALLBACKS="").fallbacks == ()


async def test_after_a_while_the_first_rung_is_tried_again():
    policy = made()
    for rung in range(3):
        policy.report_no_capacity(rung, "no room")
    await anyio.sleep(FALLBACK_SECONDS - 1)
    assert told(policy.next_placement(Tier.STANDARD)) == WAY[3]
    await anyio.sleep(2)
    assert told(policy.next_placement(Tier.STANDARD)) == WAY[0]
    policy.report_no_capacity(3, "no room")
    assert told(policy.next_placement(Tier.STANDARD)) == WAY[0], "who asked long ago moves nobody"


async def test_each_climb_is_told_once_with_what_it_costs(caplog):
    caplog.set_level(logging.DEBUG)
    policy = made()
    for _ in range(3 * len(WAY)):
        policy.report_no_capacity(policy.next_placement(Tier.STANDARD).option, "no room")
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [text.partition("; ")[0] for text in warned] == ["no room"] * (len(WAY) - 1)
    assert warned[1] == "no room; the next tasks are requested in b only, at the same price"
    spot, more = Decimal("2.04") * 3600, Decimal("2.05") * 3600
    assert warned[2].endswith(f"for ${spot:.4f} an hour instead of ${spot * Decimal('0.3'):.4f}")
    assert warned[3].endswith(
        f"with 2 vCPU and 5 GB, for ${more:.4f} an hour instead of ${spot:.4f}"
    )
    await anyio.sleep(FALLBACK_SECONDS)
    assert not policy.next_placement(Tier.STANDARD).option
    policy.report_no_capacity(policy.next_placement(Tier.STANDARD).option, "again no room")
    assert "again no room" in caplog.records[-1].getMessage()
    assert caplog.records[-1].levelno == logging.WARNING


async def test_one_spot_notice_is_spots_daily_life():
    policy = made()
    for _ in range(3):
        policy.report_spot_interruption(TaskId("one"))
    assert told(policy.next_placement(Tier.STANDARD)) == WAY[0]
    await anyio.sleep(FALLBACK_SECONDS + 1)
    policy.report_spot_interruption(TaskId("two"))
    assert told(policy.next_placement(Tier.STANDARD)) == WAY[0], "the first one is long ago"
    policy.report_spot_interruption(TaskId("three"))
    assert told(policy.next_placement(Tier.STANDARD)) == WAY[3]


async def test_spot_is_not_left_where_that_is_not_allowed():
    policy = made(fallbacks=("subnet", "size"))
    for name in "abc":
        policy.report_spot_interruption(TaskId(name))
    assert told(policy.next_placement(Tier.STANDARD)) == WAY[0]


async def test_too_little_memory_is_another_size_at_once():
    policy = made()
    policy.report_out_of_memory(0, "no memory")
    assert told(policy.next_placement(Tier.STANDARD)) == WAY[4]
    policy.report_out_of_memory(0, "no memory")
    assert told(policy.next_placement(Tier.STANDARD)) == WAY[4], "that one was not so large yet"
    policy.report_out_of_memory(4, "no memory")
    assert told(policy.next_placement(Tier.STANDARD)) == WAY[5]
    policy.report_out_of_memory(5, "no memory")
    assert told(policy.next_placement(Tier.STANDARD)) == WAY[5], "there is no larger one"
