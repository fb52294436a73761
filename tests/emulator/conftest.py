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
