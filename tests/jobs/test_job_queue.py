"""Jobs in a folder, with a fake cloud."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from base64 import b64encode
from contextlib import closing
from itertools import repeat

import anyio
import pytest

from cloudburst import Client, Limits
from cloudburst.concurrency import poll
from cloudburst.errors import (
    ClosedError,
    ConfigurationError,
    InvalidScenesError,
    JobConflictError,
    JobLimitError,
    JobStorageError,
    UnknownJobError,
)
from cloudburst.jobs import (
    JobEvent,
    JobLimits,
    JobProgress,
    JobQueue,
    JobRequest,
    JobState,
    dispatcher,
)
from cloudburst.jobs.webhooks.definitions import Webhook, Webhooks
from cloudburst.jobs.webhooks.signature import verify_webhook
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.testing import FakeCloud

SECRET = f"whsec_{b64encode(bytes(range(32))).decode()}"

pytestmark = pytest.mark.anyio


def request(make_scene, *names, **more):
    return JobRequest(scenes=[make_scene(name) for name in names], **more)


async def received(queue, job, after=0):
    return [item async for item in queue.events(job, after=after)]


def numbered(items):
    return [item for item in items if isinstance(item, JobEvent)]


async def test_a_job_ends_with_videos_report_and_numbered_events(client, make_scene, tmp_path):
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.submit(request(make_scene, "a", "b", metadata={"order": 17}))
        assert (job.state, job.last_event, job.scenes) == (JobState.QUEUED, 1, 2)
        events = numbered(await received(queue, job.id))
        done = await queue.job(job.id)
        report = await queue.report(job.id)
        videos = await queue.videos(job.id)
    assert sorted(str(video.path) for video in videos) == ["a.mp4", "b.mp4"]
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


async def test_one_task_is_kept_warm_between_jobs(make_scene, tmp_path):
    cloud = FakeCloud(boot=0.2, rates=US_EAST_1_RATES)  # the wait for a start is worth 3 s
    async with (
        Client(cloud.backend, limits=Limits(workers=2)) as client,
        JobQueue(client, tmp_path / "jobs") as queue,
    ):
        job = await queue.submit(request(make_scene, "a", "b"))
        await received(queue, job.id)
        assert len(cloud.running) == 1
    assert not cloud.running


async def test_a_reader_that_returns_gets_each_event_once(client, cloud, make_scene, tmp_path):
    cloud.encode = 0.3
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.submit(request(make_scene, "a", "b", "c"))
        first = []
        async for item in queue.events(job.id):
            first += numbered([item])
            if len(first) == 5:
                break
        rest = numbered(await received(queue, job.id, after=first[-1].number))
        whole = numbered(await received(queue, job.id))
    assert [*first, *rest] == whole


async def test_progress_has_no_number_and_at_most_one_is_sent_a_second(
    client, cloud, make_scene, tmp_path
):
    cloud.encode, cloud.progress_every = 1.5, 0.02
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.submit(request(make_scene, "a"))
        items = await received(queue, job.id)
        done = await queue.job(job.id)
    progress = [item for item in items if isinstance(item, JobProgress)]
    assert 1 <= len(progress) <= 3
    assert [p.share for p in progress] == sorted(p.share for p in progress)
    assert 0 < progress[-1].encodes["a"] < 1
    assert (done.progress, done.state) == (1, "complete")


async def test_a_cancelled_job_keeps_its_videos_and_stops_its_tasks(
    client, cloud, make_scene, tmp_path
):
    cloud.encode = lambda scene: 0.0 if scene == "quick" else 60.0
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.submit(request(make_scene, "quick", "slow"))
        async for item in queue.events(job.id):
            if item.type == "scene.completed":
                break
        assert not (await queue.job(job.id)).cancel_requested
        asked = await queue.cancel(job.id)
        assert (asked.state, asked.cancel_requested) == (JobState.RUNNING, True)
        assert (await queue.page()).jobs[0].cancel_requested
        with anyio.fail_after(30):
            done = await queue.wait(job.id)
        assert (done.state, done.completed, done.failed) == (JobState.CANCELLED, 1, 0)
        assert done.cancel_requested
        assert not cloud.running
        assert (await queue.cancel(job.id)) == done  # and stays so
        last = numbered(await received(queue, job.id))[-1]
    assert (last.type, last.data["state"]) == ("job.finished", "cancelled")


async def test_a_finished_job_cannot_be_cancelled(client, make_scene, tmp_path):
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.wait((await queue.submit(request(make_scene, "a"))).id)
        assert (await queue.cancel(job.id)) == job
    assert (job.state, job.cancel_requested) == (JobState.COMPLETE, False)


async def test_a_queued_job_is_cancelled_at_once(client, cloud, make_scene, tmp_path):
    cloud.encode = 60.0
    async with JobQueue(client, tmp_path / "jobs", limits=JobLimits(running=1)) as queue:
        running = await queue.submit(request(make_scene, "a"))
        async for item in queue.events(running.id):
            if item.type == "job.started":
                break
        job = await queue.submit(request(make_scene, "b"))
        assert (await queue.cancel(job.id)).state is JobState.CANCELLED
        assert [e.type for e in await received(queue, job.id)] == ["job.queued", "job.finished"]
        await queue.cancel(running.id)
        await queue.wait(running.id)


async def test_the_next_process_continues_what_an_earlier_one_has_begun(
    client, cloud, make_scene, tmp_path
):
    """A scene that is finished stays finished, and numbers go on."""
    cloud.encode = lambda scene: 0.0 if scene == "quick" else 60.0
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.submit(request(make_scene, "quick", "slow"))
        async for item in queue.events(job.id):
            if item.type == "scene.completed":
                break
    assert not cloud.running
    cloud.encode = 0.0
    async with JobQueue(client, tmp_path / "jobs") as queue:
        assert (await queue.wait(job.id)).state is JobState.COMPLETE
        events = numbered(await received(queue, job.id))
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    types = [event.type for event in events]
    assert types.count("job.interrupted") == types.count("job.finished") == 1
    assert types.count("job.started") == 2
    completed = [event.data["scene"] for event in events if event.type == "scene.completed"]
    assert sorted(completed) == ["quick", "slow"]


async def test_two_processes_one_works_on_a_job_and_the_other_reads_and_cancels_it(
    cloud, make_scene, tmp_path
):
    cloud.encode = 60.0
    folder = tmp_path / "jobs"
    async with (
        Client(cloud.backend) as one,
        Client(cloud.backend) as other,
        JobQueue(one, folder) as owner,
    ):
        job = await owner.submit(request(make_scene, "a"))
        async for item in owner.events(job.id):
            if item.type == "scene.encoding":
                break
        async with JobQueue(other, folder) as reader:
            assert (await reader.job(job.id)).state is JobState.RUNNING
            items = []
            with anyio.fail_after(30):
                async for item in reader.events(job.id):
                    items.append(item)
                    if item.type == "scene.encoding":
                        await reader.cancel(job.id)
            whole = numbered(await received(owner, job.id))
    assert numbered(items) == whole
    assert (whole[-1].data["state"], cloud.running) == ("cancelled", {})


async def test_invalid_files_fail_the_job_with_every_problem(client, make_scene, tmp_path):
    bad = make_scene("bad")
    (tmp_path / "none").mkdir()
    bad["image_path"] = str(tmp_path / "none" / "missing.png")
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.submit(JobRequest(scenes=[make_scene("good"), bad]))
        done = await queue.wait(job.id)
    assert (done.state, done.completed) == (JobState.FAILED, 0)
    assert done.error is not None
    assert done.error.kind == "InvalidScenesError"
    assert [(fault["scene"], fault["field"]) for fault in done.error.faults] == [("bad", "image")]
    assert str(tmp_path) not in done.model_dump_json()


async def test_a_scene_that_fails_is_counted_and_the_job_is_partial(
    client, cloud, make_scene, tmp_path
):
    cloud.broken_scenes = {"bad"}
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.submit(request(make_scene, "good", "bad"))
        done = await queue.wait(job.id)
    assert (done.state, done.completed, done.failed) == (JobState.PARTIAL, 1, 1)


async def test_a_repeated_request_is_the_same_job(client, make_scene, tmp_path):
    async with JobQueue(client, tmp_path / "jobs") as queue:
        wanted = request(make_scene, "a")
        job = await queue.submit(wanted, idempotency_key="k")
        again = await queue.submit(wanted, idempotency_key="k")
        of_other = await queue.submit(wanted, idempotency_key="k", owner="other")
        assert again.id == job.id != of_other.id
        with pytest.raises(JobConflictError, match="expected a new key"):
            await queue.submit(request(make_scene, "b"), idempotency_key="k")
        with pytest.raises(ConfigurationError, match="printable ASCII"):
            await queue.submit(wanted, idempotency_key="\n")
        await queue.wait(job.id)
        await queue.wait(of_other.id)
        folders = list((tmp_path / "jobs" / "jobs").iterdir())
    assert sorted(folder.name for folder in folders) == sorted([job.id, of_other.id])


async def test_the_limits_of_an_owner(client, cloud, make_scene, tmp_path):
    cloud.encode = 60.0
    limits = JobLimits(owner_jobs=1, owner_bytes=20_000, bytes=24_000)

    async def body(size):
        yield bytes(size)

    async with JobQueue(client, tmp_path / "jobs", limits=limits) as queue:
        job = await queue.submit(request(make_scene, "a"), owner="x")
        with pytest.raises(JobLimitError, match="1 jobs are queued or running"):
            await queue.submit(request(make_scene, "b"), owner="x")
        upload = await queue.uploads.store(body(9_000), owner="x")
        with pytest.raises(JobLimitError, match="expected at most 20,000") as of_owner:
            await queue.uploads.store(body(9_000), owner="x")
        with pytest.raises(JobLimitError, match="no room") as of_all:
            await queue.uploads.store(body(9_000), owner="y")
        assert (of_owner.value.of_owner, of_all.value.of_owner) == (True, False)
        (tmp_path / "links").mkdir()
        names = [upload.id, "0" * 32, "../../a"]
        assert await queue.uploads.link(names, tmp_path / "links", owner="y") == {}
        links = await queue.uploads.link(names, tmp_path / "links", owner="x")
        assert list(links) == [upload.id]
        assert links[upload.id].stat().st_size == 9_000
        with pytest.raises(JobStorageError, match="links"):  # the file exists already
            await queue.uploads.link(names, tmp_path / "links", owner="x")
        assert not await queue.uploads.remove(upload.id, owner="y")
        assert await queue.uploads.remove(upload.id, owner="x")
        assert list((tmp_path / "jobs/uploads").iterdir()) == []
        assert links[upload.id].is_file()
        await queue.cancel(job.id)
        await queue.wait(job.id)


async def test_small_entries_need_room_as_well(client, make_scene, tmp_path):
    """Otherwise empty uploads, and jobs with requests of megabytes, would fill the disk."""

    async def body():
        yield b""

    async with JobQueue(client, tmp_path / "jobs", limits=JobLimits(bytes=120_000)) as queue:
        scene = make_scene("a")
        names = [f"{number}" + "x" * 100 for number in range(20)]
        job = await queue.submit(
            JobRequest(scenes=[scene | {"scene_name": name} for name in names])
        )
        await queue.cancel(job.id)
        await queue.wait(job.id)

        async def store_ten():
            for _ in range(10):
                await queue.uploads.store(body())

        with pytest.raises(JobLimitError, match="no room"):
            await store_ten()


@pytest.mark.parametrize("seconds", [0, 10.1, float("nan")])
def test_the_length_of_a_transition_is_limited(make_scene, seconds):
    with pytest.raises(InvalidScenesError, match="transition_seconds"):
        request(make_scene, "a", film=True, transition_seconds=seconds)


async def test_lists_are_filtered_and_paged(client, make_scene, tmp_path):
    async with JobQueue(client, tmp_path / "jobs") as queue:
        jobs = [
            await queue.submit(request(make_scene, "a", metadata={"n": n, 'k"': "x"}), owner="o")
            for n in range(5)
        ]
        for job in jobs:
            await queue.wait(job.id)
        first = await queue.page(owner="o", limit=3)
        rest = await queue.page(owner="o", limit=3, cursor=first.next)
        ids = [job.id for job in (*first.jobs, *rest.jobs)]
        assert ids == [job.id for job in reversed(jobs)]
        assert rest.next is None
        assert (await queue.page(owner="p")).jobs == ()
        assert (await queue.page(states=[JobState.RUNNING])).jobs == ()
        found = await queue.page(metadata={"n": "3", 'k"': "x"}, states=[JobState.COMPLETE])
        assert [job.id for job in found.jobs] == [jobs[3].id]
        with pytest.raises(ConfigurationError, match="cursor"):
            await queue.page(cursor="1; DROP TABLE jobs")


async def test_a_finished_job_is_removed_and_a_running_one_is_not(
    client, cloud, make_scene, tmp_path
):
    cloud.encode = 60.0
    async with JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.submit(request(make_scene, "a"))
        with pytest.raises(JobConflictError, match="cancel it"):
            await queue.remove(job.id)
        await queue.cancel(job.id)
        await queue.wait(job.id)
        await queue.remove(job.id)
        for call in (queue.job, queue.cancel, queue.remove, queue.report, queue.wait):
            with pytest.raises(UnknownJobError, match=job.id):
                await call(job.id)
        assert list((tmp_path / "jobs" / "jobs").iterdir()) == []
    with pytest.raises(ClosedError):
        await queue.job(job.id)


async def none_left(left, queue):
    return None if await left(queue) else True


async def test_old_jobs_and_uploads_are_removed(client, make_scene, tmp_path):
    folder = tmp_path / "jobs"

    async def body():
        yield b"x"

    async with JobQueue(client, folder) as queue:
        job = await queue.submit(request(make_scene, "a"))
        await queue.wait(job.id)
        upload = await queue.uploads.store(body())

    async def left(queue):
        files = [*(folder / "jobs").iterdir(), *(folder / "uploads").iterdir()]
        return (await queue.page()).jobs or files

    async with JobQueue(client, folder, limits=JobLimits(keep_seconds=1e-9)) as queue:
        with anyio.fail_after(30):
            await poll(lambda: none_left(left, queue), delays=repeat(0.02))
        assert not await queue.uploads.remove(upload.id)


async def test_a_job_whose_row_is_damaged_fails_and_the_others_go_on(
    client, cloud, make_scene, tmp_path
):
    cloud.encode = 0.5
    limits = JobLimits(running=1)
    async with JobQueue(client, tmp_path / "jobs", limits=limits) as queue:
        first = await queue.submit(request(make_scene, "a"))
        damaged = await queue.submit(request(make_scene, "b"))
        last = await queue.submit(request(make_scene, "c"))
        with sqlite3.connect(tmp_path / "jobs" / "jobs.sqlite") as other:
            other.execute("UPDATE jobs SET request = '{}' WHERE id = ?", [damaged.id])
        other.close()
        states = [(await queue.wait(job.id)).state for job in (first, damaged, last)]
    assert states == ["complete", "failed", "complete"]


async def test_messages_for_webhooks_are_written_with_the_events(client, make_scene, tmp_path):
    """A job that names a URL gets its end there; others get what they want, in one order."""

    async def secrets(owner):
        return [SECRET]

    hooks = [
        Webhook(url="https://hooks.invalid/a", secrets=[SECRET], events=["job.*"], name="jobs"),
        Webhook(
            url="https://hooks.invalid/b", secrets=[SECRET], events=["scene.failed"], name="no"
        ),
    ]
    folder = tmp_path / "jobs"
    webhooks = Webhooks(hooks, job_secrets=secrets)

    def links(job):
        return {"self": f"https://app/jobs/{job}"}

    async with JobQueue(client, folder, webhooks=webhooks, links=links) as queue:
        wanted = request(
            make_scene, "a", metadata={"n": 1}, webhook="https://hooks.invalid/job?k=1"
        )
        job = await queue.submit(wanted, owner="o")
        await queue.wait(job.id)
        with pytest.raises(ConfigurationError, match="URL of a webhook is not valid"):
            await queue.submit(request(make_scene, "a", webhook="http://example.com/"))
    with closing(sqlite3.connect(folder / "jobs.sqlite")) as other:
        columns = "webhook, url, owner, number, type, state, payload"
        rows = other.execute(f"SELECT {columns} FROM webhook_messages ORDER BY number, webhook")
        messages = rows.fetchall()
    owners = {row[2] for row in messages}
    urls = {row[1] for row in messages if row[0] == "job"}
    assert (owners, urls) == ({"o"}, {"https://hooks.invalid/job?k=1"})
    types = [(webhook, kind, state) for webhook, _, _, _, kind, state, _ in messages]
    assert types == [
        ("jobs", "job.queued", "ready"),
        ("jobs", "job.started", "waiting"),
        ("job", "job.finished", "ready"),
        ("jobs", "job.finished", "waiting"),
    ]
    data = json.loads(messages[-1][-1])["data"]
    assert (data["job"], data["metadata"], data["state"]) == (job.id, {"n": 1}, "complete")
    assert data["links"] == {"self": f"https://app/jobs/{job.id}"}


async def test_the_end_of_a_job_reaches_a_webhook(client, make_scene, tmp_path):
    """The receiver sees a signed message, once."""
    requests = []

    async def receive(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in pairs}
        requests.append((headers, await reader.readexactly(int(headers["content-length"]))))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    hook = Webhook(url=f"http://127.0.0.1:{port}/", secrets=[SECRET], private=True)
    webhooks = Webhooks([hook])
    async with server, JobQueue(client, tmp_path / "jobs", webhooks=webhooks) as queue:
        job = await queue.submit(request(make_scene, "a"))
        await queue.wait(job.id)
        with anyio.fail_after(30):
            await poll(lambda: first_of(requests), delays=repeat(0.02))
        await anyio.sleep(0.1)
    ((headers, body),) = requests
    message = verify_webhook(body, headers, [SECRET])
    assert (message["type"], message["data"]["job"]) == ("job.finished", job.id)


async def first_of(items):
    return items[0] if items else None


async def test_owners_take_turns(client, cloud, make_scene, tmp_path):
    """The jobs of one owner do not keep those of another waiting until all of them are done."""
    cloud.encode = 1.0  # the second owner submits a job meanwhile
    async with JobQueue(client, tmp_path / "jobs", limits=JobLimits(running=2)) as queue:
        wanted = request(make_scene, "a")
        many = [await queue.submit(wanted, owner="many") for _ in range(4)]
        one = await queue.submit(wanted, owner="one")
        done = [await queue.wait(job.id) for job in (*many, one)]
    *of_many, of_one = [job.started_at for job in done]
    # After the first two, which may end at the same time, it is the turn of the other owner.
    assert of_one < max(of_many)


async def test_a_job_for_which_the_client_has_no_room_waits_and_writes_nothing(
    cloud, make_scene, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(dispatcher, "BUSY_SECONDS", 0.05)
    caplog.set_level("INFO", "cloudburst.jobs")
    cloud.boot = 60.0  # until then, the scenes of the first job fill the queue
    async with (
        Client(cloud.backend, limits=Limits(workers=1, queued_scenes=2)) as client,
        JobQueue(client, tmp_path / "jobs") as queue,
    ):
        wanted = request(make_scene, "a", "b")
        first = await queue.submit(wanted)
        async for item in queue.events(first.id):
            if item.type == "worker.launched":
                break
        second = await queue.submit(wanted)
        with anyio.fail_after(30):
            await poll(lambda: text_of(caplog, "is queued again: 2 scenes"), delays=repeat(0.02))
        cloud.boot = 0.0
        await queue.cancel(first.id)
        assert (await queue.wait(second.id)).state is JobState.COMPLETE
        types = [event.type for event in numbered(await received(queue, second.id))]
    assert types[:3] == ["job.queued", "job.started", "scene.queued"]
    assert "job.interrupted" not in types


async def test_a_job_that_never_fits_into_the_client_fails(cloud, make_scene, tmp_path):
    async with (
        Client(cloud.backend, limits=Limits(queued_scenes=1)) as client,
        JobQueue(client, tmp_path / "jobs") as queue,
    ):
        job = await queue.submit(request(make_scene, "a", "b"))
        with anyio.fail_after(30):
            done = await queue.wait(job.id)
    assert done.state is JobState.FAILED
    assert done.error is not None
    assert done.error.message == "2 scenes; expected at most Limits.queued_scenes=1"
    assert not done.error.retryable


async def text_of(caplog, part):
    return caplog.text if part in caplog.text else None
