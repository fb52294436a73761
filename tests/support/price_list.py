"""A Price List API on loopback with the products of a test."""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from support.http_server import http_server

JSON = "application/x-amz-json-1.1"


def product(
    usage: str, price: str, *, region: str = "us-east-1", zone: str = "AWS Region", sku: str = "S"
) -> str:
    """A row as GetProducts gives it: a JSON text with codes nested in codes."""
    term, rate = f"{sku}.JRTCKXETXF", f"{sku}.JRTCKXETXF.6YS6EN2CT7"
    dimension = {
        "rateCode": rate,
        "unit": "hours",
        "beginRange": "0",
        "endRange": "Inf",
        "description": f"{usage} in {region}",
        "appliesTo": [],
        "pricePerUnit": {"USD": price},
    }
    return json.dumps(
        {
            "product": {
                "sku": sku,
                "productFamily": "Compute",
                "attributes": {
                    "regionCode": region,
                    "servicecode": "AmazonECS",
                    "usagetype": usage,
                    "locationType": zone,
                    "location": "somewhere",
                    "operation": "",
                    "servicename": "Amazon EC2 Container Service",
                },
            },
            "serviceCode": "AmazonECS",
            "terms": {
                "OnDemand": {
                    term: {
                        "priceDimensions": {rate: dimension},
                        "sku": sku,
                        "effectiveDate": "2026-10-01T00:00:00Z",
                        "offerTermCode": "JRTCKXETXF",
                        "termAttributes": {},
                    }
                }
            },
            "version": "20261002173000",
            "publicationDate": "2026-10-02T17:30:00Z",
        }
    )


US = [
    product("USE1-Fargate-vCPU-Hours:perCPU", "0.0500000000"),
    product("USE1-Fargate-GB-Hours", "0.0050000000"),
    product("USE1-Fargate-ARM-vCPU-Hours:perCPU", "0.0400000000"),
    product("USE1-Fargate-ARM-GB-Hours", "0.0040000000"),
    product("USE1-Fargate-EphemeralStorage-GB-Hours", "0.0002000000"),
    product("USE1-Fargate-Windows-vCPU-Hours:perCPU", "0.0910000000"),
    product("USE1-Fargate-Windows-OS-Hours:perCPU", "0.0460000000"),
    product("USE1-SpotUsage-Fargate-vCPU-Hours:perCPU", "0.0120000000"),
    product("USE1-LAX1-Fargate-GB-Hours", "0.0070000000", zone="AWS Local Zone"),
]


@contextmanager
def price_list(products, *, page=2):
    """Yield the variables of an account with this list, and the tokens of the pages asked for.

    Without products, the account may not read the list.
    """
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["X-Amz-Target"] == "AWSPriceListService.GetProducts"
            asked.append(wanted.get("NextToken"))
            at = int(asked[-1] or 0)
            more = {"NextToken": str(at + page)} if at + page < len(products) else {}
            answer = {"FormatVersion": "aws_v1", "PriceList": products[at : at + page], **more}
            if not products:
                answer = {"__type": "AccessDeniedException", "message": "not allowed"}
            body = json.dumps(answer).encode()
            self.send_response(200 if products else 400)
            self.send_header("Content-Type", JSON)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http_server(Handler) as server:
        yield (
            {
                "AWS_ENDPOINT_URL": server.url,
                "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
                "AWS_SECRET_ACCESS_KEY": "not-secret",
                "AWS_REGION": "us-east-1",
            },
            asked,
        )
