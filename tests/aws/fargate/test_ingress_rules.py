"""What is said of a worker on Fargate whose port does not answer."""

from __future__ import annotations

import pytest

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.fargate.ingress_rules import explain_silence
from cloudburst.testing import Fault
from support.fargate_backend import account, settings_of

pytestmark = [pytest.mark.anyio, pytest.mark.real]

WORKER = "https://127.0.0.9:5000"


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def explained(emulator, **changes):
    settings = settings_of(emulator, **changes)
    async with open_aws(settings) as aws:
        return await explain_silence(aws, settings, WORKER)


async def test_a_closed_group_is_named_with_port_and_address_and_the_command():
    with account(worker_sources=()) as emulator:
        text, certain = await explained(emulator)
    assert text == (
        "port 5000 lets in no address, and this machine is 127.0.0.1: run cloudburst init"
    )
    assert certain


async def test_an_open_group_leaves_other_causes():
    with account() as emulator:
        text, certain = await explained(emulator)
    assert text.startswith("port 5000 lets in ")
    assert "cloudburst doctor" in text
    assert not certain


async def test_without_a_group_or_the_permission_other_causes_are_named():
    with account() as emulator:
        text, certain = await explained(emulator, security_groups=())
        assert text.startswith("AWS_SECURITY_GROUP_ID is not set: run cloudburst init; ")
        assert not certain
        emulator.add_fault(Fault(operation="DescribeSecurityGroups", code="UnauthorizedOperation"))
        text, certain = await explained(emulator)
    assert "cloudburst doctor" in text
    assert not certain
