"""The calls of old on accounts of every kind, and nobody's settings."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from cloudburst.testing import EmulatorConfig, FargateEmulator
from support.old_calls import account, without_settings, write_env
from support.short_waits import shorten_waits


@pytest.fixture
def anyio_backend():
    return "asyncio"  # files are read in threads


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    shorten_waits(monkeypatch)


@pytest.fixture(autouse=True)
def own_settings(monkeypatch, tmp_path):
    without_settings(monkeypatch, tmp_path)


@pytest.fixture
def cloud(monkeypatch):
    """An account in memory under the calls of old."""
    return account(monkeypatch)


@pytest.fixture
def emulated(monkeypatch):
    """An emulated account that ``.env`` in the current folder names: ``with emulated(...)``.

    Its address is in the environment, because tests have credentials from other places.
    """

    @contextmanager
    def opened(**facts):
        with FargateEmulator(EmulatorConfig.quick(**{"moto": False} | facts)) as aws:
            variables = aws.environment
            monkeypatch.setenv("AWS_ENDPOINT_URL", variables.pop("AWS_ENDPOINT_URL"))
            write_env("".join(f"{name}={value}\n" for name, value in variables.items()))
            yield aws

    return opened


@pytest.fixture
def scenes(make_scene):
    """So many small scenes: ``scenes(4)``."""
    return lambda count: [make_scene(f"scene {n}", seconds=0.2) for n in range(count)]
