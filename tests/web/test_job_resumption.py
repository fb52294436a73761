"""Jobs that are resumed over HTTP."""

from __future__ import annotations

import anyio
import pytest

from cloudburst import Client, local
from cloudburst.web import Access
from support.web_apps import finished, job_events, job_form, open_jobs, submit, upload

pytestmark = pytest.mark.anyio


def by_header(request, _):
    return Access(owner=request.headers.get("x-owner", "ada"))


async def scene_of(http, make_scene, name):
    made = make_scene(name)
    image, audio = [await upload(http, made[field]) for field in ("image_path", "audio_path")]
    return {"name": name, "image": image, "audio": audio}


async def failed_job(http, cloud, make_scene, **more):
    """A job whose scene ``b`` has failed."""
    cloud.broken_scenes = {"b"}
    scenes = [await scene_of(http, make_scene, name) for name in ("a", "b")]
    job = await finished(http, (await submit(http, *scenes, **more)).json())
    assert (job["state"], job["resumable"]) == ("partial", True)
    cloud.broken_scenes = set()
    return job, job["links"]["job"] + "/resume"


@pytest.mark.parametrize("form", [False, True])
async def test_a_failed_scene_gets_another_picture(cloud, make_scene, tmp_path, form):
    async with open_jobs(cloud, tmp_path / "jobs", authorize=by_header) as (jobs, http):
        job, url = await failed_job(http, cloud, make_scene)
        picture = make_scene("other", size=(320, 200))["image_path"]
        if form:
            content = await anyio.Path(picture).read_bytes()
            body = job_form([{"name": "b", "image": "other.png"}], ("other.png", content))
        else:
            body = {"json": {"scenes": [{"name": "b", "image": await upload(http, picture)}]}}
        answer = await http.post(url, **body)
        assert (answer.status_code, answer.json()["state"]) == (202, "queued")
        done = await finished(http, job)
        assert (done["state"], done["id"], done["resumable"]) == ("complete", job["id"], False)
        scenes = (await http.get(job["links"]["job"] + "/scenes")).json()["scenes"]
        assert [(scene["scene"], scene["state"]) for scene in scenes] == [
            ("a", "done"),
            ("b", "done"),
        ]
        after = {"after": job["last_event"]}
        events = job_events((await http.get(job["links"]["events"], params=after)).text)
        assert (events[0][:2], events[-1][1]) == (
            (job["last_event"] + 1, "job.resumed"),
            "job.finished",
        )
        assert not jobs.queue.files(job["id"]).inputs.exists()


async def test_only_the_owner_resumes_a_job_and_only_when_it_has_ended(cloud, make_scene, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs", authorize=by_header) as (_, http):
        job, url = await failed_job(http, cloud, make_scene)
        assert (await http.post(url, headers={"x-owner": "eve"})).status_code == 404
        cloud.encode = 60.0
        assert (await http.post(url)).status_code == 202
        answer = await http.post(url)
        assert (answer.status_code, answer.json()["code"]) == (409, "job_conflict")
        await http.post(job["links"]["cancel"])
        assert (await finished(http, job))["state"] == "cancelled"
        cloud.encode = 0.0
        assert (await http.post(url, json={})).status_code == 202
        assert (await finished(http, job))["state"] == "complete"
        assert (await http.post(url)).status_code == 409


async def test_a_scene_is_left_out(cloud, make_scene, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        job, url = await failed_job(http, cloud, make_scene)
        assert (await http.post(url, json={"leave_out": ["b"]})).status_code == 202
        done = await finished(http, job)
        assert (done["state"], done["scenes"]) == ("complete", 1)
        scenes = (await http.get(job["links"]["job"] + "/scenes")).json()["scenes"]
        assert [(scene["scene"], scene["state"]) for scene in scenes] == [("a", "done")]


@pytest.mark.few(5, spread=True)
@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"leave_out": ["nonsense"]}, "name", "invalid"),
        ({"leave_out": "b"}, "leave_out", "wrong_type"),
        ({"scenes": [{"name": "a", "duration": 2}]}, "name", "invalid"),
        ({"scenes": [{"name": "b", "image": "/etc/passwd"}]}, "image", "no_file"),
        ({"scenes": [{"name": "b", "image": "s3://bucket/a.png"}]}, "image", "not_permitted"),
        ({"scenes": [{"name": "b", "options": {"font": "/a.ttf"}}]}, "options.font", "no_file"),
        ({"scenes": "b"}, "scenes", "wrong_type"),
        ({"options": {}}, "options", "unknown_field"),
        ({"max_usd": -1}, "max_usd", "out_of_range"),
    ],
)
async def test_invalid_changes_are_faults(cloud, make_scene, tmp_path, body, field, code):  # noqa: PLR0917
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        job, url = await failed_job(http, cloud, make_scene)
        answer = await http.post(url, json=body)
        assert answer.status_code == 400
        assert [(one["field"], one["code"]) for one in answer.json()["faults"]] == [(field, code)]
        assert (await http.get(job["links"]["job"])).json() == job


@pytest.mark.nightly
@pytest.mark.real
async def test_the_film_is_made_of_the_scenes_that_are_left(make_scene, tmp_path):
    """One picture cannot be decoded, which its scene finds out."""
    client = Client(local(workers=1, encoders=1))
    async with open_jobs(None, tmp_path / "jobs", client=client) as (jobs, http):
        scenes = [
            {**await scene_of(http, make_scene, name), "options": {"size": "720p", "fps": 24}}
            for name in ("a", "b", "c")
        ]
        picture = bytearray(await anyio.Path(make_scene("b")["image_path"]).read_bytes())
        middle = picture.index(b"IDAT") + 8
        picture[middle : middle + 40] = bytes(40)
        scenes[1]["image"] = (await http.post("/api/uploads", content=bytes(picture))).json()["id"]
        job = await finished(http, (await submit(http, *scenes, film=True)).json())
        assert (job["state"], job["completed"], job["resumable"]) == ("partial", 2, True)
        film = jobs.queue.files(job["id"]).film
        assert not film.exists()
        url = job["links"]["job"] + "/resume"
        assert (await http.post(url, json={"leave_out": ["b"]})).status_code == 202
        done = await finished(http, job)
        assert (done["state"], done["completed"], done["error"]) == ("complete", 2, None)
        assert film.stat().st_size > 0
        events = job_events((await http.get(job["links"]["events"])).text)
        done = [data["scene"] for _, kind, data in events if kind == "scene.completed"]
        assert sorted(done) == ["a", "c"], "each one once"
