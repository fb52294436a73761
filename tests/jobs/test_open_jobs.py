"""Jobs that get scenes while others render, with a fake cloud."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import repeat

import anyio
import pytest

from cloudburst import Client, Limits
from cloudburst.concurrency import poll
from cloudburst.errors import (
    InvalidScenesError,
    JobConflictError,
    JobLimitError,
    JobStorageError,
    UnknownJobError,
)
from cloudburst.jobs import JobEvent, JobLimits, JobQueue, JobRequest, JobState, dispatcher
from cloudburst.jobs.database import JobDatabase
from cloudburst.jobs.draft import check_files
from cloudburst.jobs.job_rows import BYTES_OF_ENTRY
from support.web_apps import broken

pytestmark = pytest.mark.anyio


@pytest.fixture
async def queue(client, tmp_path):
    async with JobQueue(client, tmp_path / "jobs") as queue:
        yield queue


def open_request(*scenes, **more):
    return JobRequest(open=True, scenes=scenes, **more)


async def reached(queue, job, kind, scene):
    """Wait for an event of a scene."""
    with anyio.fail_after(30):
        async for event in queue.events(job):
            if event.type == kind and event.data["scene"] == scene:
                return


async def finished(queue, job):
    with anyio.fail_after(30):
        return await queue.wait(job)


async def events_of(queue, job):
    return [each async for each in queue.events(job) if isinstance(each, JobEvent)]


async def test_a_scene_is_rendered_before_the_next_one_comes(queue, make_scene):
    job = await queue.submit(open_request(make_scene("a")))
    assert (job.open, job.scenes, job.progress) == (True, 1, 0)
    await reached(queue, job.id, "scene.completed", "a")
    added = await queue.add_scenes(job.id, [make_scene("b"), make_scene("c")])
    assert (added.open, added.scenes, added.state) == (True, 3, JobState.RUNNING)
    await reached(queue, job.id, "scene.completed", "c")
    closed = await queue.close_job(job.id)
    assert (closed.open, (await queue.close_job(job.id)).open) == (False, False)
    done = await finished(queue, job.id)
    assert (done.state, done.open, done.completed, done.progress) == ("complete", False, 3, 1)
    assert await queue.close_job(job.id) == done
    report = await queue.report(job.id)
    assert [scene["scene"] for scene in report["scenes"]] == ["a", "b", "c"]
    events = await events_of(queue, job.id)
    assert (events[0].type, events[0].data) == ("job.queued", {"open": True})
    types = [event.type for event in events]
    assert (types.count("job.closed"), types[-1]) == (1, "job.finished")
    assert [event.number for event in events] == list(range(1, len(events) + 1))


async def test_an_open_job_without_scenes_is_complete_when_it_is_closed(queue, cloud):
    job = await queue.submit(JobRequest(open=True))
    assert (await queue.close_job(job.id)).progress == 0
    done = await finished(queue, job.id)
    assert (done.state, done.scenes, done.progress) == ("complete", 0, 1)
    assert not cloud.launched


async def test_none_of_the_scenes_is_added_if_one_is_invalid(queue, make_scene, tmp_path):
    job = await queue.submit(open_request(make_scene("a"), options={"size": "720p"}))
    good = make_scene("good")
    for scenes, field in (
        ([good, {**make_scene("b"), "imgae": "x"}], "imgae"),
        ([good, make_scene("A")], "name"),
        ([good, good], "scene_name"),
        ([], "scenes"),
    ):
        with pytest.raises(InvalidScenesError) as caught:
            await queue.add_scenes(job.id, scenes)
        assert [fault.field for fault in caught.value.faults] == [field]
    assert (await queue.job(job.id)).scenes == 1
    assert list(queue.files(job.id).inputs.iterdir()) == []
    await queue.add_scenes(job.id, [good])


async def test_a_job_that_is_not_open_takes_no_scenes(queue, cloud, make_scene):
    cloud.encode = 60.0
    scenes = [make_scene("b")]
    of_a_list = await queue.submit(JobRequest(scenes=[make_scene("a")]))
    closed, cancelled = [await queue.submit(open_request(make_scene("a"))) for _ in range(2)]
    await queue.close_job(closed.id)
    await queue.cancel(cancelled.id)
    for job in (of_a_list, closed, cancelled):
        assert not (await queue.job(job.id)).open
        with pytest.raises(JobConflictError, match="takes no scenes"):
            await queue.add_scenes(job.id, scenes)
    for call in (queue.close_job, lambda job: queue.add_scenes(job, scenes)):
        with pytest.raises(UnknownJobError):
            await call("0" * 32)


async def test_a_file_that_turns_out_to_be_invalid_fails_its_scene_only(
    queue, make_scene, tmp_path
):
    bad = broken(make_scene("bad"), "image_path")
    job = await queue.submit(open_request())
    await queue.add_scenes(job.id, [bad, make_scene("good")])
    await queue.close_job(job.id)
    done = await finished(queue, job.id)
    assert (done.state, done.completed, done.failed) == (JobState.PARTIAL, 1, 1)


async def test_an_open_job_goes_on_in_the_next_process_with_the_scenes_that_had_come(
    client, cloud, make_scene, tmp_path
):
    cloud.encode = lambda scene: 0.0 if scene == "quick" else 60.0
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.submit(open_request(make_scene("quick")))
        await queue.add_scenes(job.id, [make_scene("slow")])
        await reached(queue, job.id, "scene.completed", "quick")
    cloud.encode = 0.0
    async with JobQueue(client, tmp_path / "jobs") as queue:
        assert (await queue.add_scenes(job.id, [make_scene("last")])).open
        with pytest.raises(InvalidScenesError, match="earlier scene"):
            await queue.add_scenes(job.id, [make_scene("slow")])
        await reached(queue, job.id, "scene.completed", "last")
        await queue.close_job(job.id)
        assert (await finished(queue, job.id)).state is JobState.COMPLETE
        events = await events_of(queue, job.id)
        report = await queue.report(job.id)
    completed = [event.data["scene"] for event in events if event.type == "scene.completed"]
    assert sorted(completed) == ["last", "quick", "slow"], "each one once"
    assert [scene["scene"] for scene in report["scenes"]] == ["quick", "slow", "last"]


async def test_another_process_adds_scenes(client, cloud, make_scene, tmp_path):
    async with (
        Client(cloud.backend) as second,
        JobQueue(client, tmp_path / "jobs") as owner,
        JobQueue(second, tmp_path / "jobs") as other,
    ):
        job = await owner.submit(open_request(make_scene("a")))
        await reached(owner, job.id, "scene.completed", "a")
        await other.add_scenes(job.id, [make_scene("b")])
        await owner.add_scenes(job.id, [make_scene("c")])
        await reached(owner, job.id, "scene.completed", "c")
        await other.close_job(job.id)
        done = await finished(owner, job.id)
    assert (done.state, done.completed) == ("complete", 3)


async def test_an_open_job_that_gets_no_scenes_is_closed(client, make_scene, tmp_path):
    limits = JobLimits(open_seconds=0.5)
    async with JobQueue(client, tmp_path / "jobs", limits=limits) as queue:
        job = await queue.submit(open_request(make_scene("a")))
        done = await finished(queue, job.id)
        types = [event.type for event in await events_of(queue, job.id)]
    assert (done.state, done.completed) == ("complete", 1)
    assert types.index("scene.completed") < types.index("job.closed")


async def test_open_jobs_that_wait_for_scenes_take_no_place_of_others(
    client, cloud, make_scene, tmp_path
):
    async with JobQueue(client, tmp_path / "jobs", limits=JobLimits(running=1)) as queue:
        waiting = await queue.submit(open_request(make_scene("a")), owner="x")
        await reached(queue, waiting.id, "scene.completed", "a")
        job = await queue.submit(JobRequest(scenes=[make_scene("b")]), owner="y")
        assert (await finished(queue, job.id)).state is JobState.COMPLETE
        cloud.encode = 60.0
        await queue.add_scenes(waiting.id, [make_scene("c")])
        await reached(queue, waiting.id, "scene.encoding", "c")
        job = await queue.submit(JobRequest(scenes=[make_scene("b")]), owner="y")
        await anyio.sleep(dispatcher.POLL_SECONDS + 0.2)
        assert (await queue.job(job.id)).state is JobState.QUEUED


async def test_an_open_job_is_cancelled_and_then_removed(queue, cloud, make_scene):
    cloud.encode = lambda scene: 0.0 if scene == "quick" else 60.0
    jobs = [
        await queue.submit(open_request(make_scene("quick"))),
        await queue.submit(open_request(make_scene("quick"), make_scene("slow"))),
    ]
    for job in jobs:
        await reached(queue, job.id, "scene.completed", "quick")
        with pytest.raises(JobConflictError, match="cancel it"):
            await queue.remove(job.id)
        await queue.cancel(job.id)
        done = await finished(queue, job.id)
        assert (done.state, done.open, done.completed) == (JobState.CANCELLED, False, 1)
        await queue.remove(job.id)
    assert not (queue.files(jobs[0].id).path).exists()
    assert not cloud.running


async def test_an_open_job_that_fails_is_open_no_more(queue, make_scene, tmp_path):
    job = await queue.submit(open_request(film=True, film_music=tmp_path / "missing.mp3"))
    done = await finished(queue, job.id)
    assert (done.state, done.open) == (JobState.FAILED, False)
    assert [fault["field"] for fault in done.error.faults] == ["film_music"]
    with pytest.raises(JobConflictError):
        await queue.add_scenes(job.id, [make_scene("a")])


def test_a_voice_may_be_longer_than_the_audio_of_a_scene(make_scene):
    made = make_scene("p", seconds=3)
    scene = {"name": "a", "image": made["image_path"], "duration": 1}
    wanted = open_request(scene, film=True, film_audio=made["audio_path"])
    assert check_files(wanted, Limits(audio_seconds=2))[wanted.film_audio] == 3


async def test_scenes_that_come_count_for_the_limits(client, cloud, make_scene, tmp_path):
    cloud.encode = 60.0
    limits = JobLimits(owner_jobs=1, owner_seconds=100, owner_bytes=5 * BYTES_OF_ENTRY)
    long = {"name": "long", "image": make_scene("p")["image_path"], "duration": 60}
    async with JobQueue(client, tmp_path / "jobs", limits=limits) as queue:
        job = await queue.submit(open_request(long, options={"size": "1080p"}), owner="x")
        with pytest.raises(JobLimitError, match="60 seconds of video are queued or running, and"):
            await queue.add_scenes(job.id, [long | {"name": "other"}])
        assert (await queue.add_scenes(job.id, [long | {"name": "b", "duration": 30}])).scenes == 2
        await queue.add_scenes(job.id, [long | {"name": x, "duration": 1} for x in "cde"])
        with pytest.raises(JobLimitError, match="bytes of uploads, inputs and videos"):
            await queue.add_scenes(job.id, [long | {"name": "f", "duration": 1}])
        await queue.submit(open_request(long), owner="y")


async def test_parts_of_a_voice_count_once(client, cloud, make_scene, tmp_path):
    cloud.encode = 60.0
    made = make_scene("p", seconds=0.2)
    film = {"film": True, "film_audio": made["audio_path"], "options": {"size": "1080p"}}
    limits = JobLimits(owner_seconds=100)

    def part(name, **length):
        return {"name": name, "image": made["image_path"], **length}

    async with JobQueue(client, tmp_path / "jobs", limits=limits) as queue:
        job = await queue.submit(open_request(part("a", until=40), **film))
        await queue.add_scenes(job.id, [part("b", duration=10), part("c", until=80)])
        await queue.add_scenes(job.id, [part("d", until=95)])
        with pytest.raises(JobLimitError, match="95 seconds of video are queued or running, and 6"):
            await queue.add_scenes(job.id, [part("e", until=101)])


async def test_files_of_added_scenes_count_and_are_removed_with_the_job(
    client, make_scene, tmp_path
):
    limits = JobLimits(owner_bytes=1_000_000)
    async with JobQueue(client, tmp_path / "jobs", limits=limits) as queue:
        job = await queue.submit(open_request())

        async def add(name):
            async with queue.receive(job.id) as draft:
                (draft.inputs / "0.bin").write_bytes(bytes(400_000))
                await draft.add([make_scene(name)])

        await add("a")
        await add("b")
        assert queue.files(job.id).bytes() >= 800_000
        with pytest.raises(JobLimitError):
            await add("c")
        assert len(list(queue.files(job.id).inputs.iterdir())) == 2
        await queue.close_job(job.id)
        await finished(queue, job.id)
        await poll(lambda: _gone(queue.files(job.id).inputs), delays=repeat(0.02))


async def test_the_texts_of_added_scenes_count(queue, make_scene, tmp_path):
    job = await queue.submit(open_request(make_scene("a")))
    await queue.close_job(job.id)
    await finished(queue, job.id)
    lengths = "length(request), (SELECT sum(length(scene)) FROM scenes)"
    with closing(sqlite3.connect(tmp_path / "jobs" / "jobs.sqlite")) as other:
        ((size, *texts),) = other.execute(f"SELECT bytes, {lengths} FROM jobs")
    assert size == queue.files(job.id).output_bytes() + BYTES_OF_ENTRY + sum(texts)


async def _gone(path):
    return None if path.exists() else True


async def test_scenes_for_a_job_that_ends_while_their_files_arrive_are_refused(queue, make_scene):
    job = await queue.submit(open_request())

    async def receive():
        async with queue.receive(job.id) as draft:
            await queue.close_job(job.id)
            await finished(queue, job.id)
            await poll(lambda: _gone(draft.inputs), delays=repeat(0.02))
            (draft.inputs / "0.bin").write_bytes(b"1")

    with pytest.raises(JobConflictError, match="takes no scenes"):
        await receive()
    await queue.remove(job.id)
    assert not queue.files(job.id).path.exists()


async def test_a_job_waits_on_while_its_scenes_cannot_be_read(queue, make_scene, monkeypatch):
    monkeypatch.setattr(dispatcher, "RETRY_SECONDS", 0.05)
    job = await queue.submit(open_request(make_scene("a")))
    await reached(queue, job.id, "scene.completed", "a")
    read, failures = JobDatabase.read, []

    async def failing(self, work):
        if getattr(getattr(work, "func", None), "__name__", "") == "read_scenes" and not failures:
            failures.append(work)
            raise JobStorageError("the disk does not answer")
        return await read(self, work)

    monkeypatch.setattr(JobDatabase, "read", failing)
    await queue.add_scenes(job.id, [make_scene("b")])
    await queue.close_job(job.id)
    assert (await finished(queue, job.id)).completed == 2
    assert failures
