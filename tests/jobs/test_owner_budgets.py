"""Budgets of owners and of the process, which no job exceeds, on a fake cloud that bills."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from itertools import repeat

import anyio
import pytest

from cloudburst import Client, Limits
from cloudburst.concurrency import poll
from cloudburst.errors import JobLimitError
from cloudburst.jobs import JobLimits, JobQueue, JobRequest, JobState, Places, dispatcher
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.task import usd_billed
from cloudburst.testing import FakeCloud

pytestmark = pytest.mark.anyio
# A task is billed for at least a minute, which is about $0.0016.
BUDGET = Decimal("0.012")


@pytest.fixture
def cloud():
    return FakeCloud(rates=US_EAST_1_RATES)


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """A job that waits for the bills of others is looked at soon."""
    monkeypatch.setattr(dispatcher, "BUSY_SECONDS", 0.1)


def request(make_scene, *names, **more):
    return JobRequest(scenes=[make_scene(name) for name in names], **more)


@asynccontextmanager
async def open_queue(cloud, folder, *, max_usd=None, places=None, **limits):
    client = Client(cloud.backend, limits=Limits(max_usd=max_usd))
    async with client, JobQueue(client, folder, limits=JobLimits(**limits), places=places) as queue:
        yield queue


def bill_of(cloud):
    return sum(usd_billed(cloud._usage(task, over=True)) for task in cloud.ended)


async def finished(queue, job):
    found = await queue.job(job)
    return found if found.state.finished else None


async def settled(queue, job):
    async def found():
        done = await finished(queue, job)
        return done if done and (done.cost is None or done.cost.final) else None

    with anyio.fail_after(30):
        return await poll(found, delays=repeat(0.05))


@pytest.mark.parametrize("max_usd", [None, Decimal("0.004")])
async def test_jobs_of_an_owner_never_exceed_the_budget_together(
    cloud, make_scene, tmp_path, max_usd
):
    """Two processes of one folder start the jobs."""
    cloud.encode = 0.1
    folder = tmp_path / "jobs"
    made = request(make_scene, "a", max_usd=max_usd)
    async with (
        open_queue(cloud, folder, owner_usd=BUDGET) as queue,
        open_queue(cloud, folder, owner_usd=BUDGET) as other,
    ):
        jobs = [await (queue, other)[n % 2].submit(made, owner="x") for n in range(10)]
        done = [await settled(queue, job.id) for job in jobs]
        assert {job.state for job in done} == {JobState.COMPLETE, JobState.BUDGET}
        assert sum(job.cost.usd for job in done if job.cost) == bill_of(cloud)
        assert BUDGET / 2 < bill_of(cloud) <= BUDGET
        assert cloud.max_running == (1 if max_usd is None else 3)
        assert not cloud.running
        other_owner = await queue.submit(made, owner="y")
        assert (await settled(queue, other_owner.id)).state is JobState.COMPLETE


async def test_a_used_up_budget_refuses_jobs_and_ends_those_that_wait(cloud, make_scene, tmp_path):
    async with open_queue(cloud, tmp_path / "jobs", owner_usd=BUDGET) as queue:
        before = await queue.submit(request(make_scene, "a"))
        assert (await settled(queue, before.id)).state is JobState.COMPLETE
        cloud.encode = 60.0
        running = await queue.submit(request(make_scene, "b"))
        waiting = await queue.submit(request(make_scene, "c"))
        async for event in queue.events(running.id):
            if event.type == "scene.encoding":
                break
        assert (await queue.job(waiting.id)).state is JobState.QUEUED
        with closing(sqlite3.connect(tmp_path / "jobs/jobs.sqlite")) as database, database:
            database.execute("UPDATE jobs SET usd = '0.012' WHERE id = ?", [before.id])
        await queue.cancel(running.id)
        done = await settled(queue, waiting.id)
        assert (done.state, done.cost) == (JobState.BUDGET, None)
        with pytest.raises(JobLimitError, match=r"budget of \$0.012 for 24 hours is used up"):
            await queue.submit(request(make_scene, "d"))


async def test_a_job_that_would_exceed_its_maximum_bill_ends_and_others_go_on(
    cloud, make_scene, tmp_path
):
    async with open_queue(cloud, tmp_path / "jobs", max_usd=Decimal(1)) as queue:
        poor = await queue.submit(request(make_scene, "a", max_usd=Decimal("0.001")))
        rich = await queue.submit(request(make_scene, "b", max_usd=Decimal("0.01")))
        shared = await queue.submit(request(make_scene, "c"))
        states = [(await queue.wait(job.id)).state for job in (poor, rich, shared)]
        assert states == [JobState.BUDGET, JobState.COMPLETE, JobState.COMPLETE]


async def test_jobs_with_own_tasks_share_the_budget_of_the_process(cloud, make_scene, tmp_path):
    """Their owners have no budgets."""
    cloud.encode = 0.1
    places = Places(fargate=cloud.backend)
    async with open_queue(cloud, tmp_path / "jobs", max_usd=BUDGET, places=places) as queue:
        made = [
            request(make_scene, "a", **terms)
            for terms in 4 * [{}, {"workers": 1}, {"max_usd": 1}, {"place": "fargate", "tier": 2}]
        ]
        jobs = [await queue.submit(one) for one in made]
        done = [await queue.wait(job.id) for job in jobs]
        assert {job.state for job in done} == {JobState.COMPLETE, JobState.BUDGET}
    assert BUDGET / 2 < bill_of(cloud) <= BUDGET


async def test_a_job_of_a_killed_process_keeps_its_part_of_the_budget(cloud, make_scene, tmp_path):
    cloud.encode = 60.0
    folder, limits = tmp_path / "jobs", {"owner_usd": BUDGET}
    async with open_queue(cloud, folder, **limits) as queue:
        job = await queue.submit(request(make_scene, "a", max_usd=Decimal("0.01")))
        async for event in queue.events(job.id):
            if event.type == "scene.encoding":
                break
    cloud.encode = 0.0
    async with open_queue(cloud, folder, **limits) as queue:
        other = await queue.submit(request(make_scene, "b", max_usd=Decimal("0.003")))
        done = await queue.wait(job.id)
        assert (done.state, cloud.max_running) == (JobState.COMPLETE, 1)
        assert (await settled(queue, other.id)).state is JobState.COMPLETE
