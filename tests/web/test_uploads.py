"""Uploads of users: names in requests never become paths, and nothing is left behind."""

import inspect
import json
import os
import time
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from starlette.exceptions import HTTPException

from cloudburst.web import Uploads
from cloudburst.web.request_bodies import full_disk_refused
from cloudburst.web.uploads import UPLOAD_LIFETIME
from support.web_apps import browser, files_in, form

pytestmark = pytest.mark.anyio


def text_of(path):
    return Path(path).read_text()


PLACES = ["/etc/passwd", "../a.png", "a.png", "", "0" * 32, ["x"], 7, "s3://films/a.png"]
"""Values that are no names of uploads."""


@pytest.mark.parametrize("path", PLACES)
async def test_a_request_cannot_name_a_file_of_the_server(app, cloud, make_scene, path):
    scene = make_scene("a") | {"image_path": path}
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        for request in (
            {"json": [scene]},
            {"data": {"scenes": json.dumps([scene])}, "files": [("x", b"")]},
        ):
            answer = await http.post("/videos", **request)
            assert answer.status_code == 400
            assert "passwd" not in answer.text
    assert not cloud.launched


@pytest.mark.parametrize(
    ("option", "path"),
    [
        ("watermark", "/etc/passwd"),
        ("watermark_path", "b.png"),
        ("font", "/etc/passwd"),
        ("font", "a.ttf"),
    ],
)
async def test_an_option_cannot_name_a_file_of_the_server(app, cloud, make_scene, option, path):
    scene = make_scene("a") | {"options": {option: path}}
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        answer = await http.post("/videos", **form(scene))
    assert answer.status_code == 400
    fault = f"a: options.{option}: no such upload; expected the name of an upload"
    assert answer.json() == {"detail": fault}
    assert not cloud.launched


async def test_an_option_may_name_an_upload(app, make_scene):
    scene = make_scene("a")
    request = form(scene | {"options": {"watermark": "mark.png", "font": "Noto Sans CJK JP"}})
    (picture,) = (content for _, content in request["files"] if content[0] == "a.png")
    request["files"].append(("files", ("mark.png", picture[1])))
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        answer = await http.post("/videos", **request)
    assert answer.status_code == 200, answer.text
    assert answer.json() == ["a.mp4"]


async def test_uploaded_files_are_removed_after_the_answer(app, make_scene):
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        await http.post("/videos", **form(make_scene("a")))
        await http.post("/videos", **form(make_scene("b") | {"image_path": "/etc/passwd"}))
    assert files_in("uploads") == []


def test_a_dependency_needs_nobody_to_resolve_its_annotations(tmp_path):
    """FastAPI before 0.124 evaluates those of functions only."""
    (parameter,) = inspect.signature(Uploads(tmp_path)).parameters.values()
    assert parameter.annotation is Request


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415),
        ({"content": b"x"}, 415),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 415),
        ({"content": b"junk", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400),
        ({"json": {"name": "a"}}, 400),
        ({"json": []}, 400),
        ({"json": [3]}, 400),
        ({"content": b"[" * 200_000, "headers": {"content-type": "application/json"}}, 400),
        ({"json": [{"name": "n" * 1_100_000}]}, 413),
        ({"data": {"scenes": "[]", "other": "1"}, "files": [("x", b"")]}, 400),
        ({"data": {"scenes": "["}, "files": [("x", b"")]}, 400),
        ({"data": {"scenes": "x" * 1_100_000}, "files": [("x", b"")]}, 413),
        ({"files": [("scenes", (None, b"[]")), ("scenes", (None, b"[]"))]}, 400),
        ({"files": [(f"f{i}", (None, b"1")) for i in range(10_000)]}, 400),
        ({"files": [("f", ("a", b"1"))]}, 400),
        ({"files": [("f", ("a", b"1")), ("f", ("a", b"2"))]}, 400),
        ({"files": [("f", (f"{i}", b"1")) for i in range(4)]}, 413),
        ({"files": [("f", ("a", b"1" * 2_100_000))]}, 413),
    ],
)
async def test_what_is_no_upload_is_refused_and_leaves_nothing(tmp_path, request_, status):
    uploads = Uploads(tmp_path / "up", max_bytes=2_000_000, max_files=3)
    app = FastAPI()

    @app.post("/")
    async def take(scenes: Annotated[list, Depends(uploads)]):
        return len(scenes)

    async with browser(app, {}) as http:
        answer = await http.post("/", **request_)
        assert answer.status_code == status
        unannounced = (piece for piece in [b"1" * 2_100_000])
        answer = await http.post("/", content=as_stream(unannounced), headers=MULTIPART)
        assert answer.status_code == 413
    assert not (tmp_path / "up").exists() or not list((tmp_path / "up").iterdir())


