"""Runs that end early because no video can be written, in virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import pytest

from cloudburst.errors import CredentialsError, OutputWriteError
from cloudburst.events import SceneCompleted
from cloudburst.models.limits import Limits
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from support.harness import engine

pytestmark = pytest.mark.anyio

FULL = OutputWriteError("no video can be written")


async def abort(eng, after):
    await anyio.sleep(after)
    eng.pool.scheduler.paused_runs.abort("run", FULL)


async def test_downloads_are_not_cancelled():
    """The first two scenes are downloaded, the next two are encoded, and the others wait."""
    cloud = FakeCloud(boot=5, encode=10, encoders=2, download=100)
    scenes = [f"s{number}" for number in range(6)]
    async with (
        engine(cloud, limits=Limits(workers=1)) as eng,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(abort, eng, 20)
        report = await eng.render(scenes)
        assert not cloud.running
        assert {type(error) for error in report.errors} == {OutputWriteError}
        assert (report.status, len(report.errors)) == (Status.PARTIAL, 4)
        assert report.wall_seconds > 110
        cloud.download = 0
        assert (await eng.render(scenes)).status is Status.COMPLETE


@pytest.mark.few(5, spread=True)
@pytest.mark.parametrize("after", range(0, 39, 3))
async def test_an_aborted_run_ends_from_any_state_and_may_be_rendered_again(after):
    cloud = FakeCloud(boot=5, encode=10, encoders=2, download=5, upload=2)
    async with (
        engine(cloud, limits=Limits(workers=2)) as eng,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(abort, eng, after)
        scenes = [f"s{number}" for number in range(12)]
        async with eng.open(scenes) as run:
            done = {event.scene async for event in run if isinstance(event, SceneCompleted)}
        report = await run.report()
        assert report.wall_seconds < after + 15
        assert {video.scene for video in report.videos} == done
        assert {type(error) for error in report.errors} == {OutputWriteError}
        assert not cloud.running
        assert (await eng.render(scenes)).status is Status.COMPLETE


async def test_an_abort_of_a_run_that_has_not_begun_or_has_ended_is_ignored():
    cloud = FakeCloud(encode=5)
    async with engine(cloud, limits=Limits(workers=1)) as eng:
        for _ in range(2):
            eng.pool.scheduler.paused_runs.abort("run", FULL)
            assert (await eng.render("ab")).status is Status.COMPLETE


class WithoutCredentials(FakeCloud):
    """Its deliveries fail after a while because S3 does not accept the credentials."""

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets) as renderer:

            async def deliver(*_, **__):
                await anyio.sleep(3)
                raise CredentialsError("the credentials have expired")

            renderer.download = deliver
            yield renderer


async def test_a_delivery_without_credentials_ends_the_run():
    cloud = WithoutCredentials(boot=5, encode=10, encoders=2)
    async with engine(cloud, limits=Limits(workers=1)) as eng:
        report = await eng.render([f"s{number}" for number in range(20)])
        assert not cloud.running
    assert {type(error) for error in report.errors} == {CredentialsError}
    assert len(report.errors) == 20
    assert report.wall_seconds < 25, "no further scene is encoded"
