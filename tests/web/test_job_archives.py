"""All videos of a job as one zip file."""

import asyncio
import io
import os
import zipfile
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from cloudburst.jobs import JobRequest
from support.web_apps import WithState, finished, open_jobs, submit, upload

pytestmark = pytest.mark.anyio


@pytest.fixture
async def job(cloud, make_scene, tmp_path):
    """The jobs, an HTTP client, and a finished job with two videos."""
    async with open_jobs(cloud, tmp_path / "jobs") as (jobs, http):
        image = await upload(http, make_scene("p")["image_path"])
        scenes = [{"name": name, "image": image, "duration": 1} for name in ("海港", "b")]
        job = (await submit(http, *scenes)).json()
        await finished(http, job)
        yield jobs, http, job


def open_files():
    found = list[Path]()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the folder itself
            found.append(descriptor.readlink())
    return found


def contents(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


async def test_the_archive_has_the_finished_videos_and_the_film(job):
    jobs, http, document = job
    folder = jobs.queue.files(document["id"])
    (folder.videos / "海港.mp4").write_bytes(b"harbour" * 300_000)
    (folder.videos / "b.mp4").write_bytes(b"b")
    (folder.videos / "other.mp4").write_bytes(b"no video of the job")
    url = f"{document['links']['job']}/videos.zip"
    answer = await http.get(url)
    assert answer.headers["content-type"] == "application/zip"
    assert document["id"] in answer.headers["content-disposition"]
    expected = {"videos/海港.mp4": b"harbour" * 300_000, "videos/b.mp4": b"b"}
    assert contents(answer.content) == expected
    head = await http.head(url)
    assert (head.status_code, head.headers["content-type"]) == (200, "application/zip")
    assert head.content == b""
    folder.film.write_bytes(b"film")
    (folder.videos / "b.mp4").unlink()
    (folder.videos / "b.mp4").symlink_to(folder.videos / "other.mp4")
    found = contents((await http.get(url)).content)
    assert found == {"film.mp4": b"film", "videos/海港.mp4": b"harbour" * 300_000}


async def test_a_job_without_videos_has_no_archive(job):
    jobs, http, document = job
    for path in jobs.queue.files(document["id"]).videos.glob("*.mp4"):
        path.unlink()
    assert (await http.get(f"{document['links']['job']}/videos.zip")).status_code == 404


async def test_videos_in_s3_are_in_no_archive(job, make_scene):
    jobs, http, _ = job
    scene = {"name": "a", "image": make_scene("a")["image_path"], "duration": 1}
    request = JobRequest(scenes=[scene], to="s3://bucket/out/")
    one = await jobs.queue.submit(request, owner="everybody")
    answer = await http.get(f"/api/jobs/{one.id}/videos.zip")
    assert (answer.status_code, answer.json()["error"]) == (409, "JobConflictError")
    assert "in their list" in answer.json()["message"]


@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_a_connection_that_ends_closes_the_files_of_the_archive(job, how):
    jobs, http, document = job
    path = jobs.queue.files(document["id"]).videos / "b.mp4"
    path.write_bytes(b"")
    os.truncate(path, 2**30)
    sent = list[int]()
    closed = anyio.Event()

    async def send(message):
        sent.append(len(message.get("body", b"")))
        if len(sent) > 4:
            closed.set()
            await anyio.sleep_forever()  # the caller takes nothing more

    async def receive():
        await closed.wait()
        if how == "cancelled":
            await anyio.sleep_forever()
        return {"type": "http.disconnect"}

    app = WithState(http._transport.app.app, {})
    target = f"{document['links']['job']}/videos.zip"
    scope = {"type": "http", "method": "GET", "path": target, "raw_path": target.encode()}
    scope |= {"headers": [(b"host", b"localhost")], "query_string": b"", "http_version": "1.1"}
    task = asyncio.create_task(app(scope, receive, send))
    with anyio.fail_after(10):
        await closed.wait()
        if how == "cancelled":
            task.cancel()
        await asyncio.wait([task])
    assert task.cancelled() == (how == "cancelled")
    assert sum(sent) < 2**25
    assert path not in open_files()


async def test_files_behind_the_first_gigabytes_have_records_of_64_bits(job, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1_000)
    jobs, http, document = job
    videos = jobs.queue.files(document["id"]).videos
    sizes = {"海港.mp4": 3_000, "b.mp4": 990}
    for name, size in sizes.items():
        (videos / name).write_bytes(os.urandom(size))
    found = contents((await http.get(f"{document['links']['job']}/videos.zip")).content)
    assert {name: len(data) for name, data in found.items()} == {
        f"videos/{name}": size for name, size in sizes.items()
    }
