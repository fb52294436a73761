"""Prices of Fargate: the table that is in use, and its update from AWS's price list."""

from __future__ import annotations

import datetime as dt
import logging

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.client.price_list import (
    GET_PRODUCTS_PARAMETERS,
    PRICING_REGION,
    load_prices,
    save_prices,
    update_prices,
)
from cloudburst.errors import ConfigurationError
from cloudburst.models.prices import PriceTable
from cloudburst.models.settings import Settings

__all__ = ["load_prices", "refresh_prices"]

logger = logging.getLogger(__name__)


async def refresh_prices(settings: Settings) -> PriceTable:
    """Load the list prices of all regions from AWS, save them for this user and return them.

    The credentials need the permission ``pricing:GetProducts``. The list has no Spot prices, so the
    factor between list prices and Spot prices is not changed.

    Raises:
        AWSError: The list has an unexpected form; nothing was saved.
        ConfigurationError: The prices cannot be saved on this machine.
    """
    async with open_aws(settings) as aws:
        products = await aws.collect_pages(
            "pricing",
            "get_products",
            "PriceList",
            in_region=PRICING_REGION,
            **GET_PRODUCTS_PARAMETERS,
        )
    today = dt.datetime.now(dt.UTC).date()
    table = update_prices(await load_prices(), products, today=today, needed=aws.region)
    try:
        path = await save_prices(table)
    except OSError as exc:
        raise ConfigurationError(f"the prices cannot be saved: {exc}") from exc
    logger.info("saved the prices of %s to %s", table.date, path)
    return table