MULTIPART = {"content-type": "multipart/form-data; boundary=b"}


async def as_stream(pieces):
    yield b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'
    for piece in pieces:
        yield piece


async def test_a_raw_upload_is_named_by_its_identifier(tmp_path, monkeypatch):
    uploads, app = Uploads(tmp_path / "up", max_bytes=100), FastAPI()

    @app.post("/uploads")
    async def upload(request: Request):
        return await uploads.store(request)

    @app.post("/")
    async def take(scenes: Annotated[list, Depends(uploads)]):
        return [text_of(scene["image"]) for scene in scenes]

    async with browser(app, {}) as http:
        name = (await http.post("/uploads", content=b"picture")).json()
        assert (await http.post("/uploads", content=b"1" * 101)).status_code == 413
        assert (await http.post("/", json=[{"image": name}])).json() == ["picture"]
        old = time.time() - UPLOAD_LIFETIME - 1
        os.utime(tmp_path / "up" / name, (old, old))
        other = (await http.post("/uploads", content=b"sound")).json()
        assert (await http.post("/", json=[{"image": name}])).status_code == 400
        await uploads.remove("../up/" + other)
        assert (await http.post("/", json=[{"image": other}])).json() == ["sound"]
        await uploads.remove(other)
    assert files_in(tmp_path / "up") == []


async def test_a_form_that_is_cut_within_a_file_is_refused(tmp_path):
    uploads, app = Uploads(tmp_path / "up"), FastAPI()

    @app.post("/")
    async def take(scenes: Annotated[list, Depends(uploads)]):
        return len(scenes)

    built = httpx.Request("POST", "http://app/", **form({"image_path": __file__}))
    whole, headers = built.read(), {"content-type": built.headers["content-type"]}
    async with browser(app, {}) as http:
        assert (await http.post("/", content=whole, headers=headers)).json() == 1
        answer = await http.post("/", content=whole[:-100], headers=headers)
    assert (answer.status_code, answer.json()) == (400, {"detail": "the form ends too early"})
    assert files_in(tmp_path / "up") == []


async def test_what_a_killed_process_has_left_goes_after_a_day(tmp_path):
    left, young = (tmp_path / f"request-{digit * 32}" for digit in "ab")
    other = tmp_path / "other"
    old = time.time() - UPLOAD_LIFETIME - 1
    for folder in (left, other, young):
        folder.mkdir()
        (folder / "0.png").write_bytes(b"x")
    for folder in (left, other):
        os.utime(folder, (old, old))
    uploads = Uploads(tmp_path)
    app = FastAPI()

    @app.post("/")
    async def take(scenes: Annotated[list, Depends(uploads)]):
        (own,) = uploads._open_folders
        os.utime(own, (old, old))
        uploads._remove_old()
        assert own.exists(), "a request may take longer than a day"
        return len(scenes)

    async with browser(app, {}) as http:
        assert (await http.post("/", **form({"name": "a"}))).status_code == 200
    assert set(files_in(tmp_path)) == {other, young}


def test_an_upload_that_another_request_removes_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter([folder / "gone"]))
    Uploads(tmp_path)._remove_old()


def test_a_full_disk_is_a_status_of_its_own():
    with pytest.raises(HTTPException) as caught, full_disk_refused():
        Path("/dev/full").write_bytes(b"x")
    assert caught.value.status_code == 507
    with pytest.raises(FileNotFoundError), full_disk_refused():
        Path("/dev/missing/x").read_bytes()
