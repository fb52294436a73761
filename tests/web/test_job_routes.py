"""Jobs over HTTP: from the submission to the video, in each framework."""

import signal
from base64 import b64encode
from contextlib import nullcontext
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount

from cloudburst import Client, Limits
from cloudburst.errors import ConfigurationError
from cloudburst.jobs import JobLimits, admission, draft
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.web import Access, Action, Jobs, RequestLimits, Webhooks
from support.web_apps import (
    browser,
    finished,
    job_events,
    job_form,
    open_jobs,
    submit,
    upload,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def picture(make_scene):
    return Path(make_scene("p")["image_path"])


def scene(image, name="a", **more):
    return {"name": name, "image": image, "duration": 1, **more}


def fastapi_app(jobs):
    app = FastAPI(lifespan=jobs.lifespan)
    app.include_router(jobs.router(), prefix="/api")
    return app


APPS = {
    "fastapi": fastapi_app,
    "starlette": lambda jobs: Starlette(
        routes=[Mount("/api", routes=jobs.routes)], lifespan=jobs.lifespan
    ),
    "mounted": lambda jobs: Starlette(routes=[Mount("/api", jobs.app)], lifespan=jobs.lifespan),
}


@pytest.mark.parametrize("framework", APPS)
async def test_a_job_from_its_upload_to_its_video(framework, cloud, picture, tmp_path):
    jobs = Jobs(Client(cloud.backend), tmp_path / "jobs")
    app = APPS[framework](jobs)
    async with app.router.lifespan_context(app), browser(app, {}) as http:
        image = await upload(http, picture)
        answer = await submit(http, scene(image), metadata={"order": 17})
        assert answer.status_code == 202
        job = answer.json()
        assert answer.headers["location"] == job["links"]["job"] == f"/api/jobs/{job['id']}"
        assert (job["state"], job["scenes"], job["metadata"]) == ("queued", 1, {"order": 17})

        stream = await http.get(job["links"]["events"])
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = job_events(stream.text)
        numbers = [number for number, _, _ in events if number]
        assert numbers == list(range(1, len(numbers) + 1))
        assert (events[0][1], events[-1][1]) == ("job.queued", "job.finished")
        assert events[-1][2]["metadata"] == {"order": 17}
        assert str(tmp_path) not in stream.text

        state = (await http.get(job["links"]["job"])).json()
        assert (state["state"], state["completed"], state["progress"]) == ("complete", 1, 1.0)
        report = (await http.get(job["links"]["report"])).json()
        assert (report["status"], report["metadata"]) == ("complete", {"order": 17})
        (video,) = (await http.get(job["links"]["videos"])).json()["videos"]
        jobs.queue.files(job["id"]).videos.joinpath("a.mp4").write_bytes(b"video")
        sent = await http.get(video["url"])
        assert (sent.status_code, sent.content) == (200, b"video")
        assert (await http.head(video["url"])).headers["content-length"] == "5"
        (listed,) = (await http.get("/api/jobs", params={"metadata.order": "17"})).json()["jobs"]
        assert listed == state

        assert (await http.delete(job["links"]["job"])).status_code == 204
        assert (await http.get(job["links"]["job"])).status_code == 404
        assert (await http.delete(f"/api/uploads/{image}")).status_code == 204
        assert (await http.delete(f"/api/uploads/{image}")).status_code == 404


async def test_a_form_brings_its_files(cloud, picture, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_jobs, http):
        font = ("my font", b"font")
        mark = ("mark.png", picture.read_bytes())
        scenes = [scene("p.png", options={"watermark": "mark.png"})]
        form = job_form(scenes, ("p.png", picture.read_bytes()), mark, font)
        job = (await http.post("/api/jobs", **form)).json()
        assert (await finished(http, job))["state"] == "complete"
        named = job_form(scenes, ("p.png", b"1"), mark, font, options={"font": "my font"})
        answer = await http.post("/api/jobs", **named)
        assert answer.status_code == 400
        faults = [(one["scene"], one["field"], one["found"]) for one in answer.json()["faults"]]
        assert faults == [
            ("a", "image", "a text file"),
            ("", "options.font", "not a font"),
        ]
        answer = await http.post("/api/jobs", **job_form(scenes, mark, font))
        assert answer.status_code == 400
        assert [fault["field"] for fault in answer.json()["faults"]] == ["image"]
        assert len(list((tmp_path / "jobs" / "jobs").iterdir())) == 1, "nothing is left of them"


BAD = [
    ("image", "no picture: 1.png", b"GIF99"),
    ("audio", "../音 1.mp3", b"no sound"),
    ("subtitle", "s: 1.srt", b"\xff\xfejunk"),
    ("options.watermark", "mark\u202e.png", b"junk"),
]
"""Field of a file that is not valid, the name that its sender gave to it, and its content."""


@pytest.mark.parametrize("bad_file", BAD, ids=[field for field, *_ in BAD])
async def test_a_file_that_is_not_valid_is_refused_by_its_field(
    bad_file, cloud, picture, tmp_path, monkeypatch
):
    """At once, or at the start of the job if there is no time for a check."""
    field, name, content = bad_file
    bad = scene("p.png")
    match field:
        case "audio":
            bad |= {"audio": name, "duration": None}
        case "options.watermark":
            bad |= {"options": {"watermark": name}}
        case _:
            bad |= {field: name}
    form = job_form([bad], ("p.png", picture.read_bytes()), (name, content))
    async with open_jobs(cloud, tmp_path / "jobs") as (_jobs, http):
        answer = await http.post("/api/jobs", **form)
        refused = answer.json()
        assert (answer.status_code, refused["error"]) == (400, "InvalidScenesError")
        assert (await http.get("/api/jobs")).json()["jobs"] == []
        assert list((tmp_path / "jobs" / "jobs").iterdir()) == [], "nothing is left of it"

        monkeypatch.setattr(draft, "CHECK_SECONDS", -1.0)
        job = (await http.post("/api/jobs", **form)).json()
        state = await finished(http, job)
    assert (state["state"], state["error"]["kind"]) == ("failed", "InvalidScenesError")
    for answer, expected in ((refused, field), (state["error"], field.removeprefix("options."))):
        (fault,) = answer["faults"]
        assert (fault["scene"], fault["field"]) == ("a", expected)
        assert str(tmp_path) not in str(answer)
        assert "/" not in fault["found"]
    assert not cloud.launched


async def test_an_upload_that_is_not_valid_is_refused_by_its_field(cloud, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_jobs, http):
        image = (await http.post("/api/uploads", content=b"no picture")).json()["id"]
        answer = await submit(http, scene(image), scene(image, "b"))
        assert answer.status_code == 400
        found = [(one["scene"], one["field"], one["found"]) for one in answer.json()["faults"]]
        assert found == [("a", "image", "a text file"), ("b", "image", "a text file")]


async def test_a_job_keeps_an_upload_that_is_deleted(cloud, picture, tmp_path):
    cloud.boot = 0.3
    async with open_jobs(cloud, tmp_path / "jobs") as (_jobs, http):
        image = await upload(http, picture)
        job = (await submit(http, scene(image))).json()
        assert (await http.delete(f"/api/uploads/{image}")).status_code == 204
        assert (await finished(http, job))["state"] == "complete"
        answer = await submit(http, scene(image))
        assert answer.json()["faults"][0]["found"] == "no such upload"


async def test_a_repeated_request_is_the_same_job(cloud, picture, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_jobs, http):
        image, key = await upload(http, picture), {"Idempotency-Key": "order-17"}
        first = await submit(http, scene(image), headers=key)
        again = await submit(http, scene(image), headers=key)
        assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
        other = await submit(http, scene(image, "b"), headers=key)
        assert (other.status_code, other.json()["error"]) == (409, "JobConflictError")

        form_key = {"Idempotency-Key": "order-18"}
        form = job_form([scene("p.png")], ("p.png", picture.read_bytes()))
        ids = {(await http.post("/api/jobs", **form, headers=form_key)).json()["id"] for _ in "12"}
        assert len(ids) == 1
        changed = job_form([scene("p.png")], ("p.png", picture.read_bytes() + b"0"))
        answer = await http.post("/api/jobs", **changed, headers=form_key)
        assert answer.status_code == 409
        for bad in ("", "k" * 256, "k\t"):
            answer = await submit(http, scene(image), headers={"Idempotency-Key": bad})
            assert answer.status_code == 400, bad
        assert len((await http.get("/api/jobs")).json()["jobs"]) == 2


async def test_jobs_are_listed_in_parts(cloud, picture, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (jobs, http):
        image = await upload(http, picture)
        made = [
            (await submit(http, scene(image), metadata={"user": f"u{i % 2}"})).json()["id"]
            for i in range(5)
        ]
        for job in made:
            await jobs.queue.wait(job)
        seen, query = [], {"limit": 2}
        while query:
            part = (await http.get("/api/jobs", params=query)).json()
            seen += [job["id"] for job in part["jobs"]]
            query = part["next"] and {"limit": 2, "cursor": part["next"]}
        assert seen == made[::-1]
        states = {"state": ["complete", "failed"], "metadata.user": "u1"}
        found = (await http.get("/api/jobs", params=states)).json()["jobs"]
        assert [job["id"] for job in found] == [made[3], made[1]]
        assert (await http.get("/api/jobs?state=queued")).json()["jobs"] == []
        for bad in (
            "state=done",
            "limit=0",
            "limit=201",
            "limit=x",
            "cursor=x",
            "cursor=0",
            "&".join(f"metadata.{n}=1" for n in range(33)),
        ):
            answer = await http.get(f"/api/jobs?{bad}")
            assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request"), bad


async def test_a_cancelled_job_ends_and_can_then_be_deleted(cloud, picture, tmp_path):
    cloud.encode = 60.0
    async with open_jobs(cloud, tmp_path / "jobs") as (_jobs, http):
        job = (await submit(http, scene(await upload(http, picture)))).json()
        answer = await http.delete(job["links"]["job"])
        assert (answer.status_code, answer.json()["error"]) == (409, "JobConflictError")
        answer = await http.get(job["links"]["report"])
        assert (answer.status_code, answer.json()["error"]) == (404, "Not Found")
        answer = await http.post(job["links"]["cancel"])
        assert (answer.status_code, answer.json()["cancel_requested"]) == (202, True)
        with anyio.fail_after(30):
            assert (await finished(http, job))["state"] == "cancelled"
        assert not cloud.running
        assert (await http.delete(job["links"]["job"])).status_code == 204


async def read_stream(app, path, *, until, started=None):
    """Read a stream until a text was sent, then close the connection; return what was sent."""
    sent, enough = [], anyio.Event()

    async def receive():
        await enough.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message.get("body", b""))
        if started is not None:
            started.set()
        if until in message.get("body", b""):
            enough.set()

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "root_path": "",
        "state": {},
    }
    with anyio.fail_after(30):
        await app(scope, receive, send)
    return b"".join(sent).decode()


