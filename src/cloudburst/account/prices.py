"""What Fargate costs: the table that is known, and a fresh one from AWS."""

from __future__ import annotations

import datetime as dt
import logging

from cloudburst.adapters.aws.prices import (
    FARGATE_PRODUCTS,
    PRICING_REGION,
    load_prices,
    refreshed,
    save_prices,
)
from cloudburst.adapters.aws.session import open_aws
from cloudburst.errors import ConfigurationError
from cloudburst.models.prices import PriceTable
from cloudburst.models.settings import Settings

__all__ = ["load_prices", "refresh_prices"]

logger = logging.getLogger(__name__)


async def refresh_prices(settings: Settings) -> PriceTable:
    """Ask AWS for its list prices in all regions and keep them for this user.

    Needs ``pricing:GetProducts``. Spot prices are not in that list: their factor stays.

    Raises:
        AWSError: The list is not as expected; nothing was written.
        ConfigurationError: The file cannot be written.
    """
    async with open_aws(settings) as aws:
        products = await aws.pages(
            "pricing", "get_products", "PriceList", in_region=PRICING_REGION, **FARGATE_PRODUCTS
        )
    today = dt.datetime.now(dt.UTC).date()
    table = refreshed(await load_prices(), products, today=today, needed=aws.region)
    try:
        path = await save_prices(table)
    except OSError as exc:
        raise ConfigurationError(f"the prices cannot be kept: {exc}") from exc
    logger.info("prices of %s are in %s", table.date, path)
    return table
