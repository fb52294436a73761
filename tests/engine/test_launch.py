"""Launches with lost answers: a task that may have been started is always stopped."""

from __future__ import annotations

import anyio
import pytest

from cloudburst.errors import (
    AccessDeniedError,
    CapacityError,
    CredentialsError,
    NoAnswerError,
    ThrottledError,
)
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from support.harness import engine

pytestmark = pytest.mark.anyio


class Unsure(FakeCloud):
    """The first launch is done and its answer lost; then come the errors, one for each call."""

    def __init__(self, *errors, **facts):
        super().__init__(**facts)
        self.errors = list(errors)

    async def launch(self, request):
        if request.token in self.launched and self.errors:
            raise self.errors.pop(0)
        known = bool(self.launched)
        task = await super().launch(request)
        if not known:
            raise NoAnswerError("the answer was lost")
        return task


async def test_a_refusal_after_no_answer_does_not_forget_the_task():
    cloud = Unsure(CredentialsError("expired"))
    async with engine(cloud, limits=Limits(workers=1)) as e:
        report = await e.render("a")
    assert report.status is Status.FAILED
    assert isinstance(report.errors[0], CredentialsError)
    assert not cloud.running, "found by its token, and stopped"
    assert [w.possibly_running for w in report.workers] == [False]


async def test_a_task_that_cannot_be_found_is_reported_as_possibly_running():
    cloud = Unsure(*(CredentialsError("expired") for _ in range(2)))
    async with engine(cloud, limits=Limits(workers=1)) as e:
        report = await e.render("a")
    assert cloud.running
    assert [w.possibly_running for w in report.workers] == [True]


async def test_a_refusal_of_the_first_request_leaves_nothing():
    cloud = FakeCloud(refuse=[AccessDeniedError("no")])
    async with engine(cloud) as e:
        report = await e.render("a")
    assert [w.possibly_running for w in report.workers] == [False]


async def test_no_room_after_no_answer_means_that_there_is_none():
    cloud = FakeCloud(refuse=[NoAnswerError("lost"), CapacityError("full")])
    async with engine(cloud, limits=Limits(workers=1)) as e:
        report = await e.render("a")
    assert report.status is Status.COMPLETE
    assert len(cloud.launched) == 1


class Stubborn(FakeCloud):
    async def stop(self, task, *, reason):
        raise AccessDeniedError("you may not")


async def test_a_stop_that_is_refused_is_told():
    cloud = Stubborn()
    began = anyio.current_time()
    async with engine(cloud, limits=Limits(workers=1), timeouts=Timeouts(settle=500)) as e:
        report = await e.render("a")
        assert [w.possibly_running for w in report.workers] == [True]
        assert report.status is Status.COMPLETE
        final = await report.settled()
        assert anyio.current_time() - began < 60, "nobody waits for a task that nobody stopped"
    assert [w.possibly_running for w in final.workers] == [True]


async def test_a_throttled_launch_is_not_asked_for_again_only_to_be_stopped():
    cloud = FakeCloud(refuse=[ThrottledError("patience") for _ in range(50)])
    async with engine(cloud, limits=Limits(workers=1)) as e, e.open("a") as run:
        await anyio.sleep(5)
    assert not cloud.launched
    assert [w.possibly_running for w in (await run.report()).workers] == []


async def test_an_answer_that_is_lost_again_on_the_way_out():
    """Cut off while it waits for the first answer; the second one, asked for then, is lost too."""
    cloud = FakeCloud(stalls=2)
    timeouts = Timeouts(call=5, stop=60)
    async with engine(cloud, timeouts=timeouts, limits=Limits(workers=1)) as e:
        async with e.open("a"):
            await anyio.sleep(2)
        assert cloud.launched
    assert not cloud.running
