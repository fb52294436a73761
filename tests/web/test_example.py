"""The example app, as a user gets it, renders on this machine."""

import importlib.util
from pathlib import Path

import pytest

from support.project import ROOT
from support.video_probe import probe
from support.web_apps import browser, finished, job_form

pytestmark = pytest.mark.anyio

EXAMPLE = ROOT / "examples" / "web_app.py"


def test_the_example_is_short():
    assert len(EXAMPLE.read_text().splitlines()) <= 40


@pytest.fixture
def scenes_and_files(make_scene):
    """Two scenes, and name and content of each of their files."""
    scenes, files = [], []
    for name in ("一", "two"):
        image, audio = f"{name}.png", f"{name}.wav"
        scenes.append({"name": name, "image": image, "audio": audio, "options": {"cover": True}})
        made = make_scene(name, seconds=0.2)
        files.append((image, Path(made["image_path"]).read_bytes()))
        files.append((audio, Path(made["audio_path"]).read_bytes()))
    return scenes, files


@pytest.mark.filterwarnings("ignore:AWS_SUBNET_ID is not set:UserWarning")
@pytest.mark.real
@pytest.mark.timeout(60)
async def test_upload_watch_play_and_cancel(scenes_and_files, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AWS_SUBNET_ID", raising=False)
    spec = importlib.util.spec_from_file_location("web_app", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    scenes, files = scenes_and_files
    async with module.jobs.lifespan(module.app), browser(module.app, {}) as http:
        page = await http.get("/")
        assert "/api/jobs" in page.text
        film = {"film": True, "film_gap": 0.5, "film_music": "two.wav"}
        film["options"] = {"music_loop": False}
        job = (await http.post("/api/jobs", **job_form(scenes, *files, **film))).json()
        state = await finished(http, job)
        assert (state["state"], state["error"]) == ("complete", None)
        videos = (await http.get(job["links"]["videos"])).json()["videos"]
        assert {video["scene"] for video in videos} == {"一", "two"}
        made = probe(module.jobs.queue.files(job["id"]).film)
        assert made.seconds == pytest.approx(0.5 + sum(v["seconds"] for v in videos), abs=0.05)
        for url in [job["links"]["film"], *(video["url"] for video in videos)]:
            part = await http.get(url, headers={"Range": "bytes=4-7"})
            assert (part.status_code, part.content) == (206, b"ftyp")
        for video in videos:
            cover = await http.get(video["cover_url"])
            assert cover.headers["content-type"] == "image/jpeg"
            assert cover.content.startswith(b"\xff\xd8")

        scenes[0] |= {"audio": None, "duration": 600}
        job = (await http.post("/api/jobs", **job_form(scenes[:1], *files))).json()
        await http.post(job["links"]["cancel"])
        assert (await finished(http, job))["state"] == "cancelled"
