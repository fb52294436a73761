"""Fixtures for emulated accounts: asyncio with the real clock, and a home folder of its own."""

from __future__ import annotations

import pytest

from cloudburst.aws.setup import init_account
from support.own_images import account_with_registry
from support.setup_accounts import bare, wipe


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Remove all settings, credentials and runs other than those of the test."""
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


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop():
    """Replace the check of other backends' tests: nothing else runs while an account is set up."""


@pytest.fixture(autouse=True)
def roles_settle_at_once(monkeypatch):
    """Do not wait for a new role: the emulator knows it at once."""
    monkeypatch.setattr(init_account, "ROLE_PROPAGATION_SECONDS", 0.0)


@pytest.fixture(scope="session")
def shared_account():
    """Return one account for all tests of a process, because moto takes seconds to start.

    Its tasks are slow enough to be seen in each state, and every image is for both processors.
    """
    seen = {"provisioning": 0.2, "pending": 0.6, "deprovisioning": 0.1, "interface_lingers": 0.0}
    with bare(moto=True, image_platforms={}, **seen) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def registry_account(registry_server):
    """Return one account with a real registry for all tests of a process."""
    with account_with_registry(registry_server, moto=True) as emulator:
        yield emulator


@pytest.fixture
def emulator(shared_account):
    """Return an account without resources of cloudburst."""
    wipe(shared_account)
    return shared_account
