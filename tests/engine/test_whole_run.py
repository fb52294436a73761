"""Failures that a person has to fix end a run at once; a quota only bounds it."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from cloudburst.errors import (
    AccessDeniedError,
    CapacityError,
    CredentialsError,
    KeyRefusedError,
    Remedy,
)
from cloudburst.models.failures import classify_stop
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.report import Status
from cloudburst.models.task import TaskId, TaskState, TaskStatus
from cloudburst.testing import FakeCloud
from cloudburst.testing.fake import FakeRenderer
from support.harness import checked, engine

pytestmark = pytest.mark.anyio

MISSING = "CannotPullContainerError: pull image manifest: failed to resolve ref x: not found"
TIMEOUT = "CannotPullContainerError: ref pull: dial tcp 1.2.3.4:443: i/o timeout"
SCENES = [f"s{number}" for number in range(12)]


class Ending(FakeCloud):
    """Tasks stop while they start, for a reason; those named in ``healthy`` do not."""

    def __init__(self, reason, *, healthy=(), slow=(), **facts):
        super().__init__(**facts)
        self.reason, self.healthy, self.slow = reason, healthy, slow

    async def describe(self, task, *, refresh=False):
        status = await super().describe(task, refresh=refresh)
        if task in self.healthy or task not in self.running:
            return status
        after = 250 if task in self.slow else 20
        if anyio.current_time() < self._requests[task][1] + after:
            return replace(status, state=TaskState.STARTING, address=None)
        return TaskStatus(
            state=TaskState.STOPPED,
            reason=self.reason,
            stop_code="TaskFailedToStart",
            failure=classify_stop("TaskFailedToStart", [self.reason], []),
        )


async def test_an_image_that_is_not_there_ends_the_run_with_the_first_task_that_says_so():
    cloud = Ending(MISSING, slow=("fake-2", "fake-3"))
    async with engine(cloud, limits=Limits(workers=4)) as e:
        report = await e.render(SCENES)
        assert anyio.current_time() < 25, "and nobody waits for those that are slow to say it"
    assert len(cloud.launched) == 4, "those that were under way, and no more"
    assert report.status is Status.FAILED
    assert len(report.scenes) == len(SCENES)
    for entry in report.scenes:
        assert entry.error.startswith("WorkerStoppedError: ")
        assert "name and tag in DOCKER_IMAGE" in entry.error
    assert "name and tag in DOCKER_IMAGE" in report.problem
    assert not any(error.retryable for error in report.errors)
    assert not cloud.running


async def test_an_image_that_does_not_come_is_tried_for_again():
    cloud = Ending(TIMEOUT)
    async with engine(cloud, limits=Limits(workers=1, attempts=3)) as e:
        report = await e.render(["a", "b"])
    assert len(cloud.launched) == 3
    assert report.problem is None
    assert "NAT gateway" in report.scenes[0].error


async def test_what_is_ready_finishes_what_it_can():
    """The image was taken from the registry after the first task had it."""
    cloud = Ending(MISSING, healthy=("fake-1",), encode=30.0)
    async with engine(cloud, limits=Limits(workers=3)) as e:
        report = await e.render(SCENES[:5])
    assert report.status is Status.COMPLETE
    assert report.problem is None
    assert len(cloud.launched) == 3
    assert {entry.task for entry in report.scenes} == {"fake-1"}


async def test_starts_that_cannot_go_better_are_given_up_at_once():
    cloud = Ending(MISSING)
    slow = FakeCloud(name="slow", boot=200.0, encode=1.0, capacity=1)
    async with engine(cloud, slow, limits=Limits(workers=3)) as e:
        report = await e.render(SCENES[:3])
    assert report.status is Status.COMPLETE, "another backend is not concerned"
    assert {entry.task for entry in report.scenes} == {"slow-1"}
    assert not cloud.running


@pytest.mark.parametrize("kind", [AccessDeniedError, CredentialsError])
async def test_a_refusal_that_nobody_can_wait_out_is_asked_for_once(kind):
    cloud = FakeCloud(refuse=[kind("no, and this is how") for _ in range(20)])
    async with engine(cloud, limits=Limits(workers=1)) as e:
        report = await e.render(SCENES)
        assert anyio.current_time() < 30
    assert len(cloud.refuse) == 19
    assert report.problem == f"{kind.__name__}: no, and this is how"
    assert {entry.error for entry in report.scenes} == {report.problem}


# A role that was just made.


class YoungRole(Ending):
    """Tasks stop because ECS may not assume their role, until a time."""

    def __init__(self, until, **facts):
        super().__init__(NOT_YET, **facts)
        self.until = until

    async def describe(self, task, *, refresh=False):
        if self._requests[task][1] >= self.until:
            return await FakeCloud.describe(self, task, refresh=refresh)
        return await super().describe(task, refresh=refresh)


NOT_YET = "ECS was unable to assume the role 'arn:aws:iam::1:role/r' that was provided for this"


async def test_tasks_that_stop_for_a_young_role_are_no_failures():
    """Each round of starts takes 20 s, and all workers of it stop for the same reason."""
    cloud = YoungRole(anyio.current_time() + 50)
    async with engine(cloud, limits=Limits(workers=4, attempts=3)) as e:
        report = await e.render(SCENES)
    assert report.status is Status.COMPLETE
    assert len(cloud.launched) > 2 * 4
    assert not cloud.running


# A quota.


class Quota(FakeCloud):
    """No more than so many tasks at once."""

    def __init__(self, most, **facts):
        super().__init__(**facts)
        self.most, self.refused, self.granted = most, 0, set()
        self.refused_at = []

    def used(self):
        tasks = [self.launched.get(token) for token in self.granted]
        return sum(task is None or task in self.running for task in tasks)

    async def launch(self, request):
        if request.token not in self.granted and self.used() >= self.most:
            self.refused += 1
            self.refused_at.append(anyio.current_time())
            error = CapacityError("the quota, and what to do")
            error.remedy = Remedy.FEWER_TASKS
            raise error
        self.granted.add(request.token)
        return await super().launch(request)


async def test_no_more_are_asked_for_than_the_account_allows():
    cloud = Quota(3, encode=20.0, boot=10.0)
    async with engine(cloud, limits=Limits(workers=10, idle=0)) as e:
        report = await e.render(SCENES)
        ended = anyio.current_time()
    assert report.status is Status.COMPLETE
    assert len({entry.task for entry in report.scenes}) == 3
    assert cloud.refused <= 20, "each start that was under way, at most twice"
    # 12 scenes of 20 s on 3 workers after a start of 10 s.
    assert ended == pytest.approx(90, abs=5)
    told = [worker.error for worker in report.workers if worker.error]
    assert told == ["CapacityError: the quota, and what to do"] * len(told)
    assert report.problem is None


async def test_what_the_account_allows_is_found_out_again_after_30_then_60_then_120_seconds():
    cloud = Quota(1, encode=100.0)
    async with engine(cloud, limits=Limits(workers=2)) as e, e.open(SCENES) as run:
        await anyio.sleep(400)
        assert cloud.refused <= 6, "one launch each time, and one more at the start"
        *_, first, second, third, fourth, fifth = cloud.refused_at
        waits = [second - first, third - second, fourth - third, fifth - fourth]
        assert waits == pytest.approx([30, 60, 120, 120], abs=3)
        cloud.most = 2
        report = await run.until_done()
    assert report.status is Status.COMPLETE
    assert cloud.max_running == 2


async def test_a_quota_that_was_free_for_a_while_is_tried_again_after_30_seconds():
    cloud = Quota(1, encode=60.0)
    async with engine(cloud, limits=Limits(workers=2)) as e:
        for name in ("first", "later"):
            began = anyio.current_time()
            async with e.open(SCENES[:4], name) as run:
                await anyio.sleep(50)
                assert cloud.refused_at[-1] - began == pytest.approx(30, abs=3)
                await run.until_done()
            await anyio.sleep(600)


@pytest.mark.parametrize("workers", [1, 3])
async def test_a_quota_without_any_room_is_waited_for_once_and_said_at_once(caplog, workers):
    """No task of ours is alive, so that no end of one of ours can make room."""
    cloud = Quota(0)
    limits, timeouts = Limits(workers=workers), Timeouts(launch=60)
    async with engine(cloud, limits=limits, timeouts=timeouts) as e, e.open(SCENES[:5]) as run:
        began = anyio.current_time()
        await anyio.sleep(1)
        assert "the account's quota is used up; asking again: the quota, and what" in caplog.text
        report = await run.until_done()
        assert anyio.current_time() - began == pytest.approx(60, abs=25)
    assert [r.message for r in caplog.records if r.levelname == "WARNING"].count(
        "the account's quota is used up; asking again: the quota, and what to do"
    ) == workers, "once for each launch, and not each time that it is asked again"
    assert report.status is Status.FAILED
    assert {entry.error for entry in report.scenes} == {report.scenes[0].error}


async def test_alone_it_waits_for_the_quota_and_says_why_there_was_no_task():
    cloud = Quota(0)
    async with engine(cloud, limits=Limits(workers=1), timeouts=Timeouts(launch=60)) as e:
        report = await e.render("a")
        assert anyio.current_time() < 100
    assert "no task was accepted within 60.0 s: the quota, and what to do" in report.scenes[0].error
    assert report.errors[0].remedy is Remedy.FEWER_TASKS
    assert report.errors[0].retryable
    cloud = Quota(0)
    async with engine(cloud, limits=Limits(workers=1)) as e, e.open("a") as run:
        await anyio.sleep(20)
        cloud.most = 1
        assert (await run.until_done()).status is Status.COMPLETE


# What was given up stays so for the run.


class Stranger(FakeRenderer):
    async def upload(self, scene, **more):
        raise KeyRefusedError("the worker refused the key", task=self.task)


class Strangers(FakeCloud):
    """Workers of somebody else."""

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        yield Stranger(self, TaskId(address))


class Slow:
    """A journal on a disk that takes its time, each time another one."""

    def __init__(self):
        self.times = itertools.cycle([0.2, 7.0, 0.5])

    def now(self):
        return anyio.current_time()

    async def write(self, *entries):
        await anyio.sleep(next(self.times))

    async def save_file(self, name, text):
        return Path(name)


async def test_a_scene_that_comes_late_from_its_last_attempt_begins_nothing_afresh():
    cloud = Strangers(boot=1.0)
    scenes = [checked(name) for name in "abcd"]
    async with engine(cloud, limits=Limits(workers=2, attempts=3)) as e:
        report = await e.render(scenes, journal=Slow())
        assert len(cloud.launched) <= 4, "after three in a row it is given up"
        assert all("refused the key" in entry.error for entry in report.scenes)
        # The next run looks anew.
        await e.render("e", "other")
        assert 4 < len(cloud.launched) <= 8


async def test_no_task_is_billed_while_the_film_is_made():
    cloud = FakeCloud(boot=1.0)
    left: list[int] = []

    class Maker:
        needs_worker = False

        async def make(self, videos, _on_progress, _on_worker):
            assert [video.scene for video in videos] == ["a", "b"]
            await anyio.sleep(60)
            left.append(len(cloud.running))
            return Path("film.mp4"), False

    async with engine(cloud) as e, e.open("ab", film=Maker()) as run:
        report = await run.until_done()
    assert (report.film, left) == (Path("film.mp4"), [0])
