"""Emulators; each test names what differs from a quick one."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from cloudburst.testing import EmulatorConfig, FargateEmulator
from support.emulator_calls import QUICK


@pytest.fixture
def emulate():
    """Start an emulator: ``emulate(pending=2)``."""
    with ExitStack() as stack:

        def start(**changes):
            config = EmulatorConfig.quick(**{**QUICK, **changes})
            return stack.enter_context(FargateEmulator(config))

        yield start


@pytest.fixture
def emulator(emulate):
    return emulate()


@pytest.fixture(scope="session")
def with_moto():
    """Return one account for all tests of a process that need moto, which takes seconds to start.

    Roles and tags have an effect at once. Give things of your own a name of their own.
    """
    pytest.importorskip("moto")
    at_once = dict.fromkeys(("role_passable", "role_assumable", "role_policy_lag", "tag_lag"), 0.0)
    config = EmulatorConfig.quick(moto=True, interface_lingers=1.0, **at_once)
    with FargateEmulator(config) as emulator:
        yield emulator
