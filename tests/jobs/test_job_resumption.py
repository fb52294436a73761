"""Finished jobs that lack videos, which are resumed with or without changes."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from decimal import Decimal

import anyio
import pytest

from cloudburst import Client, Limits
from cloudburst.errors import InvalidScenesError, JobConflictError, JobLimitError, UnknownJobError
from cloudburst.jobs import JobChanges, JobLimits, JobProgress, JobQueue, JobRequest, JobState
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.ports.renderer import DownloadedVideo
from cloudburst.testing import FakeCloud
from cloudburst.testing.fake import FakeRenderer

pytestmark = pytest.mark.anyio


class WritingRenderer(FakeRenderer):
    """Renderer whose videos are files, which a resumed run finds."""

    async def download(self, output, to, *, on_verified=None, **_):
        content = output.scene.encode() * 100
        await anyio.Path(to).write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        video = DownloadedVideo(path=to, size=len(content), sha256=sha256)
        if on_verified is not None:
            await on_verified(video)
        return video


class WritingCloud(FakeCloud):
    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets) as renderer:
            yield WritingRenderer(self, renderer.task)


@pytest.fixture
def cloud():
    return WritingCloud()


def request(make_scene, *names, **more):
    return JobRequest(scenes=[make_scene(name) for name in names], **more)


async def resume(queue, job, **changes):
    return await queue.resume(job.id, JobChanges(**changes))


async def image_of(queue, job, scene):
    return next(each.image for each in await queue.scenes(job.id) if each.scene == scene)


async def ended(queue, job):
    with anyio.fail_after(30):
        return await queue.wait(job.id)


async def types_of(queue, job):
    return [item.type async for item in queue.events(job.id) if not isinstance(item, JobProgress)]


def encoded(cloud):
    return sorted(line.split()[1] for line in cloud.log if line.startswith("encoded"))


async def failed_job(queue, cloud, make_scene, **more):
    """A job with a video of ``a`` and none of ``b``."""
    cloud.broken_scenes = {"b"}
    job = await ended(queue, await queue.submit(request(make_scene, "a", "b", **more), owner="x"))
    assert (job.state, job.completed, job.failed) == (JobState.PARTIAL, 1, 1)
    assert job.resumable
    cloud.broken_scenes = set()
    cloud.log.clear()
    return job


async def test_only_scenes_without_a_video_are_rendered_again(client, cloud, make_scene, tmp_path):
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await failed_job(queue, cloud, make_scene)
        resumed = await queue.resume(job.id)
        assert (resumed.id, resumed.state, resumed.finished_at) == (job.id, "queued", None)
        done = await ended(queue, job)
        assert (done.state, done.completed, done.failed) == (JobState.COMPLETE, 2, 0)
        assert (done.resumable, done.progress) == (False, 1)
        assert encoded(cloud) == ["b"]
        assert {video.scene for video in await queue.videos(job.id)} == {"a", "b"}
        types = await types_of(queue, job)
        assert types[job.last_event] == "job.resumed"
        assert types.count("job.finished") == 2
        assert types[-1] == "job.finished"


async def test_a_scene_that_fails_again_has_another_event_and_the_job_stays_resumable(
    client, cloud, make_scene, tmp_path
):
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await failed_job(queue, cloud, make_scene)
        cloud.broken_scenes = {"b"}
        await queue.resume(job.id)
        again = await ended(queue, job)
        assert (again.state, again.completed, again.failed) == (JobState.PARTIAL, 1, 1)
        assert again.resumable
        assert (await types_of(queue, job)).count("scene.failed") == 2


@pytest.mark.parametrize("is_open", [False, True])
async def test_scenes_are_changed_and_left_out(client, cloud, make_scene, tmp_path, is_open):
    folder = tmp_path / "jobs"
    async with JobQueue(client, folder) as queue:
        cloud.broken_scenes = {"b", "c"}
        job = await queue.submit(request(make_scene, "a", "b", "c", open=is_open))
        await queue.close_job(job.id)
        assert (await ended(queue, job)).failed == 2
        cloud.broken_scenes = {"c"}
        picture = make_scene("other")["image_path"]
        change = {"name": "b", "image_path": picture, "audio": None, "duration": 2}
        await resume(queue, job, scenes=[change], leave_out=["C"])
    async with JobQueue(client, folder) as queue:  # the next process knows the changes
        done = await ended(queue, job)
        assert (done.state, done.scenes, done.completed) == (JobState.COMPLETE, 2, 2)
        assert [scene["scene"] for scene in (await queue.report(job.id))["scenes"]] == ["a", "b"]
        assert encoded(cloud) == ["a", "b"]
        assert await image_of(queue, job, "b") == picture
        assert [scene.scene for scene in await queue.scenes(job.id)] == ["a", "b"]


async def test_an_open_job_is_resumed_with_the_scenes_that_came(
    client, cloud, make_scene, tmp_path
):
    cloud.broken_scenes = {"b"}
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.submit(JobRequest(open=True))
        for name in ("a", "b", "c"):
            await queue.add_scenes(job.id, [make_scene(name)])
        await queue.close_job(job.id)
        assert (await ended(queue, job)).state is JobState.PARTIAL
        cloud.broken_scenes = set()
        cloud.log.clear()
        await resume(queue, job, scenes=[{"name": "b", "image": str(tmp_path / "a.png")}])
        done = await ended(queue, job)
        assert (done.state, done.open, done.completed) == (JobState.COMPLETE, False, 3)
        assert encoded(cloud) == ["b"]


@pytest.mark.parametrize("begun", [False, True])
async def test_a_cancelled_job_is_resumed(client, cloud, make_scene, tmp_path, begun):
    cloud.encode = 60.0
    limits = JobLimits(running=1)
    async with JobQueue(client, tmp_path / "jobs", limits=limits) as queue:
        other = await queue.submit(request(make_scene, "x")) if not begun else None
        job = await queue.submit(request(make_scene, "a"))
        async for item in queue.events((other or job).id):
            if item.type == "scene.encoding":
                break
        await queue.cancel(job.id)
        assert (await ended(queue, job)).state is JobState.CANCELLED
        cloud.encode = 0.0
        await queue.resume(job.id)
        if other:
            await queue.cancel(other.id)
        done = await ended(queue, job)
        assert (done.state, done.cancel_requested) == (JobState.COMPLETE, False)


async def test_a_job_that_used_up_its_budget_goes_on_with_a_larger_one(cloud, make_scene, tmp_path):
    cloud.rates = US_EAST_1_RATES
    async with (
        Client(cloud.backend, limits=Limits(max_usd=Decimal(1))) as client,
        JobQueue(client, tmp_path / "jobs") as queue,
    ):
        job = await queue.submit(request(make_scene, "a", max_usd=Decimal("0.0001")))
        assert (await ended(queue, job)).state is JobState.BUDGET
        await queue.resume(job.id)
        assert (await ended(queue, job)).state is JobState.BUDGET
        await resume(queue, job, max_usd=Decimal("0.05"))
        done = await ended(queue, job)
        assert (done.state, done.max_usd) == (JobState.COMPLETE, Decimal("0.05"))
        assert done.cost.usd <= Decimal("0.05")


async def test_a_job_is_not_resumed_while_it_runs_or_when_it_is_complete(
    client, cloud, make_scene, tmp_path
):
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await failed_job(queue, cloud, make_scene)
        cloud.encode = 60.0
        await queue.resume(job.id)
        with pytest.raises(JobConflictError, match="expected a finished job that lacks videos"):
            await queue.resume(job.id)
        await queue.cancel(job.id)
        await ended(queue, job)
        cloud.encode = 0.0
        await queue.resume(job.id)
        assert (await ended(queue, job)).state is JobState.COMPLETE
        with pytest.raises(JobConflictError, match="is complete"):
            await queue.resume(job.id)
        with pytest.raises(UnknownJobError):
            await queue.resume("0" * 32)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"leave_out": ["nonsense"]}, "name"),
        ({"leave_out": ["a"]}, "name"),
        ({"scenes": [{"name": "a", "duration": 1}]}, "name"),
        ({"scenes": [{}]}, "name"),
        ({"scenes": [{"name": "b", "duration": 2}]}, "audio"),
        ({"scenes": [{"name": "b", "image": "/nowhere.png"}]}, "image"),
        ({"scenes": [{"name": "b", "size": "4k"}]}, "size"),
        ({"max_usd": 0}, "max_usd"),
    ],
)
async def test_invalid_changes_are_refused_and_nothing_is_started(
    cloud, make_scene, tmp_path, changes, field
):
    async with Client(cloud.backend) as client, JobQueue(client, tmp_path / "jobs") as queue:
        job = await failed_job(queue, cloud, make_scene)
        with pytest.raises(InvalidScenesError) as caught:
            await resume(queue, job, **changes)
        assert field in str(caught.value)
        assert await queue.job(job.id) == job
        assert list(queue.files(job.id).inputs.iterdir()) == []


async def test_a_job_of_which_nothing_is_left_is_not_resumed(client, cloud, make_scene, tmp_path):
    cloud.broken_scenes = {"a"}
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.submit(request(make_scene, "a"))
        await ended(queue, job)
        with pytest.raises(InvalidScenesError, match="expected at least one scene"):
            await resume(queue, job, leave_out=["a"])


async def test_a_job_is_resumed_within_the_limits_of_its_owner(client, cloud, make_scene, tmp_path):
    limits = JobLimits(owner_jobs=1)
    async with JobQueue(client, tmp_path / "jobs", limits=limits) as queue:
        job = await failed_job(queue, cloud, make_scene)
        cloud.encode = 60.0
        await queue.submit(request(make_scene, "c"), owner="x")
        with pytest.raises(JobLimitError):
            await queue.resume(job.id)
