"""Address from which this machine reaches workers."""

from __future__ import annotations

import pytest

from cloudburst.aws.setup import network
from cloudburst.aws.setup.network import find_client_address
from cloudburst.models.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def asked(monkeypatch):
    found = []

    async def public():
        found.append("public")
        return "203.0.113.7"

    async def private(ranges):
        found.append("private")
        return "198.51.100.9"

    async def cidrs(aws, vpc):
        return ["198.51.100.0/24"]

    monkeypatch.setattr(network, "public_address", public)
    monkeypatch.setattr(network, "private_address", private)
    monkeypatch.setattr(network, "vpc_cidrs", cidrs)
    return found


@pytest.mark.parametrize(
    ("endpoint", "public", "address", "calls"),
    [
        ("http://127.0.0.1:4566", True, "127.0.0.1", []),
        ("http://localhost:4566", False, "127.0.0.1", []),
        (None, True, "203.0.113.7", ["public"]),
        ("https://ecs.example.com", True, "203.0.113.7", ["public"]),
        (None, False, "198.51.100.9", ["private"]),
    ],
)
async def test_an_emulator_on_this_machine_needs_no_service_on_the_internet(
    asked, endpoint, public, address, calls
):
    changes = {"endpoint_url": endpoint, "public_address": public}
    settings = Settings().model_copy(update=changes)
    assert await find_client_address(None, settings, "vpc-1") == address
    assert asked == calls
