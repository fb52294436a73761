"""Videos, covers and films of jobs whose files are in S3: redirects to presigned URLs."""

import logging
import re
import shutil
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import parse_qs, quote, urlsplit

import anyio
import httpx
import pytest
from PIL import Image
from starlette.exceptions import HTTPException

from cloudburst import Client, RenderOptions, local
from cloudburst.errors import ResourceMissingError
from cloudburst.jobs import JobQueue, JobRequest
from cloudburst.testing import FakeCloud, s3_fault
from cloudburst.web import Access, file_handlers
from support.emulator_calls import client as aws
from support.s3_account import BUCKET, account, content, keys, obj, put, settings_of
from support.web_apps import open_jobs

pytestmark = [pytest.mark.anyio, pytest.mark.real]

NAME = "场景 1"
FOLDER = f"s3://{BUCKET}/out/"
SIGNATURE = re.compile(r"X-Amz-Signature=[0-9a-f]")


@pytest.fixture(scope="module")
def emulator():
    with account() as running:
        yield running


@pytest.fixture(scope="module")
def jobs_folder(emulator, tmp_path_factory):
    """Return the folder of a queue with one job, whose video, cover and film are in S3."""
    folder = tmp_path_factory.mktemp("queue")
    Image.new("RGB", (64, 36), "teal").save(folder / "p.png")
    scene = {"name": NAME, "image": folder / "p.png", "duration": 0.3}
    request = JobRequest(scenes=[scene], to=FOLDER, film=True)

    async def render():
        options = RenderOptions(effects=(), size="320x240", fps=24, cover=True)
        async with (
            Client(local(workers=1), settings=settings_of(emulator), options=options) as client,
            JobQueue(client, folder / "jobs") as queue,
        ):
            job = await queue.wait((await queue.submit(request, owner="ada")).id)
            assert (job.state, job.error) == ("complete", None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        anyio.run(render)
    return folder / "jobs"


def authorize(request, _):
    if "user" not in request.headers:
        raise HTTPException(401)
    return Access(owner=request.headers["user"])


@asynccontextmanager
async def opened(folder, emulator, **changes):
    """Open the jobs, and yield them, an HTTP client of the owner, and the document of the job."""
    settings = settings_of(emulator, **changes)
    async with open_jobs(FakeCloud(), folder, authorize=authorize, settings=settings) as (
        jobs,
        http,
    ):
        http.headers["user"] = "ada"
        (job,) = (await http.get("/api/jobs")).json()["jobs"]
        yield jobs, http, job


@pytest.fixture
async def app(jobs_folder, emulator):
    async with opened(jobs_folder, emulator) as found:
        yield found


async def listed(http, job):
    (video,) = (await http.get(job["links"]["videos"])).json()["videos"]
    return video


async def get(url, method="GET", **headers):
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.request(method, url, headers=headers)


async def test_a_browser_gets_the_files_from_s3(app, emulator, caplog):
    caplog.set_level(logging.DEBUG)
    _, http, job = app
    video = await listed(http, job)
    assert video["location"] == f"{FOLDER}{NAME}.mp4"
    assert job["destination"] == FOLDER
    files = {
        video["url"]: (f"{NAME}.mp4", "video/mp4"),
        video["cover_url"]: (f"{NAME}.jpg", "image/jpeg"),
        job["links"]["film"]: (f"{job['id']}.mp4", "video/mp4"),
        f"{job['links']['film']}/cover": (f"{job['id']}.jpg", "image/jpeg"),
    }
    for url, (name, kind) in files.items():
        answer = await http.get(url)
        assert (answer.status_code, answer.content) == (307, b""), answer.text
        assert answer.headers["cache-control"] == "no-store"
        target = answer.headers["location"]
        assert parse_qs(urlsplit(target).query)["X-Amz-Expires"] == ["3600"]
        got = await get(target)
        stored = content(emulator, obj(f"out/{name}"))
        assert (got.status_code, got.content) == (200, stored)
        assert got.headers["content-type"] == kind
        assert got.headers["content-disposition"] == f"inline; filename*=utf-8''{quote(name)}"
        assert got.headers["cache-control"] == "private, no-cache"
        part = await get(target, Range="bytes=2-4")
        assert (part.status_code, part.content) == (206, stored[2:5])
        assert part.headers["content-range"] == f"bytes 2-4/{len(stored)}"

        saved = (await http.get(url, params={"download": "1"})).headers["location"]
        disposition = (await get(saved)).headers["content-disposition"]
        assert disposition == f"attachment; filename*=utf-8''{quote(name)}"

        head = await http.head(url)
        assert head.status_code == 307
        found = await get(head.headers["location"], "HEAD")
        assert (found.status_code, found.headers["content-length"]) == (200, str(len(stored)))
        assert found.headers["content-type"] == kind
        assert (await get(head.headers["location"])).status_code == 403, "only for HEAD"
    documents = [job, (await http.get(job["links"]["report"])).json(), video]
    events = (await http.get(job["links"]["events"], params={"after": "0"})).text
    assert not SIGNATURE.search(f"{caplog.text}{documents}{events}")


async def test_only_the_owner_gets_a_url(app, emulator):
    _, http, job = app
    video = await listed(http, job)
    since = len(emulator.calls)
    for user, status in (("eve", 404), (None, 401)):
        http.headers.pop("user")
        if user:
            http.headers["user"] = user
        for url in (video["url"], video["cover_url"], job["links"]["film"]):
            answer = await http.get(url)
            assert answer.status_code == status, url
            assert "location" not in answer.headers
        http.headers["user"] = "ada"
    put(emulator, obj("out/other.mp4"), b"of another program")
    for name in ("other.mp4", f"{job['id']}.mp4", "..%2f..%2fa.mp4", f"{quote(NAME)}.png"):
        answer = await http.get(f"{job['links']['videos']}/{name}")
        assert answer.status_code == 404, name
    assert [call.operation for call in emulator.calls[since:]] == ["PutObject"], "S3 is not asked"


async def test_an_object_that_the_job_has_not_written_is_not_sent(app, emulator):
    _, http, job = app
    video = await listed(http, job)
    for key, url in (
        (f"out/{NAME}.mp4", video["url"]),
        (f"out/{NAME}.jpg", video["cover_url"]),
        (f"out/{job['id']}.mp4", job["links"]["film"]),
    ):
        s3, at = aws(emulator, "s3"), obj(key)
        before = s3.get_object(Bucket=BUCKET, Key=key)
        body, metadata = before["Body"].read(), before["Metadata"]
        others = [metadata | {"cloudburst-run": "0" * 32}, metadata | {"cloudburst-scene": "b"}, {}]
        if url != job["links"]["film"]:
            others.append(metadata | {"cloudburst-sha256": "0" * 64})
        for other in others:
            put(emulator, at, body, Metadata=other)
            answer = await http.get(url)
            assert (answer.status_code, answer.json()["error"]) == (404, "Not Found"), other
            assert "another object has replaced" in answer.json()["message"]
        s3.delete_object(Bucket=BUCKET, Key=key)
        answer = await http.get(url)
        assert answer.status_code == 404
        assert answer.json()["message"].startswith(f"s3://{BUCKET}/{key}: there is no such object")
        put(emulator, at, body, Metadata=metadata)
        assert (await http.get(url)).status_code == 307


async def test_a_server_without_access_to_s3_says_so(app, jobs_folder, emulator, caplog):
    _, http, job = app
    url = (await listed(http, job))["url"]
    wrong = {"AWS_SECRET_ACCESS_KEY": "wrong" * 8}
    async with opened(jobs_folder, emulator, **wrong) as (_, other, _):
        refused = await other.get(url)
    emulator.add_fault(s3_fault("access denied", "HeadObject", times=2))
    denied = await http.get(url)
    for answer in (refused, denied):
        assert (answer.status_code, answer.json()["error"]) == (503, "Service Unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert "s3://" not in answer.text
    assert "SignatureDoesNotMatch" in caplog.text
    assert (await http.get(url)).status_code == 307


async def test_a_store_that_does_not_answer_is_given_up(app, emulator, monkeypatch):
    _, http, job = app
    url = (await listed(http, job))["url"]
    with monkeypatch.context() as patch:
        patch.setattr(file_handlers, "SIGN_TIMEOUT", 0.1)
        emulator.add_fault(replace(s3_fault("dropped", "HeadObject"), seconds=5.0))
        assert (await http.get(url)).status_code == 503
    assert (await http.get(url)).status_code == 307


async def test_a_program_without_http_gets_a_url(app, emulator):
    jobs, _, job = app
    queue = jobs.queue
    (video,) = await queue.videos(job["id"])
    for name in (video.path.name, video.cover.name, f"{job['id']}.mp4"):
        got = await get(await queue.download_url(job["id"], name, save=True))
        assert got.content == content(emulator, obj(f"out/{name}"))
        assert got.headers["content-disposition"].startswith("attachment")
    with pytest.raises(ResourceMissingError, match=r"no file 'b\.mp4', or it is not finished"):
        await queue.download_url(job["id"], "b.mp4")


async def test_a_deleted_job_leaves_only_its_files_in_s3(
    jobs_folder, emulator, tmp_path, monkeypatch
):
    shutil.copytree(jobs_folder, tmp_path / "copy")
    shutil.copytree(jobs_folder.parent / "state", tmp_path / "state")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (journal,) = (tmp_path / "state").rglob("????????????????????????????????.sqlite")
    journal.with_suffix("").mkdir()
    async with opened(tmp_path / "copy", emulator) as (_, http, job):
        url = (await listed(http, job))["url"]
        assert (await http.delete(job["links"]["job"])).status_code == 204
        assert (await http.get(url)).status_code == 404
    assert list(journal.parent.iterdir()) == []
    names = {f"{NAME}.mp4", f"{NAME}.jpg", f"{job['id']}.mp4", f"{job['id']}.jpg"}
    assert {key.removeprefix("out/") for key in keys(emulator)} >= names
