"""Callers that want what is not theirs, or more than there is: 4xx, and nothing is left behind."""

import json
import logging
import re
import tracemalloc
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest
from pydantic import TypeAdapter

from cloudburst import Client, RenderOptions, Scene
from cloudburst.errors import InvalidScenesError
from cloudburst.jobs import JobLimits, JobRequest, stored_uploads
from cloudburst.jobs.job_rows import parse_request
from cloudburst.jobs.public_json import MAX_FAULTS
from cloudburst.models.film import FILM_FILES
from cloudburst.models.locations import Location
from cloudburst.models.options import OPTION_NAMES, is_option_file
from cloudburst.web import Access, Jobs, RequestLimits, Webhooks
from cloudburst.web.access import Folders
from cloudburst.web.submission_checks import (
    SubmissionRules,
    _require_permitted,
    check_submission,
)
from support.web_apps import finished, job_form, open_jobs, submit, upload

pytestmark = pytest.mark.anyio

AT = TypeAdapter(Location)
RULES = SubmissionRules(
    owner="ada",
    sources=Folders(["s3://films/in", "s3://shared"], "sources"),
    destinations=Folders(["s3://films/out/ada/"], "destinations"),
    limits=RequestLimits(),
    webhooks=Webhooks(),
)


def job(image="https://example.com/a.png", *, options=None, **more):
    return {"scenes": [{"name": "a", "image": image, "duration": 1, "options": options}], **more}


def scene(image="https://example.com/a.png", **more):
    return {"name": "a", "image": image, "duration": 1, **more}


def faults_of(**job):
    with pytest.raises(InvalidScenesError) as caught:
        check_submission(job, {}, RULES)
    return [(fault.scene, fault.field) for fault in caught.value.faults]


SCOPE = {"type": "http", "method": "GET", "query_string": b"", "headers": [], "root_path": ""}


PLACES = [
    "/etc/passwd",
    "../../jobs.sqlite",
    "jobs/jobs.sqlite",
    "file:///etc/passwd",
    "http://example.com/a.png",
    "https://user:password@example.com/a.png",
    "https:///a.png",
    "s3://films/",
    "s3://films/in",
    "s3://films/input/a.png",
    "s3://films/in/../private/a.png",
    "s3://films/in//a.png",
    "s3://films/./in/a.png",
    "s3://films/in%2f..%2fprivate/../a.png",
    "s3://Films/in/a.png",
    "s3://other/in/a.png",
    "S3://films/in/a.png",
    "s3:/films/in/a.png",
    "s3://films@other/in/a.png",
    "0" * 32,
    " " + "0" * 32,
    "a\0b",
    "\ud800",
    ".",
    "-",
]
FIELDS = ["image", "image_path", "audio", "audio_path", "subtitle", "subtitle_path"]
FILE_OPTIONS = sorted(name for name in OPTION_NAMES if is_option_file(name, "a.ttf"))


@pytest.mark.parametrize("place", PLACES)
def test_no_field_names_a_file_that_is_not_permitted(place):
    for field in FIELDS:
        assert faults_of(scenes=[scene() | {field: place}]) == [("a", field)]
    fonts = {"font"} if "/" not in place else set()
    for option in FILE_OPTIONS:
        if option not in fonts:
            option_of_scene = scene(options={option: place})
            assert faults_of(scenes=[option_of_scene]) == [("a", f"options.{option}")]
            assert faults_of(scenes=[scene()], options={option: place}) == [
                ("", f"options.{option}")
            ]
    if "/" in place:
        for fonts in (["Noto Sans CJK SC", place], f"Noto Sans CJK SC, {place}"):
            assert ("a", "options.font") in faults_of(scenes=[scene(options={"font": fonts})])
    for name in FILM_FILES:
        assert faults_of(scenes=[scene()], film=True, **{name: place}) == [("", name)]


