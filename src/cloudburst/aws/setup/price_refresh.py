"""Refresh of this user's prices from AWS's price list and from its page of Spot prices."""

from __future__ import annotations

import datetime as dt
import logging

import httpx

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.client.price_list import (
    GET_PRODUCTS_PARAMETERS,
    PRICING_REGION,
    load_prices,
    save_prices,
    update_prices,
    update_spot,
)
from cloudburst.aws.client.public_ip import is_emulated
from cloudburst.errors import AWSError, ConfigurationError
from cloudburst.models.prices import PriceTable
from cloudburst.models.settings import Settings
from cloudburst.net.session import get_page

logger = logging.getLogger(__name__)

# URL from which AWS's pricing page, https://aws.amazon.com/fargate/pricing/, reads the Spot prices
# of all regions. It is public but not documented; prices change several times a day (2026-09).
SPOT_URL = "https://dftu77xade0tc.cloudfront.net/fargate-spot-prices.json"
SPOT_TIMEOUT = 10.0
"""Maximum seconds to wait for a response from `SPOT_URL`."""


async def refresh_prices(
    settings: Settings, *, transport: httpx.AsyncBaseTransport | None = None
) -> PriceTable:
    """Load the list prices and Spot prices of all regions, save them for this user, return them.

    The credentials need the permission ``pricing:GetProducts``. If the Spot prices cannot be read,
    a warning is logged, and they stay as they were.

    Args:
        settings: Credentials and endpoint of the AWS account. The Spot prices of an emulator are
            those of the table.
        transport: HTTP transport for `SPOT_URL` to use in place of the network.

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
    if transport is not None or not is_emulated(settings):
        table = await _with_spot_prices(table, transport, today)
    try:
        path = await save_prices(table)
    except OSError as exc:
        raise ConfigurationError(f"the prices cannot be saved: {exc}") from exc
    logger.info("saved the prices of %s to %s", table.date, path)
    return table


async def _with_spot_prices(
    table: PriceTable, transport: httpx.AsyncBaseTransport | None, today: dt.date
) -> PriceTable:
    try:
        feed = await get_page(SPOT_URL, seconds=SPOT_TIMEOUT, transport=transport)
        return update_spot(table, feed.decode("utf-8", "replace"), source=SPOT_URL, today=today)
    except (httpx.HTTPError, AWSError) as exc:
        logger.warning("the Spot prices stay as they were (%s): %s", table.spot_date, exc)
        return table
