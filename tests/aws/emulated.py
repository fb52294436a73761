"""An emulated account, and a backend that is opened on it."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager

import anyio

from cloudburst.adapters.aws.fargate import open_fargate
from cloudburst.models.policy import Timeouts
from cloudburst.models.settings import Settings
from cloudburst.models.task import LaunchRequest, TaskSpec, TaskState
from cloudburst.models.tier import Tier
from cloudburst.ports import new_key
from cloudburst.testing import EmulatorConfig, FargateEmulator

QUICK = {"provisioning": 0.1, "pending": 0.2, "deprovisioning": 0.1}


@contextmanager
def account(**config):
    with FargateEmulator(EmulatorConfig(**{**QUICK, "moto": False, **config})) as emulator:
        yield emulator


def settings_of(emulator, **changes):
    return Settings(**emulator.environment).model_copy(update=changes)


@asynccontextmanager
async def backend_of(emulator, *, session=None, timeouts=None, tier=Tier.STANDARD, **changes):
    settings = settings_of(emulator, **changes)
    async with open_fargate(settings, timeouts or Timeouts(), tier, session=session) as backend:
        yield backend


def request(token, *, secrets=None, run="run1", scene="scene_1", tier=Tier.STANDARD):
    spec = TaskSpec(tier=tier, run=run, scene=scene)
    return LaunchRequest(spec=spec, token=token, secrets=secrets or new_key())


async def until(backend, task, wanted, *, seconds=10.0):
    """The first status that ``wanted`` says yes to; a state means that state."""
    accepts = (lambda s: s.state is wanted) if isinstance(wanted, TaskState) else wanted
    with anyio.fail_after(seconds):
        while not accepts(status := await backend.launcher.describe(task)):  # noqa: ASYNC110
            await anyio.sleep(0.02)
    return status


def count(emulator, operation):
    return sum(call.operation == operation for call in emulator.calls)
