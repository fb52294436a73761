"""One frame of a scene over HTTP: who gets it, what ends it, and what it leaves behind."""

import io
import socket
import sys
import tempfile
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest
import uvicorn
from PIL import Image

from cloudburst import Client
from cloudburst.web import Access, Jobs
from cloudburst.workers.local import frame
from support.service_caller import alive, eventually, until_gone
from support.web_apps import open_jobs, upload

pytestmark = [pytest.mark.anyio, pytest.mark.real]


@pytest.fixture
def anyio_backend():
    return "asyncio"  # processes


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Return the folder in which temporary folders are created."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
async def http(cloud, tmp_path, temporary):
    """Return an HTTP client of an app, of which nothing is left at the end of a test."""
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        yield http
        assert list(temporary.iterdir()) == []
        assert list((tmp_path / "jobs" / "jobs").glob("*")) == []


@pytest.fixture
def endless(tmp_path, monkeypatch):
    """Let the process of a frame write its number into a file, and run until it is killed."""
    code = (
        "import os, time; file = open(os.environ['PYTHON_PIDS'], 'a');"
        "file.write(f'{os.getpid()}\\n'); file.close(); time.sleep(600)"
    )
    monkeypatch.setenv("PYTHON_PIDS", str(tmp_path / "pids"))
    command = (sys.executable, "-c", code)
    monkeypatch.setattr(frame.draw_frame, "__kwdefaults__", {"command": command})
    return tmp_path / "pids"


async def started(pids, number):
    """Wait until this number of processes has started, and return their numbers."""
    found = []
    with anyio.fail_after(15):
        while len(found) < number:
            await anyio.sleep(0.02)
            found = pids.read_text().split() if pids.exists() else []
    return [*map(int, found)]


async def uploaded(http, scene):
    """Upload the files of a scene, and return the scene with the uploads."""
    return scene | {name: await upload(http, scene[name]) for name in ("image_path", "audio_path")}


def form_of(scene):
    """Return a form with a scene that shows the picture of another one for two seconds."""
    picture = Path(scene["image_path"]).read_bytes()
    return {
        "data": {"job": '{"scene": {"name": "a", "image": "p.png", "duration": 2}, "at": 1}'},
        "files": [("files", ("p.png", picture))],
    }


def with_bad_pixels(scene):
    """Replace the pixels of the picture of a scene; its start and end stay."""
    path = Path(scene["image_path"])
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + bytes(len(whole) - 72) + whole[-12:])
    return scene


async def test_a_frame_of_uploads_is_a_jpeg_of_the_requested_width(http, make_scene):
    scene = await uploaded(http, make_scene("a", color="gold"))
    body = {"scene": scene, "at": 0.5, "options": {"effects": []}, "width": 320}
    answer = await http.post("/api/frame", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.headers["cache-control"] == "no-store"
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (320, 180))
        assert picture.getpixel((160, 90)) == pytest.approx((255, 215, 0), abs=4)


async def test_a_frame_of_a_form_needs_no_upload(http, make_scene):
    answer = await http.post("/api/frame", **form_of(make_scene("a")))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("change", "scene", "field", "found"),
    [
        ({"width": 5}, "", "width", "5"),
        ({"widht": 5}, "", "widht", "unknown"),
        ({"scene": 7}, "", "scene", "7"),
        ({"at": "soon"}, "", "at", "soon"),
        ({"at": -1}, "a", "at", "-1"),
        ({"at": 99}, "a", "at", "99"),
        ({"options": {"font_size": 7}}, "", "options.font_size", "7"),
        ({"scene": {"name": "a", "image": "/etc/passwd", "duration": 1}}, "a", "image", "no such"),
        (
            {"scene": {"name": "a", "image": "s3://bucket/c.png", "duration": 1}},
            "a",
            "image",
            "not permitted",
        ),
        ({"scene": {"name": "a", "image": "https://127.0.0.1/", "duration": 1}}, "a", "image", ""),
    ],
)
async def test_a_fault_names_its_field(http, make_scene, change, scene, field, found):  # noqa: PLR0917
    body = {"scene": await uploaded(http, make_scene("a"))} | change
    answer = await http.post("/api/frame", json=body)
    assert answer.status_code == 400, answer.text
    (fault,) = answer.json()["faults"]
    assert (fault["scene"], fault["field"]) == (scene, field)
    assert found in fault["found"]
    assert "/tmp" not in answer.text