@pytest.mark.parametrize("place", [["/etc/passwd"], 7, True, {"path": "/etc/passwd"}])
def test_a_file_is_a_text(place):
    for field in FIELDS:
        assert faults_of(scenes=[scene() | {field: place}]) == [("a", field)]
    for option in FILE_OPTIONS:
        assert faults_of(scenes=[scene(options={option: place})]) == [("a", f"options.{option}")]
    for name in FILM_FILES:
        assert faults_of(scenes=[scene()], film=True, **{name: place}) == [("", name)]


def test_all_file_options_are_known():
    assert {"watermark", "watermark_path", "music", "font"} <= set(FILE_OPTIONS)


@pytest.mark.parametrize(
    "place", ["s3://films/in/a.png", "s3://films/in/x/a.png", "s3://shared/a", "https://a.com/b?c"]
)
def test_permitted_files_are_used(place):
    request = check_submission({"scenes": [scene(place, options={"watermark": place})]}, {}, RULES)
    (made,) = request.scenes
    assert not any(isinstance(at, Path) for at in (made.image, made.options.watermark))


@pytest.mark.parametrize(
    "place", ["https://a.com/b,/etc/c.ttf", "s3://films/in/b,c.ttf", "b,c.ttf"]
)
def test_a_stored_job_names_no_file_behind_a_comma(place):
    upload = Path("/srv/up,loads/b.ttf")
    options = {"font": [place]}
    made = check_submission(
        {"scenes": [scene(options=options)], "options": options}, {"b,c.ttf": upload}, RULES
    )
    stored = parse_request(made.model_dump_json(exclude_unset=True))
    assert stored == made
    assert list(stored.scenes[0].options.files()) == ["font"]


@pytest.mark.parametrize(
    ("to", "permitted"),
    [
        ("s3://films/out/ada/", True),
        ("s3://films/out/ada/x", True),
        ("s3://films/out/ada", True),
        ("s3://films/out/adam/", False),
        ("s3://films/out/", False),
        ("s3://films/out/ada/../eve", False),
        ("s3://other/out/ada/", False),
        ("/srv/videos", False),
        ("videos", False),
        ("", False),
        (7, False),
        ({"bucket": "films", "prefix": "out/ada/"}, False),
        ({"bucket": "films", "prefix": "out/ada/../../\n"}, False),
        (["s3://films/out/ada/"], False),
    ],
)
def test_videos_are_written_to_permitted_folders_only(to, permitted):
    if permitted:
        assert str(check_submission({"scenes": [scene()], "to": to}, {}, RULES).to).startswith(
            "s3://films/"
        )
    else:
        assert faults_of(scenes=[scene()], to=to) == [("", "to")]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"film": 2}, "film"),
        ({"transition": "fade"}, "transition"),
        ({"film_gap": 1}, "film_gap"),
        ({"film_music": "https://example.com/a.mp3"}, "film_music"),
        ({"film": True, "film_music": "https://example.com/a.mp3"}, "film_music"),
        ({"film": True, "film_gap": 1, "transition": "crossfade"}, "film_gap"),
        ({"film": True, "transition": "wipe"}, "transition"),
        ({"film": True, "transition": "fade", "transition_seconds": 1e9}, "transition_seconds"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": "x" * 5_000}}, "metadata"),
        ({"metadata": {str(number): 1 for number in range(33)}}, "metadata"),
        ({"options": []}, "options"),
        ({"options": {"effects": "spin"}}, "options.effects"),
        ({"scenes": {}}, "scenes"),
        ({"scenes": []}, "scenes"),
        ({"scenes": [scene()] * 1_001}, "scenes"),
        ({"webhook": "https://example.com"}, "webhook"),
        ({"owner": "eve"}, "owner"),
    ],
)
def test_other_fields_are_checked(more, field):
    assert faults_of(**{"scenes": [scene()], **more}) == [("", field)]


