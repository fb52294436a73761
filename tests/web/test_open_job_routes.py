"""Scenes that are added to jobs over HTTP."""

import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path

import anyio
import httpx
import pytest

from cloudburst.concurrency import poll
from cloudburst.web import Access, RequestLimits
from support.project import ROOT
from support.web_apps import finished, job_events, job_form, open_jobs, submit

pytestmark = pytest.mark.anyio

SERVER = ROOT / "tests" / "support" / "serve_jobs.py"


@pytest.fixture
def picture(make_scene):
    return Path(make_scene("p")["image_path"]).read_bytes()


@pytest.fixture
def voice(make_scene):
    return Path(make_scene("voice", seconds=3)["audio_path"]).read_bytes()


def scene(name, image="p.png", **more):
    return {"name": name, "image": image, "duration": 1, **more}


def form(picture, *scenes, **more):
    return job_form(scenes, ("p.png", picture), **more)


async def completed(http, job, name):
    """Wait until a scene has its video."""

    async def state():
        videos = (await http.get(job["links"]["videos"])).json()["videos"]
        return name in {video["scene"] for video in videos} or None

    with anyio.fail_after(30):
        await poll(state, delays=repeat(0.02))


async def test_an_open_job_gets_scenes_until_it_is_closed(cloud, picture, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        job = (await submit(http, open=True)).json()
        assert (job["open"], job["scenes"]) == (True, 0)
        links = job["links"]
        add, close = links["scenes"], links["close"]
        for name in "ab":
            answer = await http.post(add, **form(picture, scene(name)))
            assert answer.status_code == 202, answer.text
            await completed(http, job, name)
        assert (answer.json()["scenes"], answer.json()["open"]) == (2, True)
        assert (await http.delete(links["job"])).status_code == 409
        for _ in range(2):
            answer = await http.post(close)
            assert (answer.status_code, answer.json()["open"]) == (202, False)
            assert (answer.json()["links"]["scenes"], answer.json()["links"]["close"]) == (
                None,
            ) * 2
        state = await finished(http, job)
        assert (state["state"], state["completed"]) == ("complete", 2)
        events = job_events((await http.get(links["events"])).text)
        assert events[0][1:] == ("job.queued", events[0][2] | {"open": True})
        answer = await http.post(add, **form(picture, scene("c")))
        assert (answer.status_code, answer.json()["error"]) == (409, "JobConflictError")
        assert (await http.delete(links["job"])).status_code == 204
        for url in (add, close):
            assert (await http.post(url, **form(picture, scene("c")))).status_code == 404


async def test_scenes_that_are_not_valid_are_refused_together(cloud, picture, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (jobs, http):
        first = form(picture, scene("a"), open=True, film=True)
        job = (await http.post("/api/jobs", **first)).json()
        good = scene("good")
        for body, found in (
            (form(picture, good, scene("b", "missing.png")), {("b", "image")}),
            (form(b"no picture", good, scene("b")), {("good", "image"), ("b", "image")}),
            (form(picture, good, scene("A")), {("A", "name")}),
            (form(picture, good, scene("b", transition="wipe")), {("b", "transition")}),
            (form(picture, good, film=True, open=True), {("", "film"), ("", "open")}),
            (form(picture, good, options={"size": "720p"}), {("", "options")}),
            (form(picture), {("", "scenes")}),
        ):
            answer = await http.post(job["links"]["job"] + "/scenes", **body)
            assert (answer.status_code, answer.json()["error"]) == (400, "InvalidScenesError")
            faults = {(fault["scene"], fault["field"]) for fault in answer.json()["faults"]}
            assert faults == found
        answer = await http.post(job["links"]["scenes"], json=good)
        assert answer.json()["message"] == "\n".join(
            f'{name}: not a field of this request; expected only {{"scenes": [...]}}'
            for name in sorted(good)
        )
        assert (await http.get(job["links"]["job"])).json()["scenes"] == 1
        inputs = jobs.queue.files(job["id"]).inputs
        assert [path.name for path in inputs.iterdir()] == ["0.png"], "nothing is left of them"
        answer = await submit(http, scenes=[])
        assert answer.status_code == 400


async def test_scenes_of_an_open_film_with_one_voice_have_their_ends_in_it(
    cloud, picture, voice, tmp_path
):
    def film(*scenes, **more):
        return job_form(scenes, ("p.png", picture), ("voice.wav", voice), **more)

    def part(name, **length):
        return {"name": name, "image": "p.png", **length}

    async with open_jobs(cloud, tmp_path / "jobs") as (jobs, http):
        broken = film(part("a"), film=True, film_audio="p.png")
        answer = await http.post("/api/jobs", **broken)
        assert [one["field"] for one in answer.json()["faults"]] == ["film_audio"]
        first = film(part("a", until=1), open=True, film=True, film_audio="voice.wav")
        job = (await http.post("/api/jobs", **first)).json()
        url = f"{job['links']['job']}/scenes"
        answer = await http.post(url, **film(part("b", audio="voice.wav")))
        assert [one["expected"] for one in answer.json()["faults"]] == ["until or duration"]
        for scenes in ((part("b", until=1.5), part("c", duration=0.5)), (part("end"),)):
            assert (await http.post(url, **film(*scenes))).status_code == 202
        await http.post(f"{job['links']['job']}/close")
        state = await finished(http, job)
        videos = await jobs.queue.videos(job["id"])
    assert (state["completed"], state["error"]["kind"]) == (4, "FilmError"), "of the fake cloud"
    assert {video.scene for video in videos} == {"a", "b", "c", "end"}


async def test_another_owner_neither_adds_scenes_nor_closes(cloud, picture, tmp_path):
    def authorize(request, _):
        return Access(owner=request.headers["user"])

    async with open_jobs(cloud, tmp_path / "jobs", authorize=authorize) as (_, http):
        http.headers["user"] = "ada"
        job = (await submit(http, open=True)).json()
        http.headers["user"] = "eve"
        for url in (job["links"]["job"] + "/scenes", job["links"]["job"] + "/close"):
            answer = await http.post(url, **form(picture, scene("a")))
            assert (answer.status_code, answer.json()["error"]) == (404, "UnknownJobError")
        http.headers["user"] = "ada"
        state = (await http.get(job["links"]["job"])).json()
        assert (state["open"], state["scenes"]) == (True, 0)
        await http.post(job["links"]["cancel"])


async def test_requests_at_once_add_no_more_scenes_than_a_job_may_have(cloud, tmp_path):
    limits = RequestLimits(scenes=20, json_bytes=10_000)
    cloud.encode = 60.0
    async with open_jobs(cloud, tmp_path / "jobs", request_limits=limits) as (_, http):
        job = (await submit(http, open=True)).json()
        statuses = Counter()

        async def add(batch):
            scenes = [scene(f"{batch}-{n}", "https://example.com/a.png") for n in range(3)]
            answer = await http.post(job["links"]["job"] + "/scenes", json={"scenes": scenes})
            statuses[answer.status_code] += 1
            if answer.status_code == 400:
                assert answer.json()["faults"][0]["expected"] == "at most 20"

        async with anyio.create_task_group() as tasks:
            for batch in range(12):
                tasks.start_soon(add, batch)
        assert statuses == {202: 6, 400: 6}
        many = [scene(str(n), "https://example.com/a.png") for n in range(21)]
        for scenes, status in ((many, 400), (many * 50, 413)):
            answer = await http.post(job["links"]["job"] + "/scenes", json={"scenes": scenes})
            assert answer.status_code == status
        assert (await http.get(job["links"]["job"])).json()["scenes"] == 18
        await http.post(job["links"]["cancel"])


async def test_a_job_that_is_cancelled_while_files_arrive_takes_none(cloud, picture, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (jobs, http):
        job = (await submit(http, open=True)).json()
        request = http.build_request(
            "POST", job["links"]["job"] + "/scenes", **form(picture, scene("a"))
        )
        content = await request.aread()

        async def body():
            yield content[:200]
            await http.post(job["links"]["cancel"])
            await jobs.queue.wait(job["id"])
            await anyio.sleep(0.1)  # the folder of the files is removed
            yield content[200:]

        headers = {"content-type": request.headers["content-type"]}
        answer = await http.post(job["links"]["job"] + "/scenes", content=body(), headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (409, "JobConflictError")
        assert (await http.delete(job["links"]["job"])).status_code == 204
        assert list((tmp_path / "jobs" / "jobs").iterdir()) == []


@contextmanager
def server(folder, port):
    command = [sys.executable, SERVER, folder, str(port)]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def answer_of(http, url):
    try:
        return await http.get(url)
    except httpx.TransportError:
        return None


@pytest.mark.real
async def test_a_killed_server_resumes_jobs_as_open_and_at_their_places(
    picture, tmp_path, free_tcp_port
):
    port = free_tcp_port
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        with server(tmp_path, port) as process:
            await poll(lambda: answer_of(http, "/jobs"), delays=repeat(0.05))
            job = (await http.post("/jobs", **form(picture, scene("a"), open=True))).json()
            url = job["links"]["job"] + "/scenes"
            await http.post(url, **form(picture, scene("slow"), scene("b")))
            scenes = [scene("a"), scene("slow"), scene("b")]
            terms = {"place": "fargate", "workers": 2, "max_usd": "0.5"}
            placed = (await http.post("/jobs", **form(picture, *scenes, **terms))).json()
            await completed(http, job, "a")
            await completed(http, placed, "a")
            process.send_signal(signal.SIGKILL)
            await anyio.to_thread.run_sync(process.wait)
        with server(tmp_path, port):
            state = await poll(lambda: answer_of(http, job["links"]["job"]), delays=repeat(0.05))
            assert (state.json()["open"], state.json()["scenes"]) == (True, 3)
            again = await http.post(url, **form(picture, scene("b")))
            assert again.json()["faults"][0]["found"] == "the name of an earlier scene"
            assert (await http.post(url, **form(picture, scene("c")))).status_code == 202
            await completed(http, job, "c")
            await completed(http, placed, "b")
            await http.post(job["links"]["job"] + "/close")
            for one in (job, placed):
                await http.post(one["links"]["cancel"])  # of the slow one
            state, state_of_placed = await finished(http, job), await finished(http, placed)
            events = job_events((await http.get(job["links"]["events"])).text)
            events_of_placed = job_events((await http.get(placed["links"]["events"])).text)
    assert (state["state"], state["completed"], state["open"]) == ("cancelled", 3, False)
    done = [data["scene"] for _, kind, data in events if kind == "scene.completed"]
    assert sorted(done) == ["a", "b", "c"], "each one once"
    assert (state_of_placed["state"], state_of_placed["completed"]) == ("cancelled", 2)
    assert {name: state_of_placed[name] for name in terms} == terms
    assert "job.interrupted" in [kind for _, kind, _ in events_of_placed]
    launched = [data for _, kind, data in events_of_placed if kind == "worker.launched"]
    assert {data["backend"] for data in launched} == {"fargate"}
