"""Price List: what Fargate costs, in the shape that AWS publishes it in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cloudburst.testing.emulator.refusal import RefusedError

PUBLISHED = "2026-11-01T00:00:00Z"
REGION, LOCATION = "us-east-1", "US East (N. Virginia)"
OFFER = "JRTCKXETXF"
"""AWS's code for "on demand"."""
RATE = "6YS6EN2CT7"
"""AWS's code for "for each hour"."""
MOST_PRODUCTS = 100
"""In an answer: GetProducts in the Price List API reference (2026-11)."""

ROWS = (
    ("USE1-Fargate-vCPU-Hours:perCPU", {"cputype": "perCPU"}, "0.0404800000"),
    ("USE1-Fargate-GB-Hours", {"memorytype": "perGB"}, "0.0044450000"),
    ("USE1-Fargate-ARM-vCPU-Hours:perCPU", {"cputype": "perCPU"}, "0.0323800000"),
    ("USE1-Fargate-ARM-GB-Hours", {"memorytype": "perGB"}, "0.0035600000"),
    ("USE1-Fargate-EphemeralStorage-GB-Hours", {"storagetype": "default"}, "0.0001110000"),
)
"""Usage type and USD for an hour: https://aws.amazon.com/fargate/pricing/ (us-east-1, Linux,
2026-11)."""


class Pricing:
    """The price list of one region."""

    def __init__(self) -> None:
        self.operations = {"GetProducts": self._get_products}

    def _get_products(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if asked["ServiceCode"] != "AmazonECS":
            raise RefusedError("NotFoundException", "The service code was not found.")
        limit, at = asked.get("MaxResults") or MOST_PRODUCTS, int(asked.get("NextToken") or 0)
        if not 1 <= limit <= MOST_PRODUCTS:
            raise RefusedError("InvalidParameterException", "MaxResults must be between 1 and 100.")
        products = [_product(*row) for row in ROWS]
        found = [json.dumps(one) for one in products if _fits(one, asked.get("Filters") or ())]
        more = {"NextToken": str(at + limit)} if at + limit < len(found) else {}
        return {"FormatVersion": "aws_v1", "PriceList": found[at : at + limit], **more}


def _fits(product: Mapping[str, Any], filters: Any) -> bool:
    known = {**product["product"]["attributes"], **product["product"]}
    for one in filters:
        value, wanted = str(known.get(one["Field"], "")).casefold(), one["Value"].casefold()
        if not (wanted in value if one["Type"] == "CONTAINS" else wanted == value):
            return False
    return True


def _product(usage: str, attributes: Mapping[str, str], usd: str) -> dict[str, Any]:
    sku = hashlib.sha256(usage.encode()).hexdigest()[:16].upper()
    term, rate = f"{sku}.{OFFER}", f"{sku}.{OFFER}.{RATE}"
    return {
        "product": {
            "productFamily": "Compute",
            "attributes": {
                "regionCode": REGION,
                "servicecode": "AmazonECS",
                "usagetype": usage,
                "locationType": "AWS Region",
                "location": LOCATION,
                "servicename": "Amazon Elastic Container Service",
                "operation": "",
                **attributes,
            },
            "sku": sku,
        },
        "serviceCode": "AmazonECS",
        "terms": {
            "OnDemand": {
                term: {
                    "priceDimensions": {
                        rate: {
                            "unit": "hours",
                            "beginRange": "0",
                            "endRange": "Inf",
                            "description": f"{usd} USD per {usage}",
                            "appliesTo": [],
                            "rateCode": rate,
                            "pricePerUnit": {"USD": usd},
                        }
                    },
                    "sku": sku,
                    "effectiveDate": PUBLISHED,
                    "offerTermCode": OFFER,
                    "termAttributes": {},
                }
            }
        },
        "version": "20261101000000",
        "publicationDate": PUBLISHED,
    }
