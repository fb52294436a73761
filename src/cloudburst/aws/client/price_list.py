"""Prices of Fargate: read from the package or the user's folder, updated from AWS's price list."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

from anyio import to_thread

from cloudburst.errors import AWSError
from cloudburst.files import replaced_file, state_folder
from cloudburst.models.prices import DEFAULT_REGION, PriceTable, RegionPrices

logger = logging.getLogger(__name__)

# Region in which the Price List API is called. This API exists in three regions and returns the
# prices of all regions:
# https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html
# (2026-11).
PRICING_REGION = "us-east-1"
GET_PRODUCTS_PARAMETERS = {
    "ServiceCode": "AmazonECS",
    "FormatVersion": "aws_v1",
    "Filters": [
        {"Type": "TERM_MATCH", "Field": "productFamily", "Value": "Compute"},
        {"Type": "CONTAINS", "Field": "usagetype", "Value": "Fargate"},
    ],
}
"""Parameters with which GetProducts returns the prices of Fargate in all regions, without the
thousands of other products of Amazon ECS."""

# Beginning of a usage type: a code of its region, such as ``EU`` for Ireland. Those of us-east-1
# once had no code. The usage types of Spot differ: ``USE1-SpotUsage-Fargate-…``.
_REGION_CODE = re.compile(r"^[A-Z0-9]+-(?=Fargate-)")
# Architecture and price of the usage types of on-demand tasks with Linux, without a region.
_PRICES: Mapping[str, tuple[str, str]] = {
    "Fargate-vCPU-Hours:perCPU": ("x86", "vcpu"),
    "Fargate-GB-Hours": ("x86", "memory_gb"),
    "Fargate-ARM-vCPU-Hours:perCPU": ("arm", "vcpu"),
    "Fargate-ARM-GB-Hours": ("arm", "memory_gb"),
    "Fargate-EphemeralStorage-GB-Hours": ("", "disk"),
}
_SOURCE = "AWS Price List API, AmazonECS"
_NEEDED_PRICES = {("x86", "vcpu"), ("x86", "memory_gb"), ("", "disk")}


async def load_prices() -> PriceTable:
    """Return the price table that this user updated, or the package's if that is newer.

    If this user has no table, or it cannot be read, the result is the package's.
    """
    return await to_thread.run_sync(read_prices)


def read_prices() -> PriceTable:
    """Return the same prices as `load_prices`, blocking the thread while files are read."""
    packaged = PriceTable.model_validate_json(
        files("cloudburst.aws.client").joinpath("prices.json").read_text(encoding="utf-8")
    )
    path = prices_file()
    try:
        updated = PriceTable.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return packaged
    except (OSError, ValueError) as exc:
        logger.warning(
            "%s cannot be used, so the prices of %s are used: %s", path, packaged.date, exc
        )
        return packaged
    return updated if updated.date >= packaged.date else packaged


async def save_prices(table: PriceTable) -> Path:
    """Write updated prices atomically to this user's file and return its path."""
    return await to_thread.run_sync(_save, table)


def prices_file() -> Path:
    """Return the path of this user's prices: ``cloudburst/prices.json`` in the state folder."""
    return state_folder() / "prices.json"


def update_prices(
    table: PriceTable, products: Iterable[str], *, today: dt.date, needed: str = DEFAULT_REGION
) -> PriceTable:
    """Return a price table updated with the products that GetProducts returned.

    A region of which not all prices are among the products keeps its old ones.

    Raises:
        AWSError: The products of us-east-1 or of the needed region are missing, or products are
            unreadable or implausible.
    """
    try:
        fresh = {
            region: _region_prices(rows, today, table.regions.get(region))
            for region, rows in _rows_by_region(products).items()
            if rows.keys() >= _NEEDED_PRICES
        }
        updated = PriceTable.model_validate(
            table.model_dump() | {"date": today, "regions": {**table.regions, **fresh}},
            by_name=True,
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
        raise _unexpected(f"{exc!r:.300}") from exc
    if missing := {DEFAULT_REGION, needed} - fresh.keys():
        raise _unexpected(f"not all prices of {', '.join(sorted(missing))}")
    return updated


def update_spot(table: PriceTable, feed: str, *, source: str, today: dt.date) -> PriceTable:
    """Return a price table with the Spot prices of each region in the feed of AWS's pricing page.

    A region that the feed does not have keeps its share of the on-demand price.

    Raises:
        AWSError: The feed has an unexpected form, or implausible prices.
    """
    try:
        hours = {
            entry["attributes"]["aws:region"]: Decimal(entry["price"]["USD"])
            for entry in json.loads(feed)["prices"]
            if entry["unit"] == "vCPU-Hours"
        }
        regions = {
            name: prices.model_dump() | {"spot_factor": round(hours[name] / prices.x86.vcpu, 4)}
            for name, prices in table.regions.items()
            if name in hours
        }
        share = regions[DEFAULT_REGION]["spot_factor"]
        return PriceTable.model_validate(
            table.model_dump()
            | {"spot_factor": share, "spot_date": today.isoformat(), "spot_source": source}
            | {"regions": {**table.regions, **regions}},
            by_name=True,
        )
    except (ArithmeticError, LookupError, TypeError, ValueError) as exc:
        raise _unexpected(f"Spot prices: {exc!r}") from exc


def _rows_by_region(products: Iterable[str]) -> dict[str, dict[tuple[str, str], Decimal]]:
    rows = dict[str, dict[tuple[str, str], Decimal]]()
    for offer in map(json.loads, products):
        attributes: Mapping[str, Any] = offer["product"]["attributes"]
        key = _PRICES.get(_REGION_CODE.sub("", attributes.get("usagetype", "")))
        # Local and Wavelength Zones have separate rows under their region.
        if key is not None and attributes.get("locationType", "AWS Region") == "AWS Region":
            (term,) = offer["terms"]["OnDemand"].values()
            (dimension,) = term["priceDimensions"].values()
            usd = Decimal(dimension["pricePerUnit"]["USD"]).normalize()
            rows.setdefault(attributes["regionCode"], {})[key] = usd
    return rows


def _region_prices(
    rows: Mapping[tuple[str, str], Decimal], today: dt.date, earlier: RegionPrices | None
) -> RegionPrices:
    """Return the prices of a region, without those of ARM if the price list has none."""
    hours = {
        name: {kind: rows[name, kind] for kind in ("vcpu", "memory_gb")}
        for name in ("x86", "arm")
        if {(name, "vcpu"), (name, "memory_gb")} <= rows.keys()
    }
    return RegionPrices.model_validate(
        {"date": today.isoformat(), "source": _SOURCE, "disk_gb": rows["", "disk"], **hours}
        | {"spot_factor": None if earlier is None else earlier.spot_factor}
    )


def _unexpected(what: str) -> AWSError:
    return AWSError(f"AWS's price list is not as expected: {what}", code="PriceList")


def _save(table: PriceTable) -> Path:
    path = prices_file()
    with replaced_file(path) as file:
        file.write(f"{table.model_dump_json(indent=2, exclude_none=True)}\n".encode())
    return path
