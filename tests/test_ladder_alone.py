"""The ladder alone, in virtual time."""

from __future__ import annotations

import logging
from decimal import Decimal

import anyio
import pytest

from cloudburst.adapters.aws.ladder import DOWN, GB, KINDS, Ladder
from cloudburst.adapters.aws.runtask import Providers
from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import Settings
from cloudburst.models.task import TaskId
from cloudburst.models.tier import Tier
from cloudburst.testing.emulator.definitions import MEMORY

pytestmark = pytest.mark.anyio


def made(*, subnets=("a", "b"), capacity="FARGATE_SPOT", ladder=KINDS, tier=Tier.STANDARD):
    settings = Settings(subnets=subnets, capacity=capacity, ladder=ladder)
    return Ladder(settings, tier, Providers(capacity), price)


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
    ladder, way = made(), []
    for _ in range(len(WAY) + 1):
        way.append(place := ladder.place(Tier.STANDARD))
        ladder.lacked(place.rung, "no room")
    assert [told(place) for place in way] == [*WAY, WAY[0]]


async def test_many_refusals_of_one_rung_climb_once():
    ladder = made()
    places = [ladder.place(Tier.STANDARD) for _ in range(10)]
    for place in places:
        ladder.lacked(place.rung, "no room")
    assert told(ladder.place(Tier.STANDARD)) == WAY[1]


async def test_a_share_of_spot_is_kept_up_to_on_demand():
    ladder = made(capacity="FARGATE_SPOT:3,FARGATE:1")
    ladder.lacked(0, "no room")
    assert {ladder.place(Tier.STANDARD).provider for _ in range(4)} == {"FARGATE_SPOT", "FARGATE"}
    for rung in (1, 2):
        ladder.lacked(rung, "no room")
    assert {ladder.place(Tier.STANDARD).provider for _ in range(4)} == {None}


async def test_without_spot_there_is_no_rung_for_it():
    ladder, way = made(capacity="FARGATE", subnets=("a",)), []
    for _ in range(4):
        way.append(place := ladder.place(Tier.STANDARD))
        ladder.lacked(place.rung, "no room")
    assert [told(place) for place in way] == [
        (("a",), None, 2, 4),
        (("a",), None, 2, 5),
        (("a",), None, 4, 8),
        (("a",), None, 2, 4),
    ]


@pytest.mark.parametrize("tier", list(Tier))
@pytest.mark.parametrize("ladder", [KINDS, ("size",), ("on-demand",), ("subnet",), ()])
async def test_the_budget_counts_with_the_dearest_rung(tier, ladder):
    it = made(tier=tier, ladder=ladder)
    seen = set()
    for _ in range(10):
        place = it.place(tier)
        seen.add(price(place.provider or "FARGATE", place.vcpu, place.memory_gb))
        it.lacked(place.rung, "no room")
    assert it.most_usd_per_second == max(seen)


async def test_it_knows_the_sizes_that_fargate_has():
    """The emulator has them from AWS's page on its own."""
    for vcpu, sizes in GB.items():
        assert list(sizes) == [mb // 1024 for mb in MEMORY[vcpu * 1024]]


async def test_a_setting_that_is_none():
    with pytest.raises(
        ConfigurationError, match="'zone'; expected some of subnet, on-demand, size"
    ):
        made(ladder=("subnet", "zone"))
    assert Settings(CLOUDBURST_LADDER="on-demand, size").ladder == ("on-demand", "size")
    assert Settings(CLOUDBURST_LADDER="").ladder == ()


async def test_after_a_while_the_first_rung_is_tried_again():
    ladder = made()
    for rung in range(3):
        ladder.lacked(rung, "no room")
    await anyio.sleep(DOWN - 1)
    assert told(ladder.place(Tier.STANDARD)) == WAY[3]
    await anyio.sleep(2)
    assert told(ladder.place(Tier.STANDARD)) == WAY[0]
    ladder.lacked(3, "no room")
    assert told(ladder.place(Tier.STANDARD)) == WAY[0], "who asked long ago moves nobody"


async def test_each_climb_is_told_once_with_what_it_costs(caplog):
    caplog.set_level(logging.DEBUG)
    ladder = made()
    for _ in range(3 * len(WAY)):
        ladder.lacked(ladder.place(Tier.STANDARD).rung, "no room")
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [text.partition("; ")[0] for text in warned] == ["no room"] * (len(WAY) - 1)
    assert warned[1] == "no room; the next tasks are asked for in b alone, at the same price"
    spot, more = Decimal("2.04") * 3600, Decimal("2.05") * 3600
    assert warned[2].endswith(f"${spot:.4f} an hour, not ${spot * Decimal('0.3'):.4f}")
    assert warned[3].endswith(f"with 2 vCPU and 5 GB, ${more:.4f} an hour, not ${spot:.4f}")
    await anyio.sleep(DOWN)
    assert not ladder.place(Tier.STANDARD).rung
    ladder.lacked(ladder.place(Tier.STANDARD).rung, "again no room")
    assert "again no room" in caplog.records[-1].getMessage()
    assert caplog.records[-1].levelno == logging.WARNING


async def test_one_spot_notice_is_spots_daily_life():
    ladder = made()
    for _ in range(3):
        ladder.taken(TaskId("one"))
    assert told(ladder.place(Tier.STANDARD)) == WAY[0]
    await anyio.sleep(DOWN + 1)
    ladder.taken(TaskId("two"))
    assert told(ladder.place(Tier.STANDARD)) == WAY[0], "the first one is long ago"
    ladder.taken(TaskId("three"))
    assert told(ladder.place(Tier.STANDARD)) == WAY[3]


async def test_spot_is_not_left_where_that_is_not_allowed():
    ladder = made(ladder=("subnet", "size"))
    for name in "abc":
        ladder.taken(TaskId(name))
    assert told(ladder.place(Tier.STANDARD)) == WAY[0]


async def test_too_little_memory_is_another_size_at_once():
    ladder = made()
    ladder.too_small(0, "no memory")
    assert told(ladder.place(Tier.STANDARD)) == WAY[4]
    ladder.too_small(0, "no memory")
    assert told(ladder.place(Tier.STANDARD)) == WAY[4], "that one was not so large yet"
    ladder.too_small(4, "no memory")
    assert told(ladder.place(Tier.STANDARD)) == WAY[5]
    ladder.too_small(5, "no memory")
    assert told(ladder.place(Tier.STANDARD)) == WAY[5], "there is no larger one"
