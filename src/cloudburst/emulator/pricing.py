"""Emulated Price List API, with the prices of Fargate in AWS's format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudburst.emulator.errors import ApiError

PUBLISHED = "2026-11-01T00:00:00Z"
ON_DEMAND_CODE = "JRTCKXETXF"
"""Code that AWS's price list uses for on-demand prices."""
HOURLY_RATE_CODE = "6YS6EN2CT7"
"""Code that AWS's price list uses for prices per hour."""
MAX_PRODUCTS_PER_PAGE = 100
"""Maximum number of products in a response: GetProducts in the Price List API reference
(2026-11)."""

REGION_LOCATION_TYPE = "AWS Region"
CPU, MEMORY, DISK = {"cputype": "perCPU"}, {"memorytype": "perGB"}, {"storagetype": "default"}


@dataclass(frozen=True, slots=True)
class PriceRow:
    """Product of the price list."""

    region: str
    usage: str
    attributes: Mapping[str, str]
    usd: tuple[str, ...]
    """Prices in USD per hour; several values are price tiers for increasing usage."""
    location: str = "US East (N. Virginia)"
    location_type: str = REGION_LOCATION_TYPE


def _linux(region: str, prefix: str, location: str) -> tuple[PriceRow, ...]:
    """Return the on-demand prices of Fargate for Linux tasks. All regions have the same prices."""
    prices = (
        ("Fargate-vCPU-Hours:perCPU", CPU, "0.0404800000"),
        ("Fargate-GB-Hours", MEMORY, "0.0044450000"),
        ("Fargate-ARM-vCPU-Hours:perCPU", CPU, "0.0323800000"),
        ("Fargate-ARM-GB-Hours", MEMORY, "0.0035600000"),
        ("Fargate-EphemeralStorage-GB-Hours", DISK, "0.0001110000"),
    )
    return tuple(
        PriceRow(region, f"{prefix}-{usage}", attributes, (usd,), location)
        for usage, attributes, usd in prices
    )


PRICE_ROWS = (
    *_linux("us-east-1", "USE1", "US East (N. Virginia)"),
    *_linux("us-west-2", "USW2", "US West (Oregon)"),
    *_linux("eu-west-1", "EU", "EU (Ireland)"),
    PriceRow("us-east-1", "USE1-Fargate-Windows-vCPU-Hours:perCPU", CPU, ("0.0465520000",)),
    PriceRow("us-east-1", "USE1-Fargate-Windows-GB-Hours", MEMORY, ("0.0051117500",)),
    PriceRow("us-east-1", "USE1-SpotUsage-Fargate-vCPU-Hours:perCPU", CPU, ("0.0000000000",)),
    PriceRow(
        "us-east-1",
        "LAX1-Fargate-vCPU-Hours:perCPU",
        CPU,
        ("0.0485760000",),
        "US West (Los Angeles)",
        "AWS Local Zone",
    ),
    # A region with tiered prices, which clients do not expect, and without the other rows.
    PriceRow(
        "af-south-1",
        "AFS1-Fargate-vCPU-Hours:perCPU",
        CPU,
        ("0.0534300000", "0.0480870000"),
        "Africa (Cape Town)",
    ),
)
"""Products of the price list. The prices of Linux tasks are from
https://aws.amazon.com/fargate/pricing/ (2026-11); the last rows are examples of other products that
AWS's list contains."""


class PriceListApi:
    """Implementation of GetProducts, with the prices of a few regions."""

    def __init__(self) -> None:
        self.operations = {"GetProducts": self._get_products}

    def _get_products(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if parameters["ServiceCode"] != "AmazonECS":
            raise ApiError("NotFoundException", "The service code was not found.")
        limit, at = (
            parameters.get("MaxResults") or MAX_PRODUCTS_PER_PAGE,
            int(parameters.get("NextToken") or 0),
        )
        if not 1 <= limit <= MAX_PRODUCTS_PER_PAGE:
            raise ApiError("InvalidParameterException", "MaxResults must be between 1 and 100.")
        products = [_product(row) for row in PRICE_ROWS]
        found = [json.dumps(one) for one in products if _fits(one, parameters.get("Filters") or ())]
        more = {"NextToken": str(at + limit)} if at + limit < len(found) else {}
        return {"FormatVersion": "aws_v1", "PriceList": found[at : at + limit], **more}


def _fits(product: Mapping[str, Any], filters: Any) -> bool:
    known = {**product["product"]["attributes"], **product["product"]}
    for one in filters:
        value, wanted = str(known.get(one["Field"], "")).casefold(), one["Value"].casefold()
        if not (wanted in value if one["Type"] == "CONTAINS" else wanted == value):
            return False
    return True


def _product(row: PriceRow) -> dict[str, Any]:
    sku = hashlib.sha256(row.usage.encode()).hexdigest()[:16].upper()
    term = f"{sku}.{ON_DEMAND_CODE}"
    none: list[str] = []
    dimensions = {
        f"{term}.{HOURLY_RATE_CODE}{number or ''}": {
            "unit": "hours",
            "beginRange": str(1000 * number),
            "endRange": "Inf" if number == len(row.usd) - 1 else str(1000 * (number + 1)),
            "description": f"{usd} USD per {row.usage}",
            "appliesTo": none,
            "rateCode": f"{term}.{HOURLY_RATE_CODE}{number or ''}",
            "pricePerUnit": {"USD": usd},
        }
        for number, usd in enumerate(row.usd)
    }
    return {
        "product": {
            "productFamily": "Compute",
            "attributes": {
                "regionCode": row.region,
                "servicecode": "AmazonECS",
                "usagetype": row.usage,
                "locationType": row.location_type,
                "location": row.location,
                "servicename": "Amazon Elastic Container Service",
                "operation": "",
                **row.attributes,
            },
            "sku": sku,
        },
        "serviceCode": "AmazonECS",
        "terms": {
            "OnDemand": {
                term: {
                    "priceDimensions": dimensions,
                    "sku": sku,
                    "effectiveDate": PUBLISHED,
                    "offerTermCode": ON_DEMAND_CODE,
                    "termAttributes": {},
                }
            }
        },
        "version": "20261101000000",
        "publicationDate": PUBLISHED,
    }
