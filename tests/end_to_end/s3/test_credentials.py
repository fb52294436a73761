"""Credentials that end in the middle of a run from S3 to S3."""

from __future__ import annotations

import anyio
import pytest

from cloudburst import Status
from cloudburst.aws.s3 import request_waits
from cloudburst.engine import attempt_context
from cloudburst.errors import CredentialsError
from cloudburst.events import SceneCompleted, SceneEncoded, SceneStarted
from support.s3_account import account
from support.s3_runs import World, impatient

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(60)]

NAMES = ["scene 0", "scene 1", "scene 2", "scene 3", "late 4", "late 5"]


@pytest.fixture
def world(service, monkeypatch):
    """An account whose credentials may end."""
    impatient(monkeypatch)
    with account() as emulator:
        yield World(emulator, service[0], "expiring")


@pytest.mark.few(1)
@pytest.mark.parametrize("moment", [SceneEncoded, SceneStarted, SceneCompleted])
async def test_credentials_that_return(world, profile, moment, told_at_debug):
    """The run waits for new credentials, and no scene fails."""
    settings, write = profile
    scenes = world.scenes(0, *NAMES)
    met = []
    async with anyio.create_task_group() as tasks:

        async def sign_in(key):
            await anyio.sleep(0.5)
            write(key)

        def watch(event):
            if isinstance(event, moment) and not met:
                met.append(event)
                tasks.start_soon(sign_in, world.expire_credentials())

        told = await world.run(scenes, watch=watch, settings=settings)
    assert met
    world.hold(told, NAMES)
    assert sum("waiting up to" in line for line in told_at_debug().splitlines()) <= 1
    world.hold_secrets(told_at_debug(), told.report.model_dump_json(), repr(told))


@pytest.mark.few(1)
@pytest.mark.parametrize("moment", [SceneEncoded, SceneStarted])
async def test_credentials_that_do_not_return(world, profile, moment, monkeypatch):
    """The run ends with the reason; what is in S3 by then is whole."""
    monkeypatch.setattr(request_waits, "CREDENTIALS_TIMEOUT", 0.5)
    monkeypatch.setattr(attempt_context, "WRITE_TIMEOUT", 0.5)
    settings, _ = profile
    scenes = world.scenes(0, *NAMES)
    met = []

    def watch(event):
        if isinstance(event, moment) and not met:
            met.append(world.expire_credentials())

    with anyio.fail_after(30):
        told = await world.run(scenes, watch=watch, settings=settings)
    assert told.report.status in {Status.FAILED, Status.PARTIAL}
    assert "the credentials have expired: sign in again" in told.report.problem
    assert {type(error) for error in told.report.errors} == {CredentialsError}
    world.hold_objects(told.report)


@pytest.mark.nightly
async def test_static_keys_that_end(world):
    """There is nothing to wait for."""
    scenes = world.scenes(0, *NAMES)
    met = []

    def watch(event):
        if isinstance(event, SceneStarted) and not met:
            met.append(world.expire_credentials())

    with anyio.fail_after(30):
        told = await world.run(scenes, watch=watch)
    assert "the credentials have expired" in told.report.problem
    world.hold_objects(told.report)
