"""Tests with sockets and processes use the real clock, and none reads the user's own files."""

from __future__ import annotations

import pytest
from blockbuster import blockbuster_ctx

from support.short_waits import shorten_waits


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    shorten_waits(monkeypatch)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    for name in ("AWS_PROFILE", "AWS_ROLE_ARN", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop():
    with blockbuster_ctx(scanned_modules=["cloudburst.workers", "cloudburst.aws"]) as blockbuster:
        for function in blockbuster.functions.values():
            # It runs in a thread, on an event loop of its own.
            function.can_block_in("aws/client/boto_clients.py", "_fill_cache")
        yield
