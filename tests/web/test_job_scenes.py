"""Scenes of jobs over HTTP: what each one waits for, its worker, error and picture."""

import anyio
import pytest
from PIL import Image

from cloudburst.errors import EncodeError
from cloudburst.jobs import JobRequest
from support.sample_media import turned
from support.web_apps import finished, job_events, open_jobs, submit, upload

pytestmark = pytest.mark.anyio


@pytest.fixture
async def web(cloud, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as found:
        yield found


@pytest.fixture
async def image(web, make_scene):
    return await upload(web[1], make_scene("p")["image_path"])


async def scenes_of(http, job):
    answer = await http.get(f"/api/jobs/{job['id']}/scenes")
    assert answer.status_code == 200, answer.text
    return answer.json()["scenes"]


async def until(condition):
    with anyio.fail_after(10):
        while not (found := await condition()):  # noqa: ASYNC110 - a test
            await anyio.sleep(0.02)
    return found


async def test_scenes_of_a_running_job_say_what_they_do(cloud, web, image):
    cloud.encode = lambda name: {"a": 0.0, "slow": 60.0, "last": 60.0}[name]
    cloud.progress_every = 0.1
    _, http = web
    scenes = [{"name": name, "image": image, "duration": 1} for name in ("slow", "a", "last")]
    scenes[0]["options"] = {"title": "海港"}
    job = (await submit(http, *scenes)).json()

    async def encoding():
        found = await scenes_of(http, job)
        return found if found[0]["progress"] and found[1]["url"] else None

    slow, done, last = await until(encoding)
    assert (slow["scene"], slow["title"], slow["state"]) == ("slow", "海港", "encoding")
    assert 0 < slow["progress"] < 0.5
    assert (slow["attempts"], slow["url"]) == (1, None)
    assert (done["title"], done["state"], done["progress"]) == ("a", "done", 1)
    assert done["url"] == f"/api/jobs/{job['id']}/videos/a.mp4"
    assert (done["seconds"], done["error"], done["cover_url"]) == (1, None, None)
    assert last["state"] in {"waiting", "encoding"}
    picture = await http.get(slow["picture_url"])
    assert picture.headers["content-type"] == "image/png"
    assert picture.headers["content-security-policy"] == "default-src 'none'; sandbox"
    await http.post(job["links"]["cancel"])
    await finished(http, job)
    slow, done, last = await scenes_of(http, job)
    assert (slow["state"], done["state"], last["state"]) == ("waiting", "done", "waiting")
    assert slow["progress"] == 0


async def test_a_failed_scene_has_its_error(cloud, web, image):
    cloud.broken_scenes = {"bad"}
    _, http = web
    scenes = [{"name": name, "image": image, "duration": 1} for name in ("good", "bad")]
    job = (await submit(http, *scenes)).json()
    await finished(http, job)
    good, bad = await scenes_of(http, job)
    assert (good["state"], good["error"]) == ("done", None)
    assert (bad["state"], bad["url"]) == ("failed", None)
    assert bad["error"]["kind"] == "EncodeError"
    assert bad["error"]["code"] == "encode"
    assert "the encoder said no" in bad["error"]["message"]


async def test_scenes_of_an_open_job_are_listed_when_they_come(web, image):
    _, http = web
    job = (await http.post("/api/jobs", json={"open": True})).json()
    assert await scenes_of(http, job) == []
    for name in ("b", "a"):
        scene = {"name": name, "image": image, "duration": 1}
        await http.post(job["links"]["scenes"], json={"scenes": [scene]})
    assert [scene["scene"] for scene in await scenes_of(http, job)] == ["b", "a"]


async def test_only_pictures_that_the_job_keeps_are_sent(cloud, web, image, tmp_path, make_scene):
    jobs, http = web
    cloud.encode = 60.0
    Image.new("RGB", (8, 8)).save(tmp_path / "p.bmp")
    bmp = await upload(http, tmp_path / "p.bmp")
    scenes = [
        {"name": "bmp", "image": bmp, "duration": 1},
        {"name": "remote", "image": "https://example.com/p.png", "duration": 1},
        {"name": "card", "title_card": "x", "duration": 1},
    ]
    job = (await submit(http, *scenes)).json()
    for scene in await scenes_of(http, job):
        assert scene["picture_url"] is None, scene
        url = f"/api/jobs/{job['id']}/scenes/{scene['scene']}/picture"
        assert (await http.get(url)).status_code == 404
    turned(tmp_path / "turned.jpg")
    own = [{"name": "a", "image": tmp_path / "turned.jpg", "duration": 1}]
    made = await jobs.queue.submit(JobRequest(scenes=own), owner="everybody")
    (scene,) = await scenes_of(http, {"id": made.id})
    assert scene["picture_url"] is None, "a file of the program, not of the caller"
    assert (await http.get(f"/api/jobs/{made.id}/scenes/a/picture")).status_code == 404
    assert (await http.get(f"/api/jobs/{made.id}/scenes/b/picture")).status_code == 404


async def test_progress_of_the_job_is_sent_and_kept(cloud, web, image):
    cloud.encode, cloud.progress_every = 2.2, 0.1
    _, http = web
    job = (await submit(http, {"name": "a", "image": image, "duration": 1})).json()

    async def live():
        return (await http.get(job["links"]["job"])).json()["live"]

    running = await until(live)
    assert (running["scenes"], running["done"], running["failed"]) == (1, 0, 0)
    stream = job_events((await http.get(job["links"]["events"])).text)
    news = [(number, data) for number, kind, data in stream if kind == "job.progress"]
    assert 1 <= len(news) <= 4
    assert all(number is None and data["job"] == job["id"] for number, data in news)
    shares = [data["share"] for _, data in news]
    assert shares == sorted(shares)
    assert shares[-1] > 0
    (worker,) = news[-1][1]["workers"]
    assert (worker["number"], worker["scenes"]) == (1, ["a"])
    done = (await http.get(job["links"]["job"])).json()
    assert (done["live"], done["progress"]) == (None, 1)


async def test_failures_are_in_the_progress_without_folders_of_the_server(cloud, web, image):
    def encode(name):
        if name == "bad":
            raise EncodeError("/srv/private/a.png is broken", scene=name)
        return 60.0

    cloud.encode = encode
    _, http = web
    scenes = [{"name": name, "image": image, "duration": 1} for name in ("bad", "slow")]
    job = (await submit(http, *scenes)).json()

    async def failures():
        return ((await http.get(job["links"]["job"])).json()["live"] or {}).get("failures")

    (failure,) = await until(failures)
    assert (failure["code"], failure["scenes"], failure["count"]) == ("encode", ["bad"], 1)
    assert failure["message"] == "a.png is broken"
    assert failure["fix"] == "correct the file that the message names, and resume"
    await http.post(job["links"]["cancel"])


async def test_scenes_of_an_interrupted_job_wait_until_it_goes_on(cloud, make_scene, tmp_path):
    cloud.encode = lambda name: 0.0 if name == "quick" else 60.0
    cloud.progress_every = 0.1
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        image = await upload(http, make_scene("p")["image_path"])
        scenes = [{"name": name, "image": image, "duration": 1} for name in ("quick", "slow")]
        job = (await submit(http, *scenes)).json()

        async def encoding():
            quick, slow = await scenes_of(http, job)
            return quick["state"] == "done" and slow["progress"] > 0

        await until(encoding)
    cloud.encode = 60.0
    cloud.boot = 1.0
    async with open_jobs(cloud, tmp_path / "jobs") as (jobs, http):
        quick, slow = await scenes_of(http, job)
        assert (quick["state"], quick["progress"]) == ("done", 1)
        assert (slow["state"], slow["progress"]) == ("waiting", 0)
        assert (await jobs.queue.job(job["id"])).progress == 0.5

        async def encoding_again():
            return (await scenes_of(http, job))[1]["state"] == "encoding"

        await until(encoding_again)
        assert (await scenes_of(http, job))[0]["state"] == "done"


async def test_a_scene_that_fails_again_after_a_resume_has_failed(cloud, web, image):
    _, http = web
    scenes = [{"name": name, "image": image, "duration": 1} for name in ("good", "bad", "worse")]
    cloud.broken_scenes = {"bad", "worse"}
    job = (await submit(http, *scenes)).json()
    await finished(http, job)
    answer = await http.post(f"{job['links']['job']}/resume", json={"leave_out": ["worse"]})
    assert answer.status_code == 202, answer.text

    async def ended():
        return (await http.get(job["links"]["job"])).json()["finished_at"]

    await until(ended)
    good, bad = await scenes_of(http, job)
    assert (good["state"], bad["state"]) == ("done", "failed")
    assert bad["error"]["kind"] == "EncodeError"
