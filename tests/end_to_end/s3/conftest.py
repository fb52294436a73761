"""An account, and a worker whose renders take no time, for all tests of a process."""

from __future__ import annotations

import logging

import pytest

from cloudburst import Settings
from support.s3_account import account
from support.s3_runs import QUICK, World, impatient, running_service


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session")
def emulator():
    with account() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quick")
    with running_service(folder, *QUICK) as address:
        yield address, folder / "service.log"


@pytest.fixture
def world(emulator, service, request, monkeypatch):
    """Folders of this test in the bucket, and clients that lose patience soon."""
    impatient(monkeypatch)
    name = "".join(char if char.isalnum() else "-" for char in request.node.name)
    world = World(emulator, service[0], name)
    yield world
    world.clear_faults()


@pytest.fixture
def told_at_debug(caplog, service):
    """Everything that client and worker have logged."""
    caplog.set_level(logging.DEBUG)
    return lambda: caplog.text + service[1].read_text()


@pytest.fixture
def profile(world, tmp_path, monkeypatch):
    """Settings with a profile, and a function that writes its keys, as ``aws sso login`` does."""
    path = tmp_path / "credentials"

    def write(key):
        lines = [f"{name.lower()}={value}" for name, value in key.items()]
        path.write_text("\n".join(["[video]", *lines]))

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    write(world.keys)
    environment = world.emulator.environment
    kept = {name: environment[name] for name in environment if name.startswith("AWS_ENDPOINT")}
    region = environment["AWS_REGION"]
    return Settings(**kept, AWS_REGION=region, AWS_PROFILE="video"), write
