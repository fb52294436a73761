"""Public IP addresses of tasks, which EC2 returns and ECS does not."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.responses import get_structure
from cloudburst.aws.fargate.task_description import parse_task_description
from cloudburst.errors import AccessDeniedError

logger = logging.getLogger(__name__)

EC2_SERVICE = "ec2-addresses"
"""Name of this package's own service model of EC2 in ``aws/client/models``, which has only
DescribeNetworkInterfaces and DescribeSubnets. Reading botocore's whole model takes 20 MB and a
tenth of a second."""
MAX_FILTER_VALUES = 200
"""Maximum number of values of one filter: "Filter" in the EC2 API reference (2026-11)."""


async def describe_public_addresses(aws: AWSClient, interfaces: Sequence[str]) -> dict[str, str]:
    """Return the public addresses of network interfaces, by the ids of the interfaces.

    Interfaces that do not exist or have no public address are left out. The request uses a filter:
    with a list of ids, it would fail for all interfaces if one is gone.

    Raises:
        CloudburstError: AWS refuses a call or does not answer; see `AWSClient.call`.
    """
    addresses: dict[str, str] = {}
    for start in range(0, len(interfaces), MAX_FILTER_VALUES):
        batch = list(interfaces[start : start + MAX_FILTER_VALUES])
        existing = await aws.collect_pages(
            EC2_SERVICE,
            "describe_network_interfaces",
            "NetworkInterfaces",
            Filters=[{"Name": "network-interface-id", "Values": batch}],
        )
        for interface in existing:
            if address := get_structure(interface, "Association").get("PublicIp"):
                addresses[str(interface["NetworkInterfaceId"])] = address
    return addresses


async def find_public_addresses(
    aws: AWSClient, tasks: Iterable[Mapping[str, Any]]
) -> dict[str, str]:
    """Return the public addresses of described tasks, by the ids of their network interfaces.

    If the credentials do not allow the call to EC2, the result is empty and a warning is logged.
    """
    descriptions = map(parse_task_description, tasks)
    interfaces = [task.network_interface for task in descriptions if task.network_interface]
    try:
        return await describe_public_addresses(aws, interfaces)
    except AccessDeniedError as exc:
        logger.warning("public addresses are not shown: %s", exc)
        return {}
