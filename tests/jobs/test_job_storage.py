"""Folder and database of the jobs with content that cloudburst does not write."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import anyio
import pytest

from cloudburst.errors import JobLimitError, JobStorageError
from cloudburst.jobs import (
    JobLimits,
    JobQueue,
    JobRequest,
    JobState,
    admission,
    database,
    dispatcher,
)
from cloudburst.jobs import job_run as job_runs
from cloudburst.jobs.event_log import NewEvent, append_events, find_video, read_videos
from cloudburst.jobs.job_rows import BYTES_OF_ENTRY, read_job
from cloudburst.outputs.databases import schema_of

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Errors are followed by another attempt at once."""
    for module in (dispatcher, job_runs):
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.05)


def request(make_scene, *names, **more):
    return JobRequest(scenes=[make_scene(name) for name in names], **more)


def change(folder, statement, *values):
    with closing(sqlite3.connect(folder / "jobs.sqlite")) as other, other:
        other.execute(statement, values)


async def begun(queue, job):
    async for item in queue.events(job):
        if item.type == "scene.encoding":
            return


async def _or_none(value):
    return value or None


async def test_a_queue_ends_although_its_database_cannot_be_written(
    client, cloud, make_scene, tmp_path, monkeypatch
):
    """A process that was stopped writes; the jobs go on in the next process."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.2)
    cloud.encode = 60.0
    folder = tmp_path / "jobs"
    with anyio.fail_after(30):
        async with JobQueue(client, folder) as queue:
            job = await queue.submit(request(make_scene, "a"))
            await begun(queue, job.id)
            other = sqlite3.connect(folder / "jobs.sqlite", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
        assert not cloud.running
    other.close()
    cloud.encode = 0.0
    async with JobQueue(client, folder) as queue:
        assert (await queue.wait(job.id)).state is JobState.COMPLETE


async def test_a_folder_without_room_begins_no_job_and_continues_those_that_were_begun(
    client, cloud, make_scene, tmp_path
):
    """Only their runs find and stop tasks that they left."""
    cloud.encode = 60.0
    folder = tmp_path / "jobs"
    async with JobQueue(client, folder) as queue:
        job = await queue.submit(request(make_scene, "a"))
        await begun(queue, job.id)
    cloud.encode = 0.0
    change(folder, "INSERT INTO uploads VALUES (?, '', 100000, 1e10)", "f" * 32)
    async with JobQueue(client, folder, limits=JobLimits(running=1)) as queue:
        first = await queue.wait(job.id)
    limits = JobLimits(bytes=100_000 + 2 * BYTES_OF_ENTRY)
    async with JobQueue(client, folder, limits=limits) as queue:
        change(folder, "UPDATE jobs SET state = 'queued', finished_at = NULL")
        change(folder, "UPDATE jobs SET bytes = 0")
        other = await queue.submit(request(make_scene, "b"))
        again = await queue.wait(job.id)
        await anyio.sleep(1.2)
        assert (await queue.job(other.id)).state is JobState.QUEUED
        await queue.uploads.remove("f" * 32)
        with anyio.fail_after(30):
            assert (await queue.wait(other.id)).state is JobState.COMPLETE
    assert (first.state, again.state) == (JobState.COMPLETE, JobState.COMPLETE)


async def test_files_that_arrive_at_once_keep_the_limit_together(client, tmp_path, monkeypatch):
    monkeypatch.setattr(admission, "BYTES_PER_CHECK", 10_000)
    largest = 0

    async def body():
        nonlocal largest
        for _ in range(9):
            yield bytes(10_000)
            sizes = [path.stat().st_size for path in (tmp_path / "jobs/uploads").iterdir()]
            largest = max(largest, sum(sizes))
            await anyio.sleep(0.01)

    async def store(queue, owner):
        try:
            stored.append((owner, await queue.uploads.store(body(), owner=owner)))
        except JobLimitError as exc:
            refusals.append(exc.of_owner)

    for limits, same in ((JobLimits(owner_bytes=100_000), True), (JobLimits(bytes=100_000), False)):
        largest, refusals, stored = 0, list[bool](), []
        async with JobQueue(client, tmp_path / "jobs", limits=limits) as queue:
            async with anyio.create_task_group() as tasks:
                for number in range(5):
                    tasks.start_soon(store, queue, "x" if same else str(number))
            assert largest <= 150_000  # otherwise five times 90,000
            assert set(refusals) == {same}
            assert len(refusals) >= 4
            for owner, upload in stored:
                await queue.uploads.remove(upload.id, owner=owner)
            await store(queue, "x")  # what was refused needs no room any more
            assert len(refusals) <= 5
            assert await queue.uploads.remove(stored[-1][1].id, owner="x")


def memory():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    database.upgrade(connection)
    connection.execute(
        "INSERT INTO jobs (id, owner, state, request, metadata, created_at, scenes, film, bytes, "
        "request_sha256) VALUES ('j', '', 'queued', '', '{}', 0, 1, 0, 0, '')"
    )
    return closing(connection)


def completed(scene, sha256):
    video = {
        "scene": scene,
        "path": f"{scene}.mp4",
        "task": "t",
        "size": 1,
        "sha256": sha256,
        "seconds": 1.0,
    }
    return NewEvent(type="scene.completed", time=0, scene=scene, data={"video": video})


def test_a_scene_that_is_rendered_once_more_has_another_event_and_counts_once():
    failed = NewEvent(type="scene.failed", time=0, scene="s")
    film = NewEvent(type="film.completed", time=0)
    with memory() as connection:
        events = [failed, failed, completed("s", "1"), completed("s", "1"), film, film]
        append_events(connection, "j", events)
        append_events(connection, "j", [completed("s", "2"), completed("s", "2")])
        counts = connection.execute("SELECT completed, failed, last_event FROM jobs").fetchone()
        assert counts == (1, 0, 5)
        assert [video.sha256 for video in read_videos(connection, "j")] == ["2"]
        append_events(connection, "j", [failed])
        assert find_video(connection, "j", "s").sha256 == "2"
        assert find_video(connection, "j", "other") is None


def test_a_job_has_the_first_cover():
    def with_cover(name):
        event = completed(name, "1")
        event.data["video"]["cover"] = f"{name}.jpg"
        return event

    with memory() as connection:
        append_events(connection, "j", [completed("a", "1")])
        assert read_job(connection, "j").cover is None
        append_events(connection, "j", [with_cover("b"), with_cover("c")])
        append_events(connection, "j", [with_cover("d")])
        assert read_job(connection, "j").cover == "b.jpg"


def test_the_work_for_an_event_does_not_grow_with_the_number_of_events():
    steps = []
    with memory() as connection:
        for part in range(4):
            events = [completed(f"{part} {n}", "1") for n in range(500)]
            count = [0]

            def progress(count=count):
                count[0] += 1

            connection.set_progress_handler(progress, 100)
            append_events(connection, "j", events)
            steps.append(count[0])
    assert steps[-1] < 1.5 * steps[0]


async def test_processes_that_start_at_once_wait_for_each_other(tmp_path):
    """SQLite itself does not wait when the journal of a new database is chosen."""
    other = sqlite3.connect(tmp_path / "jobs.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    opened = []

    async def open_too():
        async with database.open_database(tmp_path):
            opened.append(True)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(open_too)
            await anyio.sleep(0.3)
            assert not opened
            other.execute("COMMIT")
    other.close()
    assert opened


async def test_a_database_of_an_older_format_is_brought_to_the_newest_one(tmp_path, monkeypatch):
    async with database.open_database(tmp_path):
        pass
    steps = (*database.STEPS, ("ALTER TABLE uploads ADD COLUMN color TEXT",))
    monkeypatch.setattr(database, "STEPS", steps)
    for _ in range(2):
        async with database.open_database(tmp_path) as opened:
            assert (
                await opened.read(lambda c: c.execute("SELECT color FROM uploads").fetchall()) == []
            )
            assert await opened.read(schema_of) == len(steps)


async def test_a_database_of_a_newer_format_says_what_to_do(client, tmp_path):
    async with database.open_database(tmp_path):
        pass
    change(tmp_path, "PRAGMA user_version = 99")
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as connection:
        before = list(connection.iterdump())
    message = r"newer version.*format 99.*formats up to .*: install the newer version again, or"
    with pytest.raises(JobStorageError, match=message):
        async with JobQueue(client, tmp_path):
            pass
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as connection:
        assert list(connection.iterdump()) == before


async def test_a_column_that_cloudburst_does_not_know_does_no_harm(client, make_scene, tmp_path):
    async with JobQueue(client, tmp_path / "jobs"):
        pass
    change(tmp_path / "jobs", "ALTER TABLE jobs ADD COLUMN color TEXT")
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.submit(request(make_scene, "a"))
        assert (await queue.wait(job.id)).state is JobState.COMPLETE
