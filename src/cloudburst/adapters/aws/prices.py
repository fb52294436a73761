"""AWS's price list: read from the package or the user's folder, refreshed from AWS."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from pathlib import Path
from typing import Any

from anyio import to_thread
from pydantic import ValidationError

from cloudburst.errors import AWSError
from cloudburst.models.prices import HOME, PriceTable, RegionPrices
from cloudburst.state import state_folder

logger = logging.getLogger(__name__)

PRICING_REGION = "us-east-1"
"""The Price List API is served from here, and two other regions, for all of them:
https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html
(2026-11)."""
FARGATE_PRODUCTS = {
    "ServiceCode": "AmazonECS",
    "FormatVersion": "aws_v1",
    "Filters": [
        {"Type": "TERM_MATCH", "Field": "productFamily", "Value": "Compute"},
        {"Type": "CONTAINS", "Field": "usagetype", "Value": "Fargate"},
    ],
}
"""Parameters of GetProducts for all regions; the service has thousands of other products."""

_USAGE = re.compile(
    r"(?:[A-Z0-9]+-)?Fargate-"
    r"(?:(?P<arm>ARM-)?(?:(?P<vcpu>vCPU-Hours:perCPU)|(?P<memory>GB-Hours))"
    r"|(?P<disk>EphemeralStorage-GB-Hours))"
)
"""Linux on demand; not ``SpotUsage``, not ``Fargate-Windows``. Ireland's prefix is ``EU``,
us-east-1 had none once."""
_LISTED = "AWS Price List API, AmazonECS"
_Key = tuple[str, str]
"""Architecture (or ``""``) and unit: what a row is the price of."""


async def load_prices() -> PriceTable:
    """The table of the package, or the refreshed one of this user unless that is older."""
    return await to_thread.run_sync(read_prices)


def read_prices() -> PriceTable:
    """As `load_prices`; blocks while it reads."""
    ours = PriceTable.model_validate_json(
        files("cloudburst").joinpath("prices.json").read_text(encoding="utf-8")
    )
    path = prices_file()
    try:
        theirs = PriceTable.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ours
    except (OSError, ValueError) as exc:
        logger.warning("%s cannot be used, so prices of %s are: %s", path, ours.date, exc)
        return ours
    return theirs if theirs.date >= ours.date else ours


async def save_prices(table: PriceTable) -> Path:
    """Keep a refreshed table for this user, whole or not at all; returns where it lies."""
    return await to_thread.run_sync(_save, table)


def prices_file() -> Path:
    """Where this user's table lies: ``cloudburst/prices.json`` in the folder for states."""
    return state_folder() / "prices.json"


def refreshed(
    table: PriceTable, products: Iterable[str], *, today: dt.date, needed: str = HOME
) -> PriceTable:
    """The table with what GetProducts answered; regions that it does not tell stay as they were.

    Args:
        table: What is known so far.
        products: The JSON texts of ``PriceList``.
        today: The date of what is new.
        needed: A region that must be among them, beside us-east-1.

    Raises:
        AWSError: The answer cannot be read, contradicts itself, has figures out of all reason, or
            lacks rows of us-east-1 or the needed region.
    """
    told: dict[str, dict[_Key, Decimal]] = {}
    for region, key, price in _rows(products):
        if told.setdefault(region, {}).setdefault(key, price) != price:
            raise _unreadable(f"{region} has two prices for {' '.join(key)}")
    new = dict(table.regions)
    for region, rows in told.items():
        if (prices := _region(rows, today)) is not None:
            new[region] = prices
        elif region in {HOME, needed}:
            raise _unreadable(f"{region} has only {', '.join(' '.join(key) for key in rows)}")
    if missing := {HOME, needed} - told.keys():
        raise _unreadable(f"nothing about {', '.join(sorted(missing))}")
    try:
        return PriceTable.model_validate(
            table.model_dump() | {"date": today, "regions": new}, by_name=True
        )
    except ValidationError as exc:
        raise _unreadable(_first(exc)) from exc


def _rows(products: Iterable[str]) -> Iterator[tuple[str, _Key, Decimal]]:
    """Region, what it is and USD an hour, for each row that is about Linux on demand."""
    for text in products:
        try:
            offer = json.loads(text)
            attributes: Mapping[str, Any] = offer["product"]["attributes"]
            usage = _USAGE.fullmatch(attributes.get("usagetype", ""))
            # Local and Wavelength Zones have rows of their own, under the region they belong to.
            if usage is None or attributes.get("locationType", "AWS Region") != "AWS Region":
                continue
            price = _on_demand(offer)
            region = attributes["regionCode"]
        except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as exc:
            raise _unreadable(f"{exc!r} in {text[:200]}") from exc
        if usage["disk"]:
            yield region, ("", "disk"), price
        else:
            unit = "vcpu" if usage["vcpu"] else "memory"
            yield region, ("arm" if usage["arm"] else "x86", unit), price


def _on_demand(offer: Mapping[str, Any]) -> Decimal:
    (term,) = offer["terms"]["OnDemand"].values()
    (dimension,) = term["priceDimensions"].values()
    return Decimal(dimension["pricePerUnit"]["USD"]).normalize()


def _region(rows: Mapping[_Key, Decimal], today: dt.date) -> RegionPrices | None:
    """``None`` where a row is missing. There are regions without ARM."""
    if not {("x86", "vcpu"), ("x86", "memory"), ("", "disk")} <= rows.keys():
        return None
    hours = {
        name: {"vcpu": rows[name, "vcpu"], "memory_gb": rows[name, "memory"]}
        for name in ("x86", "arm")
        if (name, "vcpu") in rows and (name, "memory") in rows
    }
    try:
        return RegionPrices.model_validate(
            {"date": today.isoformat(), "source": _LISTED, "disk_gb": rows["", "disk"], **hours}
        )
    except ValidationError as exc:
        raise _unreadable(_first(exc)) from exc


def _unreadable(what: str) -> AWSError:
    return AWSError(f"AWS's price list is not as expected: {what}", code="PriceList")


def _first(exc: ValidationError) -> str:
    error = exc.errors(include_url=False)[0]
    return f"{'.'.join(map(str, error['loc']))} is {error['input']}: {error['msg']}"


def _save(table: PriceTable) -> Path:
    path = prices_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".prices-", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(table.model_dump_json(indent=2, exclude_none=True) + "\n")
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    return path