async def test_a_scene_with_very_many_fields_is_refused(http):
    answer = await http.post("/api/frame", json={"scene": {str(n): n for n in range(101)}})
    assert answer.status_code == 400
    assert "101 fields" in answer.json()["message"]


async def test_a_picture_that_cannot_be_decoded_is_a_fault(http, make_scene):
    made = await uploaded(http, with_bad_pixels(make_scene("a")))
    answer = await http.post("/api/frame", json={"scene": made})
    assert answer.status_code == 400, answer.text
    assert [fault["scene"] for fault in answer.json()["faults"]] == ["a"]


async def test_a_newer_request_ends_the_earlier_one(http, make_scene, endless):
    scene = await uploaded(http, make_scene("a"))
    answers = []

    async def ask():
        answers.append(await http.post("/api/frame", json={"scene": scene}))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        (first,) = await started(endless, 1)
        tasks.start_soon(ask)
        _, second = await started(endless, 2)
        await eventually(lambda: len(answers) == 1)
        (answer,) = answers
        assert (answer.status_code, answer.json()["code"]) == (409, "superseded")
        assert not alive(first)
        assert alive(second)
        tasks.cancel_scope.cancel()
    await anyio.to_thread.run_sync(until_gone, [second])


async def test_the_time_for_a_frame_is_bounded(cloud, make_scene, endless, tmp_path, monkeypatch):
    monkeypatch.setattr("cloudburst.web.job_api.PREVIEW_SECONDS", 2.0)
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        scene = await uploaded(http, make_scene("a"))
        answer = await http.post("/api/frame", json={"scene": scene})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    (process,) = await started(endless, 1)
    await anyio.to_thread.run_sync(until_gone, [process])


async def test_other_owners_wait_until_the_server_has_room(endless, tmp_path, cloud, make_scene):
    def authorize(request, _action):
        return Access(owner=request.headers["owner"])

    async with open_jobs(cloud, tmp_path / "jobs", authorize=authorize) as (_, http):

        async def ask(owner):
            http.headers["owner"] = owner
            scene = await uploaded(http, make_scene("a"))
            await http.post("/api/frame", json={"scene": scene})

        async with anyio.create_task_group() as tasks:
            for number, owner in enumerate(("ada", "bob"), 1):
                tasks.start_soon(ask, owner)
                await started(endless, number)
            tasks.start_soon(ask, "eve")
            await anyio.sleep(1.0)
            first, second = await started(endless, 2)
            assert alive(first)
            assert alive(second)
            tasks.cancel_scope.cancel()
        await anyio.to_thread.run_sync(until_gone, await started(endless, 2))


async def test_a_closed_connection_ends_the_process(
    cloud, tmp_path, make_scene, endless, temporary
):
    app = Jobs(Client(cloud.backend), tmp_path / "jobs").app
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with anyio.create_task_group() as tasks, httpx.AsyncClient(base_url=address) as http:
            tasks.start_soon(partial(server.serve, sockets=[listener]))
            with anyio.CancelScope() as asking:
                tasks.start_soon(cancel_when_started, endless, asking)
                await http.post("/frame", **form_of(make_scene("a")))
            (process,) = await started(endless, 1)
            await anyio.to_thread.run_sync(until_gone, [process])
            folders = temporary, tmp_path / "jobs" / "jobs"
            await eventually(lambda: not [file for folder in folders for file in folder.iterdir()])
            server.should_exit = True


async def cancel_when_started(pids, scope):
    await started(pids, 1)
    scope.cancel()