async def test_messages_name_what_is_wrong_in_a_form(cloud, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        parts = [("files", (None, b"a.png")), ("job", (None, b"{}"))]  # curl -F files=a.png
        answer = await http.post("/api/jobs", files=parts)
        assert answer.json()["message"].startswith("the form field 'files' is not a file; expected")
        for name, text in [("a/b", "without a slash:"), ("a\\b", "without a backslash:")]:
            answer = await http.post("/api/jobs", json={"scenes": [scene(name=name)]})
            assert text in answer.json()["message"]


BODIES = [
    b"",
    b"[]",
    b"7",
    b"{",
    b"\xff",
    b"[" * 200_000,
    b'{"scenes": ' + b"1" * 10_000 + b"}",
    b'{"scenes": [], "metadata": {"a": NaN}}',
    b'{"scenes": [], "metadata": {"a": 1e999}}',
    b'{"scenes": [], "metadata": {"a": "\\ud800"}}',
]


@pytest.mark.few(6, spread=True)
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_bodies_that_are_no_json_object(body, cloud, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        json_type = {"content-type": "application/json"}
        for request in (
            {"content": body, "headers": json_type},
            {"data": {"job": body}, "files": [("x", b"")]},
        ):
            answer = await http.post("/api/jobs", **request)
            assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    assert not list((tmp_path / "jobs" / "jobs").iterdir())


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"content": b"{}"}, 415),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 415),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400),
        (
            {
                "content": b"x",
                "headers": {"content-type": f"multipart/form-data; boundary={'b' * 999}"},
            },
            400,
        ),
        ({"files": [(f"f{i}", (None, b"1")) for i in range(10_000)]}, 400),
        ({"files": [("job", (None, b"{}")) for i in range(10_000)]}, 400),
        ({"files": [("f", ("a", b"1")), ("f", ("a", b"2"))]}, 400),
        ({"files": [("f", ("x", b"1"))]}, 400),
        ({"files": [("f", (str(i), b"1")) for i in range(10_000)]}, 413),
        ({"files": [("f", ("n" * 5_000, b"1"))]}, 400),
        ({"json": {"scenes": [scene(name="n" * 4_000_000)]}}, 413),
        ({"data": {"job": "x" * 4_000_001}, "files": [("x", b"")]}, 413),
        (
            {
                "content": b"",
                "headers": {"content-type": "application/json", "content-length": "9" * 20},
            },
            413,
        ),
        (
            {
                "content": b"",
                "headers": {"content-type": "application/json", "content-length": "-1"},
            },
            413,
        ),
    ],
)
async def test_requests_that_are_too_large_or_malformed(request_, status, cloud, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        answer = await http.post("/api/jobs", **request_)
        fields = {"error", "message", "code", "fix"}
        assert (answer.status_code, answer.json().keys()) == (status, fields)
    assert not list((tmp_path / "jobs" / "jobs").iterdir())


async def test_a_form_that_is_cut_within_a_file_is_refused(cloud, tmp_path):
    built = httpx.Request("POST", "http://app/", **job_form([scene()], ("a.png", b"1" * 1_000)))
    whole, headers = built.read(), {"content-type": built.headers["content-type"]}
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        answer = await http.post("/api/jobs", content=whole[:-100], headers=headers)
        assert (answer.status_code, answer.json()["message"]) == (400, "the form ends too early")
    assert not list((tmp_path / "jobs" / "jobs").iterdir())


async def endless(number):
    yield b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'
    for _ in range(number):
        yield b"1" * 1_000_000


async def test_large_bodies_need_little_memory_and_leave_nothing(cloud, tmp_path):
    limits = RequestLimits(request_bytes=40_000_000)
    form = {"content-type": "multipart/form-data; boundary=b"}
    async with open_jobs(cloud, tmp_path / "jobs", request_limits=limits) as (_, http):
        for path, headers in (("/api/uploads", {}), ("/api/jobs", form)):
            tracemalloc.start()
            answer = await http.post(path, content=endless(41), headers=headers)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert answer.status_code == 413
            assert peak < 10_000_000, path
    for folder in ("uploads", "jobs"):
        assert not list((tmp_path / "jobs" / folder).iterdir())


@pytest.mark.parametrize(("announced", "received"), [(True, 1), (False, 18)])
async def test_a_form_without_room_is_refused_before_it_has_arrived(
    announced, received, cloud, tmp_path
):
    sent = []

    async def body():
        async for part in endless(40):
            sent.append(part)
            yield part

    headers = {"content-type": "multipart/form-data; boundary=b"}
    if announced:
        headers["content-length"] = "40000000"
    limits = JobLimits(owner_bytes=1_000_000)
    async with open_jobs(cloud, tmp_path / "jobs", limits=limits) as (_, http):
        answer = await http.post("/api/jobs", content=body(), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (429, "JobLimitError")
    assert len(sent) <= received


async def test_an_upload_that_is_broken_off_leaves_nothing(cloud, tmp_path, caplog):
    form = (b"content-type", b"multipart/form-data; boundary=b")
    async with open_jobs(cloud, tmp_path / "jobs") as (jobs, _):
        for path, headers in (("/uploads", []), ("/jobs", [form])):
            parts = endless(1)

            async def receive(parts=parts):
                if (body := await anext(parts, None)) is None:
                    return {"type": "http.disconnect"}
                return {"type": "http.request", "body": body, "more_body": True}

            async def send(_):
                pass

            await jobs.app(
                {**SCOPE, "method": "POST", "path": path, "headers": headers}, receive, send
            )
        assert not jobs._api.transfers._current
    for folder in ("uploads", "jobs"):
        assert not list((tmp_path / "jobs" / folder).iterdir())
    assert not caplog.records


async def test_uploads_at_once_are_limited(cloud, tmp_path):
    limits = RequestLimits(transfers=2)
    async with open_jobs(cloud, tmp_path / "jobs", request_limits=limits) as (_, http):
        open_, begun = anyio.Event(), [anyio.Event(), anyio.Event()]

        async def slow(event):
            yield b"1"
            event.set()
            await open_.wait()

        async with anyio.create_task_group() as tasks:
            for event in begun:
                tasks.start_soon(partial(http.post, "/api/uploads", content=slow(event)))
            for event in begun:
                await event.wait()
            large = {"scenes": [scene(name="n" * 100_000)]}
            for path, request in (
                ("/api/uploads", {"content": b"1"}),
                ("/api/jobs", job_form([scene()])),
                ("/api/jobs", {"json": large}),
            ):
                answer = await http.post(path, **request)
                assert (answer.status_code, answer.json()["error"]) == (429, "JobLimitError")
            assert (await submit(http, {})).status_code == 400, "small ones are not counted"
            open_.set()
        assert (await http.post("/api/uploads", content=b"1")).status_code == 201


async def test_hundreds_of_streams_need_little_memory(cloud, make_scene, tmp_path):
    """Those within the limit are read; all others are refused at once."""
    cloud.encode = 60.0
    jobs = Jobs(Client(cloud.backend), tmp_path / "jobs", request_limits=RequestLimits(streams=50))
    statuses, closed = [], anyio.Event()

    async def receive():
        await closed.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async with open_jobs(cloud, tmp_path / "jobs") as (other, http):
        image = await upload(http, make_scene("p")["image_path"])
        url = (await submit(http, scene(image))).json()["links"]["events"].removeprefix("/api")
        app = jobs.app
        jobs._api.open_queue = other.queue
        tracemalloc.start()
        async with anyio.create_task_group() as tasks:
            for number in (50, 450):
                for _ in range(number):
                    tasks.start_soon(app, {**SCOPE, "path": url}, receive, send)
                before = len(statuses)
                with anyio.fail_after(30):
                    while len(statuses) < before + number:  # noqa: ASYNC110 - a test
                        await anyio.sleep(0.01)
            _, peak = tracemalloc.get_traced_memory()
            closed.set()
        tracemalloc.stop()
    assert (statuses.count(200), statuses.count(429)) == (50, 450)
    assert peak < 5_000_000
    assert not jobs._api.streams._current


async def test_identifiers_of_others_are_unknown(cloud, make_scene, tmp_path):
    """So are texts that are no identifiers, however they are written."""

    def authorize(request, _):
        return Access(owner=request.headers["user"])

    async with open_jobs(cloud, tmp_path / "jobs", authorize=authorize) as (_, http):
        http.headers["user"] = "ada"
        image = await upload(http, make_scene("p")["image_path"])
        made = (await submit(http, scene(image))).json()["id"]
        http.headers["user"] = "eve"
        for identifier in (made, made.upper(), f"{made}%00", "0" * 32, "'", "%2e%2e", "x" * 9_000):
            for method, part in (
                ("GET", ""),
                ("GET", "/events"),
                ("DELETE", ""),
                ("POST", "/cancel"),
            ):
                answer = await http.request(method, f"/api/jobs/{identifier}{part}")
                assert answer.status_code == 404, identifier
        form = job_form([scene(image)], ("x", b"1"))
        answer = await http.post("/api/jobs", **form)
        assert json.dumps(answer.json()["faults"]).count("no such upload") == 1


@pytest.mark.parametrize(
    ("location", "permitted"),
    [
        (Path("/srv/a.png"), True),
        (Path("/srv/b.png"), False),
        ("s3://films/in/a.png", True),
        ("s3://films/a.png", False),
    ],
)
def test_inputs_that_a_run_uses_are_checked_again(location, permitted):
    """So a new field of scenes or options with a file cannot be forgotten."""
    made = Scene(name="a", image="https://a.com/a.png", duration=1)
    for part in (
        made.model_copy(update={"image": AT.validate_python(location)}),
        made.model_copy(update={"options": RenderOptions(music=location)}),
        RenderOptions(watermark=location),
        JobRequest(scenes=[made], film=True, to="s3://films/out/ada/", film_music=location),
    ):
        with nullcontext() if permitted else pytest.raises(InvalidScenesError):
            _require_permitted([part], {Path("/srv/a.png")}, RULES.sources)


@pytest.mark.parametrize(
    "hostile",
    [
        {"scenes": [{"image": f"{n:032x}"} for n in range(2_000)]},
        {"scenes": [scene("0" * 32, **{f"x{n}": f"{n:032x}" for n in range(90)})]},
        {"scenes": [scene("0" * 32)], "options": {f"x{n}": f"{n:032x}" for n in range(90)}},
    ],
    ids=["scenes", "fields of a scene", "options"],
)
async def test_few_uploads_are_searched_for(hostile, cloud, tmp_path, monkeypatch):
    searched = []
    monkeypatch.setattr(stored_uploads, "has_upload", lambda *upload: searched.append(upload))
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        answer = await http.post("/api/jobs", json=hostile)
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidScenesError")
    assert len(searched) <= 1


async def test_hints_at_settings_are_for_the_operator(cloud, tmp_path, caplog):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        sent = await submit(http, scene("https://127.0.0.1:9/a.png"))
        job = await finished(http, sent.json())
    [fault] = job["error"]["faults"]
    assert fault["found"].startswith("forbidden address")
    assert fault["expected"] == "a URL that leads to a public address, without a redirect"
    assert "CLOUDBURST" not in str(job)
    hint = "a scene was refused: CLOUDBURST_PRIVATE_INPUTS=1 also permits private addresses"
    assert ("cloudburst.jobs.public_json", logging.WARNING, hint) in caplog.record_tuples


async def test_many_faults_are_listed_up_to_a_limit(cloud, tmp_path):
    """Thousands of them would be megabytes, written by the event loop."""
    many = [scene("0" * 32, name=str(number), audio="x", subtitle="x") for number in range(1_000)]
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        answer = await submit(http, *many)
    assert (answer.status_code, len(answer.json()["faults"])) == (400, MAX_FAULTS)
    assert answer.json()["message"].endswith("and 2,900 more problems")


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize("duration", [True, 1e308, 14401, 0, -1, "nan"])
async def test_a_duration_that_no_worker_accepts_is_refused_at_once(cloud, tmp_path, duration):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        answer = await submit(http, scene(duration=duration))
        assert answer.status_code == 400
        (fault,) = answer.json()["faults"]
        assert (fault["scene"], fault["field"]) == ("a", "duration")
        assert re.search("at least 0.1|at most 14400 seconds", fault["expected"])
