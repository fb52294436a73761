"""Subnets in which no worker can be used are left out of launches, or end the run before them."""

from __future__ import annotations

import json

import pytest

from cloudburst.errors import ConfigurationError
from support.fargate_backend import account, backend_of, count, request

pytestmark = pytest.mark.anyio

NO_PROCESSES = {"provisioning": 600.0}
SUBNETS = tuple(f"subnet-0c10adb005700000{number}" for number in range(1, 7))
A, B, C, D, E, F = SUBNETS
ARM64 = {"architecture": "ARM64", "protocol": "native"}
EXCLUDED = (
    "aws ec2 create-vpc-block-public-access-exclusion --region us-east-1 --vpc-id "
    "vpc-0c10adb0057000001 --internet-gateway-exclusion-mode allow-bidirectional"
)


async def requested(emulator, **changes):
    """The subnets that a RunTask names."""
    changes = {"subnets": SUBNETS, **changes}
    async with backend_of(emulator, **changes) as backend:
        await backend.launcher.launch(request("one"))
        (known,) = emulator._inside.account.launching._tokens.values()
        network = json.loads(known.body)["networkConfiguration"]["awsvpcConfiguration"]
        return tuple(network["subnets"])


async def test_arm64_tasks_are_not_requested_in_the_zone_without_arm64():
    with account(**NO_PROCESSES, **ARM64) as emulator:
        assert await requested(emulator) == (A, B, C, D, F)  # E is in use1-az3
    with account(**NO_PROCESSES) as emulator:
        assert await requested(emulator) == SUBNETS


async def test_arm64_in_that_zone_only_ends_before_a_launch():
    with account(**NO_PROCESSES, **ARM64) as emulator:
        with pytest.raises(ConfigurationError) as caught:
            await requested(emulator, subnets=(E,), public_address=False)
        assert count(emulator, "RunTask") == 0
    assert str(caught.value) == (
        f"no subnet is left: {E}: in use1-az3, where Fargate runs no ARM64 tasks: "
        "remove it from AWS_SUBNET_ID; if that is empty, init finds subnets elsewhere"
    )


async def test_subnets_that_are_closed_to_the_internet_are_not_requested():
    closed = {"a": "block-ingress", "d": "block-bidirectional"}
    with account(**NO_PROCESSES, block_public_access=closed) as emulator:
        assert await requested(emulator) == (B, C, E, F)
    with account(**NO_PROCESSES, block_public_access=closed) as emulator:
        assert await requested(emulator, public_address=False) == SUBNETS


async def test_a_vpc_that_may_be_closed_to_the_internet_is_used_with_a_warning(caplog):
    # An exclusion may open it, whose effect on the mode of a subnet is not documented.
    with account(**NO_PROCESSES, block_public_access=dict.fromkeys("ab", "block-ingress")) as aws:
        assert await requested(aws, subnets=(A, B)) == (A, B)
    warnings = [record.getMessage() for record in caplog.records if "ec2" in record.name]
    text = (
        f"workers may not be reached in {A}, {B}: closed to the internet by VPC Block Public "
        f"Access (block-ingress), if not excluded: {EXCLUDED}"
    )
    assert warnings == [text]


async def test_a_zone_without_arm64_is_not_used_in_place_of_a_subnet_that_may_be_closed():
    with account(**NO_PROCESSES, **ARM64, block_public_access={"f": "block-ingress"}) as emulator:
        assert await requested(emulator, subnets=(F, E)) == (F,)


async def test_without_the_permission_all_subnets_are_requested():
    denied = frozenset({"ec2:DescribeSubnets"})
    with account(**NO_PROCESSES, **ARM64, denied=denied, seed=1) as emulator:
        assert await requested(emulator) == SUBNETS