async def test_a_closed_connection_cancels_nothing_and_loses_no_event(cloud, picture, tmp_path):
    cloud.encode = 0.5
    jobs = Jobs(Client(cloud.backend), tmp_path / "jobs")
    app = fastapi_app(jobs)
    async with jobs.lifespan(), browser(app, {}) as http:
        job = (await submit(http, scene(await upload(http, picture)))).json()
        text = await read_stream(app, job["links"]["events"], until=b"scene.encoding")
        first = [event for event in job_events(text) if event[0]]
        last = {"Last-Event-ID": str(first[-1][0])}
        # The header counts, as a browser repeats the query when it connects again.
        rest = job_events((await http.get(job["links"]["events"] + "?after=1", headers=last)).text)
        numbers = [number for number, _, _ in (*first, *rest) if number]
        assert all(later == earlier + 1 for earlier, later in pairwise(numbers))
        assert (await http.get(job["links"]["job"])).json()["state"] == "complete"

        head = await http.head(job["links"]["events"])
        assert head.headers["content-type"].startswith("text/event-stream")
        newest = str(numbers[-1])
        url = job["links"]["events"]
        assert (await http.get(url, headers={"Last-Event-ID": newest})).status_code == 204
        assert (await http.get(url, headers={"Last-Event-ID": ""})).status_code == 200
        assert len(job_events((await http.get(f"{url}?after={int(newest) - 1}")).text)) == 1
        for bad in (str(int(newest) + 1), "-1", "x", "1e3", "9" * 30, "٣"):
            answer = await http.get(url, params={"after": bad})
            assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request"), bad


