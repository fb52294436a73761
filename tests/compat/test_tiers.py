"""Sizes and prices of tasks are those of ``cloudburst-fargate``."""

from __future__ import annotations

import pytest

from cloudburst import Tier, calculate_fargate_cost, calculate_optimal_batch_distribution
from cloudburst.errors import ConfigurationError
from cloudburst.models.prices import IPV4_USD_PER_SECOND, PriceTable
from support.doc_pages import ROOT

_PRICES = ROOT / "src/cloudburst/aws/client/prices.json"
PRICES = PriceTable.model_validate_json(_PRICES.read_text("utf-8"))


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


@pytest.mark.parametrize("priority", SIZES)
def test_tiers(priority):
    tier = Tier.by_priority(priority)
    assert (tier.name, tier.vcpu, tier.memory_gb) == SIZES[priority]
    rate = PRICES.rates("us-east-1").task_usd_per_second(tier, public_ipv4=False)
    cost = calculate_fargate_cost(1, 1, priority)
    assert cost.cost_per_hour == pytest.approx(float(3600 * rate))
    assert cost.total_cost_usd == pytest.approx(float(60 * (rate + IPV4_USD_PER_SECOND)))


def test_every_tier_has_a_size():
    assert list(SIZES) == [tier.priority for tier in Tier]
