"""Runs that end early because another process has taken them over, in virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import pytest

from cloudburst.destinations import ClaimLoss
from cloudburst.errors import CredentialsError, OutputClaimedError
from cloudburst.models.events import SceneCompleted
from cloudburst.models.limits import Limits
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from support.harness import engine

pytestmark = pytest.mark.anyio

LOST = OutputClaimedError("another process has taken over the videos", holder="run other")


async def abort(eng, after, error=LOST, **how):
    await anyio.sleep(after)
    eng.pool.abort("run", error, **how)


@pytest.mark.parametrize("cancel_downloads", [False, True])
async def test_downloads_are_cancelled_on_request(cancel_downloads):
    """The first two scenes are downloaded, the next two are encoded, and the others wait."""
    cloud = FakeCloud(boot=5, encode=10, encoders=2, download=100)
    scenes = [f"s{number}" for number in range(6)]
    async with (
        engine(cloud, limits=Limits(workers=1)) as eng,
        anyio.create_task_group() as tasks,
    ):
        how = {"cancel_downloads": True} if cancel_downloads else {}
        tasks.start_soon(lambda: abort(eng, 20, **how))
        report = await eng.render(scenes)
        assert not cloud.running
        assert {type(error) for error in report.errors} == {OutputClaimedError}
        if cancel_downloads:
            assert (report.status, len(report.errors)) == (Status.FAILED, 6)
            assert report.wall_seconds < 30
        else:
            assert (report.status, len(report.errors)) == (Status.PARTIAL, 4)
            assert report.wall_seconds > 110
        cloud.download = 0
        assert (await eng.render(scenes)).status is Status.COMPLETE


@pytest.mark.parametrize("after", range(0, 40, 3))
async def test_an_aborted_run_ends_from_any_state_and_may_be_rendered_again(after):
    cloud = FakeCloud(boot=5, encode=10, encoders=2, download=5, upload=2)
    async with (
        engine(cloud, limits=Limits(workers=2)) as eng,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(lambda: abort(eng, after, cancel_downloads=True))
        scenes = [f"s{number}" for number in range(12)]
        async with eng.open(scenes) as run:
            done = {event.scene async for event in run if isinstance(event, SceneCompleted)}
        report = await run.report()
        assert report.wall_seconds < after + 15
        assert {video.scene for video in report.videos} == done
        assert {type(error) for error in report.errors} == {OutputClaimedError}
        assert not cloud.running
        assert (await eng.render(scenes)).status is Status.COMPLETE


async def test_an_abort_of_a_run_that_has_not_begun_or_has_ended_is_ignored():
    cloud = FakeCloud(encode=5)
    async with engine(cloud, limits=Limits(workers=1)) as eng:
        for _ in range(2):
            eng.pool.abort("run", LOST, cancel_downloads=True)
            assert (await eng.render("ab")).status is Status.COMPLETE


async def test_an_abort_before_a_run_begins_counts_if_the_run_is_announced():
    cloud = FakeCloud(encode=5)
    async with engine(cloud, limits=Limits(workers=1)) as eng:
        with eng.pool.abortable("run"):
            eng.pool.abort("run", LOST, cancel_downloads=True)
            report = await eng.render("ab")
        assert {type(error) for error in report.errors} == {OutputClaimedError}
        assert not cloud.launched
        assert (await eng.render("ab")).status is Status.COMPLETE


async def test_a_loss_ends_the_run_before_it_starts_or_aborts_it_once():
    aborted = []
    loss = ClaimLoss()
    with loss.aborting(aborted.append):
        loss.report(LOST)
        loss.report(OutputClaimedError("of the film"))
    assert aborted == [LOST]
    loss = ClaimLoss()
    loss.report(LOST)
    with pytest.raises(OutputClaimedError), loss.aborting(aborted.append):
        pytest.fail("the run was started")
    loss = ClaimLoss()
    with loss.aborting(aborted.append):
        pass
    loss.report(LOST)
    assert aborted == [LOST]


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
