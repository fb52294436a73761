"""Public addresses of tasks, which only EC2 knows."""

from __future__ import annotations

from collections.abc import Sequence

from cloudburst.adapters.aws.session import AWS
from cloudburst.adapters.aws.shapes import member

ADDRESSES = "ec2-addresses"
"""EC2 by a model of our own, beside this file, that has this one operation: botocore's whole one
takes 20 MB and a tenth of a second to read."""
MOST = 200
"""Values of one filter: "Filter" in the EC2 API reference (2026-11)."""


async def public_addresses(aws: AWS, interfaces: Sequence[str]) -> dict[str, str]:
    """The public address of each network interface that is there and has one.

    A filter, and not a list of ids: one interface that is gone would fail the whole list.
    """
    found: dict[str, str] = {}
    for start in range(0, len(interfaces), MOST):
        some = list(interfaces[start : start + MOST])
        interfaces_there = await aws.pages(
            ADDRESSES,
            "describe_network_interfaces",
            "NetworkInterfaces",
            Filters=[{"Name": "network-interface-id", "Values": some}],
        )
        for interface in interfaces_there:
            if address := member(interface, "Association").get("PublicIp"):
                found[str(interface["NetworkInterfaceId"])] = str(address)
    return found
