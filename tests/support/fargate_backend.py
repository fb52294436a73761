"""An emulated account, and a backend that is opened on it."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import anyio
import boto3

from cloudburst.aws.fargate.backend import open_fargate
from cloudburst.errors import NoAnswerError
from cloudburst.models.limits import Timeouts
from cloudburst.models.settings import Settings
from cloudburst.models.task import LaunchRequest, TaskSpec, TaskState
from cloudburst.models.tier import Tier
from cloudburst.ports.backend import new_key
from cloudburst.testing import AWS_BUCKETS, EmulatorConfig, FargateEmulator

RAISED = tuple(replace(bucket, burst=max(1000, bucket.burst)) for bucket in AWS_BUCKETS)
"""Of an account whose quotas AWS has raised: for tests that need hundreds of tasks at once."""


AT_ONCE = {"moto": False, "new_task_invisible": 0.0, "disagreement": 0.0}
"""An account without moto, in which all calls know new tasks at once."""


@contextmanager
def account(**config):
    with FargateEmulator(EmulatorConfig.quick(**AT_ONCE | config)) as emulator:
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


async def until(backend, task, wanted, *, seconds=30.0):
    """The first status that ``wanted`` says yes to; a state means that state."""
    accepts = (lambda s: s.state is wanted) if isinstance(wanted, TaskState) else wanted
    with anyio.fail_after(seconds):
        while not accepts(status := await backend.launcher.describe(task)):  # noqa: ASYNC110
            await anyio.sleep(0.02)
    return status


async def stop(backend, task, *, reason="done", seconds=30.0):
    """Stop a task, as soon as ECS knows it."""
    with anyio.fail_after(seconds):
        while True:
            try:
                return await backend.launcher.stop(task, reason=reason)
            except NoAnswerError:
                await anyio.sleep(0.05)


def profile(name, keys, *more):
    """A section of a credentials file, of variables of the environment."""
    lines = [f"{key.lower()} = {value}" for key, value in keys.items()]
    return "\n".join([f"[{name}]", *lines, *more, ""])


def session_keys(emulator):
    """Keys of a session that ends some day, as variables of the environment."""
    sts = boto3.client(
        "sts",
        endpoint_url=emulator.url,
        region_name=emulator.config.region,
        **{name.lower(): value for name, value in emulator.new_key().items()},
    )
    role = f"arn:aws:iam::{emulator.config.account}:role/me"
    given = sts.assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }


def count(emulator, operation):
    return sum(call.operation == operation for call in emulator.calls)