async def test_a_stream_ends_when_its_job_is_deleted(cloud, picture, tmp_path):
    """Another process may have finished it meanwhile."""
    async with open_jobs(cloud, tmp_path / "jobs") as (jobs, http):
        job = (await submit(http, scene(await upload(http, picture)))).json()
        await jobs.queue.wait(job["id"])
        found = await jobs.queue.job(job["id"])

        async def removed(*_, **__):
            await jobs.queue.remove(job["id"])
            return found

        jobs.queue.job = removed
        answer = await http.get(job["links"]["events"])
    assert (answer.status_code, answer.text) == (200, "")


async def test_streams_end_before_the_server_stops(cloud, picture, tmp_path):
    """It would wait for them otherwise, and would be killed before the tasks are stopped."""
    cloud.encode = 60.0
    jobs = Jobs(Client(cloud.backend), tmp_path / "jobs")
    app, received = fastapi_app(jobs), []
    server = received.append
    before = signal.signal(signal.SIGTERM, lambda signum, _: server(signum))
    handler = signal.getsignal(signal.SIGTERM)
    try:
        async with jobs.lifespan(), browser(app, {}) as http:
            job = (await submit(http, scene(await upload(http, picture)))).json()
            async with anyio.create_task_group() as tasks:
                started = anyio.Event()
                read = partial(read_stream, app, job["links"]["events"], until=b"job.finished")
                tasks.start_soon(partial(read, started=started))
                await started.wait()
                signal.raise_signal(signal.SIGTERM)
            assert received == [signal.SIGTERM]
            assert not jobs._api.streams._current
            assert (await http.get(job["links"]["events"])).text.count("id:") <= 1
        assert signal.getsignal(signal.SIGTERM) is handler
        assert not cloud.running
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_streams_of_an_owner_are_limited(cloud, picture, tmp_path):
    cloud.encode = 60.0
    limits = RequestLimits(streams=2)
    jobs = Jobs(Client(cloud.backend), tmp_path / "jobs", request_limits=limits)
    app = fastapi_app(jobs)
    async with jobs.lifespan(), browser(app, {}) as http:
        job = (await submit(http, scene(await upload(http, picture)))).json()
        url = job["links"]["events"]
        async with anyio.create_task_group() as tasks:
            open_streams = [anyio.Event(), anyio.Event()]
            for started in open_streams:
                read = partial(read_stream, app, url, until=b"job.finished", started=started)
                tasks.start_soon(read)
            for started in open_streams:
                await started.wait()
            answer = await http.get(url)
            assert (answer.status_code, answer.json()["error"]) == (429, "JobLimitError")
            assert int(answer.headers["retry-after"]) > 0
            await http.post(job["links"]["cancel"])
        assert not jobs._api.streams._current
        assert (await http.get(url)).status_code == 200


