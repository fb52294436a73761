"""Jobs whose process ends, whose database fails, or whose budget is used up, with a fake cloud."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from contextlib import closing

import anyio
import pytest

from cloudburst import Client, Limits
from cloudburst.errors import (
    ConfigurationError,
    CredentialsError,
    EncodeError,
    InvalidScenesError,
    JobLimitError,
    JobStorageError,
    OutputClaimedError,
    OutputExistsError,
    ResourceMissingError,
    SceneFault,
    UnknownJobError,
)
from cloudburst.jobs import (
    JobEvent,
    JobLimits,
    JobQueue,
    JobRequest,
    JobState,
    admission,
    dispatcher,
)
from cloudburst.jobs import job_run as job_runs
from cloudburst.jobs.database import JobDatabase
from cloudburst.jobs.job_claims import registered_process
from cloudburst.models.prices import US_EAST_1_RATES

pytestmark = pytest.mark.anyio


def request(make_scene, *names, **more):
    return JobRequest(scenes=[make_scene(name) for name in names], **more)


async def numbered(queue, job):
    items = [item async for item in queue.events(job)]
    return [item for item in items if isinstance(item, JobEvent)]


async def settled_job(queue, job):
    found = await queue.job(job)
    return found if found.cost is not None and found.cost.final else None


def change(folder, statement, *values):
    with closing(sqlite3.connect(folder / "jobs.sqlite")) as other, other:
        other.execute(statement, values)


@pytest.mark.few(4, spread=True)
@pytest.mark.parametrize("moment", range(8))
async def test_a_queue_that_is_cancelled_at_any_moment_leaves_a_job_that_goes_on(
    moment, cloud, make_scene, tmp_path
):
    """From before the job is submitted to after its end."""
    cloud.encode, cloud.boot = 0.05, 0.02
    wanted, submitted = request(make_scene, "a", "b"), []
    with anyio.move_on_after(0.02 + 0.05 * moment):
        async with Client(cloud.backend) as client, JobQueue(client, tmp_path / "jobs") as queue:
            submitted.append(await queue.submit(wanted, idempotency_key="once"))
            await anyio.sleep(60)
    assert not cloud.running
    async with Client(cloud.backend) as client, JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.submit(wanted, idempotency_key="once")
        assert submitted in ([], [job]) or submitted[0].id == job.id
        assert (await queue.wait(job.id)).state is JobState.COMPLETE
        events = await numbered(queue, job.id)
        assert len((await queue.page()).jobs) == 1
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    types = [event.type for event in events]
    assert (types.count("job.finished"), types[-1]) == (1, "job.finished")
    assert types.count("scene.completed") == 2
    assert not cloud.running


async def test_a_job_of_a_process_that_has_ended_is_taken_over(
    client, make_scene, tmp_path, monkeypatch
):
    """A job whose process runs is not, although the process does nothing."""
    monkeypatch.setattr(dispatcher, "TAKEOVER_SECONDS", 0.1)
    folder = tmp_path / "jobs"
    async with JobQueue(client, folder, limits=JobLimits(running=1)) as queue:
        jobs = [await queue.submit(request(make_scene, "a")) for _ in range(2)]
        for job in jobs:
            await queue.wait(job.id)
    back = (
        "UPDATE jobs SET state = 'running', process = ?, finished_at = NULL, starts = 1 "
        "WHERE id = ?"
    )
    with registered_process(folder) as living:
        change(folder, back, "0" * 32, jobs[0].id)
        change(folder, back, living, jobs[1].id)
        change(folder, "DELETE FROM events WHERE type = 'job.finished'")
        change(folder, "UPDATE jobs SET last_event = last_event - 1")
        async with JobQueue(client, folder) as queue:
            with anyio.fail_after(30):
                assert (await queue.wait(jobs[0].id)).state is JobState.COMPLETE
            events = await numbered(queue, jobs[0].id)
            await anyio.sleep(dispatcher.POLL_SECONDS + 0.3)
            assert (await queue.job(jobs[1].id)).state is JobState.RUNNING
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events].count("scene.completed") == 1


async def test_a_job_that_was_to_be_cancelled_when_its_process_was_killed_is_cancelled(
    client, cloud, make_scene, tmp_path
):
    """Its run begins once more, because only that finds and stops its tasks."""
    cloud.encode = 60.0
    folder = tmp_path / "jobs"
    async with JobQueue(client, folder) as queue:
        job = await queue.submit(request(make_scene, "a"))
        async for item in queue.events(job.id):
            if item.type == "scene.encoding":
                break
    change(folder, "UPDATE jobs SET cancel_requested = 1")
    async with JobQueue(client, folder) as queue:
        with anyio.fail_after(30):
            assert (await queue.wait(job.id)).state is JobState.CANCELLED
        assert (await queue.report(job.id)) is not None
    assert not cloud.running


@pytest.fixture
def full(monkeypatch):
    """A list with one value, which is true while nothing can be written."""
    monkeypatch.setattr(job_runs, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(dispatcher, "RETRY_SECONDS", 0.05)
    write, full = JobDatabase.write, [False]

    async def failing(self, work):
        if full[0]:
            raise JobStorageError("no space") from OSError(errno.ENOSPC, "no space left")
        return await write(self, work)

    monkeypatch.setattr(JobDatabase, "write", failing)
    return full


async def test_a_full_disk_delays_events_and_loses_none(cloud, make_scene, tmp_path, full, caplog):
    """The run goes on, and its end is written when there is room again."""
    cloud.encode = 0.3
    async with (
        Client(cloud.backend, limits=Limits(workers=2)) as client,
        JobQueue(client, tmp_path / "jobs") as queue,
    ):
        job = await queue.submit(request(make_scene, "a", "b", "c"))
        async for item in queue.events(job.id):
            if item.type == "scene.started":
                break
        full[0] = True
        await anyio.sleep(1.2)
        assert (await queue.job(job.id)).state is JobState.RUNNING
        assert not cloud.running  # the run itself is over
        full[0] = False
        with anyio.fail_after(30):
            assert (await queue.wait(job.id)).state is JobState.COMPLETE
        events = await numbered(queue, job.id)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events].count("scene.completed") == 3
    assert "no space; the run continues" in caplog.text


async def test_a_folder_that_cannot_be_used_is_an_error_of_ours(client, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JobStorageError, match="file/jobs"):
        async with JobQueue(client, tmp_path / "file" / "jobs"):
            pass
    (tmp_path / "jobs.sqlite").write_bytes(b"something else" * 1000)
    with pytest.raises(JobStorageError, match="not a database"):
        async with JobQueue(client, tmp_path):
            pass


async def test_videos_that_arrive_count_for_their_owner_before_the_job_ends(
    client, cloud, make_scene, tmp_path, monkeypatch
):
    monkeypatch.setattr(job_runs, "USAGE_SECONDS", 0.05)
    cloud.encode = 60.0
    limits = JobLimits(owner_bytes=1_000_000)
    async with JobQueue(client, tmp_path / "jobs", limits=limits) as queue:
        job = await queue.submit(request(make_scene, "a"), owner="x")
        async for event in queue.events(job.id):
            if event.type == "scene.encoding":
                break
        (queue.files(job.id).videos / "b.mp4").write_bytes(bytes(1_000_000))
        with anyio.fail_after(30):
            done = await queue.wait(job.id)
        assert (done.state, done.error.kind) == (JobState.FAILED, "JobLimitError")
        with pytest.raises(JobLimitError, match="bytes of uploads, inputs and videos are stored"):
            await queue.submit(request(make_scene, "b"), owner="x")
    assert not cloud.running


async def test_a_disk_that_is_almost_full_takes_no_files_and_begins_no_job(
    client, make_scene, tmp_path, monkeypatch
):
    async def body():
        yield b"1"

    monkeypatch.setattr(admission, "FREE_SHARE", 2.0)
    monkeypatch.setattr(admission, "FREE_BYTES", shutil.disk_usage(tmp_path).free * 10)
    async with JobQueue(client, tmp_path / "jobs") as queue:
        with pytest.raises(JobLimitError, match="disk of the server is almost full") as caught:
            await queue.uploads.store(body())
        assert not caught.value.of_owner
        job = await queue.submit(request(make_scene, "a"))
        await anyio.sleep(0.6)
        assert (await queue.job(job.id)).state is JobState.QUEUED
        monkeypatch.setattr(admission, "FREE_BYTES", 0)
        assert (await queue.wait(job.id)).state is JobState.COMPLETE


async def test_log_of_a_job_with_many_faults_is_short(client, tmp_path, caplog):
    scenes = [{"name": f"s{n}", "image": tmp_path / f"{n}.png", "duration": 1} for n in range(150)]
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.submit(JobRequest(scenes=scenes))
        assert (await queue.wait(job.id)).state is JobState.FAILED
    (text,) = [text for text in caplog.messages if text.startswith(f"job {job.id}: ")]
    assert "s0: image: " in text
    assert text.endswith("and 50 more problems")


async def test_a_bill_is_not_called_final_while_another_job_uses_the_tasks(
    cloud, make_scene, tmp_path
):
    cloud.encode = lambda scene: 1.5 if scene == "short" else 60.0
    cloud.rates = US_EAST_1_RATES
    async with (
        Client(cloud.backend, limits=Limits(workers=1)) as client,
        JobQueue(client, tmp_path / "jobs") as queue,
    ):
        short = await queue.submit(request(make_scene, "short"))
        async for item in queue.events(short.id):
            if item.type == "scene.encoding":
                break
        long = await queue.submit(request(make_scene, "long"))
        async for item in queue.events(long.id):
            if item.type == "scene.queued":  # while the short one is encoded
                break
        done = await queue.wait(short.id)
        await anyio.sleep(0.5)
        events = await numbered(queue, short.id)
        await queue.cancel(long.id)
    assert done.cost is not None
    assert not done.cost.final
    assert events[-1].type == "job.finished"


async def test_a_film_that_fails_is_the_error_of_the_job(client, make_scene, tmp_path):
    """The videos of the fake cloud cannot be joined."""
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.submit(request(make_scene, "a", "b", film=True))
        done = await queue.wait(job.id)
        last = (await numbered(queue, job.id))[-1]
    assert (done.state, done.completed) == (JobState.COMPLETE, 2)
    assert done.error is not None
    assert (done.error.kind, last.data["error"]["kind"]) == ("FilmError", "FilmError")
    assert "expected a video" in done.error.message


async def test_what_no_job_event_or_page_has_is_refused(client, make_scene, tmp_path):
    async with JobQueue(client, tmp_path / "jobs") as queue:
        for text in ("\udcff", "\0", "../x", "x" * 10_000):
            for call in (queue.job, queue.wait, queue.cancel, queue.report, queue.remove):
                with pytest.raises(UnknownJobError) as found:
                    await call(text)
                assert len(str(found.value)) < 100
        job = await queue.submit(request(make_scene, "a"))
        await queue.wait(job.id)
        assert [item async for item in queue.events(job.id, after=10**30)] == []
        for limit in (0, -1, 201):
            with pytest.raises(ConfigurationError, match="expected 1 to 200"):
                await queue.page(limit=limit)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (CredentialsError("missing: AWS_ACCESS_KEY_ID; run aws configure"), False),
        (ConfigurationError("AWS_SUBNET_ID is wrong"), False),
        (OutputClaimedError("pid 7 on host build-3 is writing a.mp4"), False),
        (ResourceMissingError("no cluster prod"), False),
        (OutputExistsError("videos already exist: a.mp4"), True),
        (EncodeError("a: the encoder failed"), True),
        (JobLimitError("no room"), True),
        (InvalidScenesError(faults=[SceneFault("a", "image", "text", "a picture")]), True),
    ],
)
def test_what_only_the_operator_can_change_is_not_in_the_error_of_a_job(error, shown):
    failure = job_runs.failure_of(error)
    assert failure.kind == type(error).__name__
    assert failure.message == (
        str(error) if shown else "the server could not render the job; its log says why"
    )
