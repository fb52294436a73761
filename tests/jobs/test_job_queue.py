"""Jobs in a folder, with a fake cloud."""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal

import anyio
import pytest

from cloudburst import Client, Limits
from cloudburst.errors import (
    ClosedError,
    ConfigurationError,
    JobConflictError,
    JobLimitError,
    UnknownJobError,
)
from cloudburst.jobs import JobLimits, JobProgress, JobQueue, JobRequest, JobState
from cloudburst.testing import FakeCloud

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def cloud():
    return FakeCloud()


@pytest.fixture
async def client(cloud):
    async with Client(cloud.backend, limits=Limits(workers=2)) as client:
        yield client


def request(make_scene, *names, **more):
    return JobRequest(scenes=[make_scene(name) for name in names], **more)


async def received(queue, job, after=0):
    return [item async for item in queue.events(job, after=after)]


def numbered(items):
    return [item for item in items if not isinstance(item, JobProgress)]


async def test_a_job_ends_with_videos_report_and_numbered_events(client, make_scene, tmp_path):
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.submit(request(make_scene, "a", "b", metadata={"order": 17}))
        assert (job.state, job.last_event, job.scenes) == (JobState.QUEUED, 1, 2)
        events = numbered(await received(queue, job.id))
        done = await queue.job(job.id)
        report = await queue.report(job.id)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    types = [event.type for event in events]
    assert (types[:2], types[-1]) == (["job.queued", "job.started"], "job.finished")
    assert types.count("scene.completed") == 2
    assert (done.state, done.completed, done.failed, done.progress) == ("complete", 2, 0, 1.0)
    assert done.metadata == {"order": 17}
    assert done.last_event == len(events)
    assert report is not None
    assert [scene["scene"] for scene in report["scenes"]] == ["a", "b"]
    assert str(tmp_path) not in json.dumps(report)
    assert not any(str(tmp_path) in json.dumps(event.data) for event in events)
