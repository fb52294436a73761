"""Each row of each reference table in the documentation is true."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest

from cloudburst import (
    Settings,
    Tier,
    calculate_fargate_cost,
    calculate_optimal_batch_distribution,
    fargate,
)
from cloudburst.errors import ConfigurationError
from cloudburst.models.limits import Timeouts
from cloudburst.models.prices import IPV4_USD_PER_SECOND, PriceTable
from cloudburst.models.task import LaunchRequest, TaskSpec
from cloudburst.ports.backend import new_key
from support.doc_pages import ROOT, table_of

SETTINGS, BATCHES, AWS = "docs/settings.md", "docs/batches.md", "docs/aws.md"
_PRICES = ROOT / "src/cloudburst/aws/client/prices.json"
PRICES = PriceTable.model_validate_json(_PRICES.read_text("utf-8"))


def rows(page, first, *, named=2):
    """The rows of a table as parameters whose names are the first cells."""
    return [pytest.param(*row, id=" | ".join(row[:named])) for row in table_of(page, first)]


@pytest.mark.parametrize("numbers", [(10, 10, 5), (1, 1, 1), (2, 4, 5)])
def test_no_scenes_are_a_clear_error(numbers):
    with pytest.raises(ConfigurationError, match="total_scenes is 0; expected a whole number"):
        calculate_optimal_batch_distribution(0, *numbers)


SIZES = {
    1: ("STANDARD", 2, 4),
    2: ("HIGH_PERFORMANCE", 4, 8),
    3: ("ULTRA_PERFORMANCE", 8, 16),
    4: ("MAXIMUM_PERFORMANCE", 16, 32),
    5: ("ECONOMY", 1, 2),
}
"""Sizes of the tiers in ``cloudburst-fargate``."""


@pytest.mark.parametrize("row", table_of(SETTINGS, "1"), ids=lambda row: row[1])
def test_tiers(row):
    priority, name, vcpu, memory, hour, spot, least = row
    tier = Tier.by_priority(int(priority))
    size = (tier.name, tier.vcpu, tier.memory_gb)
    assert size == SIZES[int(priority)] == (name.strip("`"), int(vcpu), int(memory))
    on_demand = PRICES.rates("us-east-1").task_usd_per_second(tier, public_ipv4=False)
    on_spot = PRICES.rates("us-east-1", capacity="FARGATE_SPOT").task_usd_per_second(
        tier, public_ipv4=False
    )
    assert hour == f"${3600 * on_demand:.4f}"
    assert spot == f"${3600 * on_spot:.4f}"
    assert least == f"${60 * (on_demand + IPV4_USD_PER_SECOND):.4f}"
    cost = calculate_fargate_cost(1, 1, int(priority))
    assert least == f"${cost.total_cost_usd:.4f}"
    assert hour == f"${cost.cost_per_hour:.4f}"


def test_every_tier_is_in_the_table():
    assert [row[0] for row in table_of(SETTINGS, "1")] == [str(tier.priority) for tier in Tier]


def test_what_is_billed():
    text = " ".join(" ".join(row) for row in table_of(AWS, "vCPU and memory"))
    assert "at least 60 seconds" in text
    assert calculate_fargate_cost(1).billed_seconds == 60
    assert f"${3600 * IPV4_USD_PER_SECOND:.3f} an hour" in text


def test_how_much_less_spot_and_arm_cost():
    assert PRICES.spot_factor == Decimal("0.3184"), "about 68 % less"
    x86, arm = PRICES.rates("us-east-1"), PRICES.rates("us-east-1", architecture="ARM64")
    assert arm.vcpu / x86.vcpu == pytest.approx(Decimal("0.8"), abs=Decimal("0.001"))


@pytest.mark.anyio
async def test_tags(emulated):
    """A task has the tags of the table and no others."""
    told = {name.strip("`"): value for name, value in table_of(AWS, "`CreatedBy`")}
    with emulated(provisioning=600) as aws:
        async with fargate(Settings(**aws.environment))(Timeouts(), Tier.STANDARD) as backend:
            for language in ("chinese", "english"):
                spec = TaskSpec(scene="第一幕 <1>", run="run-1", language=language)
                request = LaunchRequest(spec=spec, token=language, secrets=new_key())
                await backend.launcher.launch(request)
        for task, language in zip(aws.tasks, ("chinese", "english"), strict=True):
            assert task.tags.keys() == told.keys()
            for fixed in ("CreatedBy", "Purpose", "Project"):
                assert f"`{task.tags[fixed]}`" == told[fixed]
            assert task.tags["Language"] == language
            assert f"`{language}`" in told["Language"]
            assert task.tags["Scene"] == "第一幕 _1_"
            assert task.tags["cloudburst:run"] == "run-1"
            assert task.started_by == "cloudburst/run-1"
        await anyio.lowlevel.checkpoint()
