"""Accounts with real processes: asyncio, and the clock on the wall."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloudburst import Client, Limits, Timeouts, fargate
from cloudburst.models import task as billing
from cloudburst.testing import EmulatorConfig, FargateEmulator
from support.emulator_settings import settings_of
from support.short_waits import shorten_waits

QUICK_SERVICE = Path(__file__).parents[2] / "support" / "serve_quick.py"
OURS = {
    "worker": (sys.executable, "-m", "cloudburst.service"),
    "worker_environment": {"CLOUDBURST_HOST": "{host}", "CLOUDBURST_PORT": "{port}"},
    "protocol": "native",
}


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """Runs are noted in a folder of this test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    shorten_waits(monkeypatch)


@pytest.fixture
def account():
    """An account whose workers are small and speak onestep: ``with account(...) as emulator``."""

    @contextmanager
    def opened(**facts):
        with FargateEmulator(EmulatorConfig.quick(**facts)) as emulator:
            yield emulator
            assert not emulator.live, "a task was left running"

    return opened


@pytest.fixture
def our_account(account):
    """The same with our service in each task."""
    return lambda **facts: account(**OURS | facts)


@pytest.fixture
def quick_account(our_account):
    """The same with a stand-in for the render process: most of the CPU time is for renders."""
    return lambda **facts: our_account(worker=(sys.executable, str(QUICK_SERVICE)), **facts)


@pytest.fixture
def client_of():
    """A client of an emulated account."""

    def client(emulator, *, timeouts=None, session=None, settings=None, **more):
        limits = more.pop("limits", Limits(workers=2))
        backend = fargate(settings_of(emulator, **(settings or {})), session=session)
        return Client(backend, timeouts=timeouts or Timeouts(), limits=limits, **more)

    return client


@pytest.fixture
def by_the_second(monkeypatch):
    """Tasks live for seconds here: with the minimum of a minute all bills would be the same."""
    monkeypatch.setattr(billing, "MINIMUM_BILLED_SECONDS", 0)


@pytest.fixture
def scenes(make_scene):
    """So many small scenes: ``scenes(4)``."""
    return lambda count: [make_scene(f"scene {n}", seconds=0.3 + n / 100) for n in range(count)]


@pytest.fixture
def out(tmp_path):
    """Where videos go."""
    return tmp_path / "out"