def by_header(request, action):
    if request.headers.get("user") is None:
        raise HTTPException(401, "log in", headers={"www-authenticate": "Bearer"})
    if request.headers["user"] == "reader" and action is not Action.READ:
        raise HTTPException(403)
    return Access(owner=request.headers["user"])


async def by_header_too(request, action):
    return by_header(request, action)


@pytest.mark.parametrize("authorize", [by_header, by_header_too])
async def test_the_app_decides_who_may_do_what(authorize, cloud, picture, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs", authorize=authorize) as (jobs, http):
        answer = await http.get("/api/jobs")
        assert (answer.status_code, answer.text) == (401, "log in")
        assert answer.headers["www-authenticate"] == "Bearer"
        http.headers["user"] = "ada"
        image = await upload(http, picture)
        job = (await submit(http, scene(image))).json()
        await jobs.queue.wait(job["id"])

        http.headers["user"] = "eve"
        assert (await http.get("/api/jobs")).json()["jobs"] == []
        refused = await submit(http, scene(image))
        assert refused.json()["faults"][0]["found"] == "no such upload"
        assert (await http.delete(f"/api/uploads/{image}")).status_code == 404
        for url in [*filter(None, job["links"].values()), f"{job['links']['videos']}/a.mp4"]:
            method = "POST" if url.endswith("cancel") else "GET"
            answer = await http.request(method, url)
            assert (answer.status_code, answer.json()["error"]) == (404, "UnknownJobError"), url
        assert (await http.delete(job["links"]["job"])).status_code == 404

        http.headers["user"] = "reader"
        assert (await http.get("/api/jobs")).status_code == 200
        assert (await submit(http, scene(image))).status_code == 403
        assert (await http.delete(job["links"]["job"])).status_code == 403
        assert (await jobs.queue.job(job["id"])).state == "complete"


async def test_limits_of_jobs_are_statuses(cloud, picture, tmp_path):
    cloud.encode = 60.0
    limits = JobLimits(owner_jobs=1, owner_bytes=15_000, bytes=17_000)
    async with open_jobs(cloud, tmp_path / "jobs", limits=limits) as (_, http):
        image = await upload(http, picture)
        job = (await submit(http, scene(image))).json()
        answer = await submit(http, scene(image))
        assert (answer.status_code, answer.json()["error"]) == (429, "JobLimitError")
        assert "retry-after" in answer.headers
        answer = await http.post("/api/uploads", content=b"1" * 5_000)
        assert answer.status_code == 429
        answer = await http.post("/api/jobs", **job_form([scene("f")], ("f", b"1" * 5_000)))
        assert answer.status_code == 429
        await http.post(job["links"]["cancel"])
        await finished(http, job)
    limits = JobLimits(owner_bytes=30_000, bytes=17_000)
    async with open_jobs(cloud, tmp_path / "jobs", limits=limits) as (_, http):
        answer = await http.post("/api/uploads", content=b"1" * 7_000)
        assert (answer.status_code, answer.json()["error"]) == (507, "JobLimitError")
    assert len(list((tmp_path / "jobs" / "uploads").iterdir())) == 1


async def test_disk_that_is_almost_full_takes_no_job_as_json(cloud, tmp_path, monkeypatch):
    monkeypatch.setattr(admission, "FREE_SHARE", 2.0)
    monkeypatch.setattr(admission, "FREE_BYTES", 10**18)
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        card = {"name": "a", "title_card": "A", "duration": 1}
        answer = await submit(http, card)
        assert (answer.status_code, answer.json()["error"]) == (507, "JobLimitError")
        assert "almost full" in answer.json()["message"]


LARGE = {"size": "4096x4096", "fps": 60}


@pytest.mark.parametrize(
    ("length", "options", "most"),
    [
        ({"duration": 3600}, LARGE, 61),
        ({"duration": 3600}, {}, 1000),
        ({"audio": "https://example.com/a.mp3"}, LARGE, 15),  # its length is not known
    ],
)
async def test_a_job_with_too_much_video_is_refused(cloud, tmp_path, length, options, most):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        for count, status in ((most + 1, 429 if most < 1000 else 400), (most, 202)):
            scenes = [
                {"name": f"s{n}", "image": "https://example.com/a.png", **length}
                for n in range(count)
            ]
            answer = await submit(http, *scenes, options=options)
            assert answer.status_code == status
            assert status != 429 or "seconds of video are queued or running" in answer.text


async def test_jobs_of_an_owner_have_a_limit_of_video_together(cloud, make_scene, tmp_path):
    """An audio file on this server counts with its own length."""
    cloud.encode = 60.0
    limits = JobLimits(owner_seconds=7)
    async with open_jobs(cloud, tmp_path / "jobs", limits=limits) as (_, http):
        made = make_scene("a", seconds=3)
        image, audio = [await upload(http, made[name]) for name in ("image_path", "audio_path")]
        scene = {"name": "a", "image": image, "audio": audio}
        statuses = [(await submit(http, scene)).status_code for _ in range(3)]
        assert statuses == [202, 202, 429]


@pytest.mark.parametrize(
    ("usd", "limits"),
    [(None, None), ("1", None), (None, JobLimits(owner_usd=Decimal(1)))],
    ids=["none", "process", "owner"],
)
async def test_backends_that_bill_need_a_budget(cloud, tmp_path, usd, limits):
    cloud.rates = US_EAST_1_RATES
    client = Client(cloud.backend, limits=Limits(max_usd=None if usd is None else Decimal(usd)))
    jobs = Jobs(client, tmp_path / "jobs", limits=limits)
    expected = nullcontext()
    if usd is None and limits is None:
        expected = pytest.raises(ConfigurationError, match=r"owner_usd=.*max_usd=")
    with expected:
        async with jobs.lifespan():
            pass


async def test_requests_without_the_lifespan_are_logged(cloud, tmp_path, caplog):
    jobs = Jobs(Client(cloud.backend), tmp_path / "jobs")
    async with browser(fastapi_app(jobs), {}) as http:
        answer = await http.get("/api/jobs")
    assert (answer.status_code, answer.json()["error"]) == (500, "ClosedError")
    assert "FastAPI(lifespan=jobs.lifespan)" in caplog.text
    with pytest.raises(ConfigurationError, match="sources: "):
        Jobs(Client(cloud.backend), tmp_path / "jobs", sources=["/srv"])


async def test_a_job_may_name_a_webhook_if_there_are_secrets(cloud, picture, tmp_path):
    async def secrets(owner):
        return [f"whsec_{b64encode(owner.encode() * 4).decode()}"]

    url = "https://receiver.invalid/hook"
    webhooks = Webhooks(job_secrets=secrets)
    async with open_jobs(cloud, tmp_path / "jobs", webhooks=webhooks) as (_, http):
        image = await upload(http, picture)
        for bad in ("http://example.com/", "https://127.0.0.1/", "https://10.0.0.1/", "x"):
            answer = await submit(http, scene(image), webhook=bad)
            assert answer.status_code == 400
            assert [fault["field"] for fault in answer.json()["faults"]] == ["webhook"], bad
        assert (await submit(http, scene(image), webhook=url)).status_code == 202


async def test_webhooks_have_the_public_urls_of_a_job(cloud, tmp_path):
    jobs = Jobs(Client(cloud.backend), tmp_path, public_url="https://example.com/api/")
    assert jobs._links("1" * 32)["events"] == f"https://example.com/api/jobs/{'1' * 32}/events"
