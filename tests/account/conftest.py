"""Accounts with sockets and processes: asyncio, the clock on the wall, and nobody's home."""

from __future__ import annotations

import pytest
from accounts import bare, wipe


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """No settings, credentials or runs but those of this test."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ENDPOINT_URL",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ROLE_ARN",
        "AWS_SUBNET_ID",
        "AWS_SECURITY_GROUP_ID",
        "DOCKER_IMAGE",
        "ECS_CLUSTER_NAME",
        "ECS_TASK_DEFINITION",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def shared_account():
    with bare(moto=True) as emulator:
        yield emulator


@pytest.fixture
def emulator(shared_account):
    """An account without anything of ours."""
    wipe(shared_account)
    return shared_account
