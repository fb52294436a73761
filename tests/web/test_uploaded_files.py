"""Uploads over HTTP: what their files are, and how they are sent back."""

import anyio
import pytest
from PIL import Image
from starlette.exceptions import HTTPException

from cloudburst import Client, Limits
from cloudburst.web import Access
from support.sample_media import CUES
from support.web_apps import open_jobs, upload

pytestmark = pytest.mark.anyio


@pytest.fixture
async def http(cloud, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        yield http


async def stored(http, content):
    answer = await http.post("/api/uploads", content=content)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_an_upload_says_what_its_file_is(http, make_scene):
    scene = make_scene("a", seconds=1.5)
    for path, kind, seconds in (
        (scene["image_path"], "picture", None),
        (scene["audio_path"], "sound", 1.5),
    ):
        content = await anyio.Path(path).read_bytes()
        found = await stored(http, content)
        assert len(found.pop("id")) == 32
        facts = {"size": len(content), "kind": kind, "seconds": seconds, "fault": None}
        assert found == facts
    assert (await stored(http, CUES.encode()))["kind"] == "subtitle"


@pytest.mark.parametrize(
    ("content", "kind", "found", "code"),
    [
        (b"", "other", "an empty file", "unreadable"),
        (b"%PDF-1.7 ...", "other", "a PDF document", "wrong_type"),
        (b"a text without times", "subtitle", "text without any line", "unreadable"),
        (b"\x89PNG\r\n\x1a\n" + b"0" * 50, "picture", "a PNG picture, broken", "unreadable"),
        (b"RIFF\0\0\0\0WAVEfmt ", "sound", "a wav file", "unreadable"),
    ],
)
async def test_a_file_that_no_scene_can_use_is_stored_with_its_fault(
    http, content, kind, found, code
):
    answer = await stored(http, content)
    fault = answer["fault"]
    assert (answer["kind"], fault["field"], fault["code"]) == (kind, "file", code)
    assert fault["found"].startswith(found)
    assert (await http.get(f"/api/uploads/{answer['id']}")).content == content


async def test_only_a_picture_is_shown_by_browsers(http, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "p", "PNG")
    picture = await stored(http, (tmp_path / "p").read_bytes())
    page = await stored(http, b"<html><script>alert(1)</script>")
    for stored_id, media_type, disposition in (
        (picture["id"], "image/png", "inline"),
        (page["id"], "application/octet-stream", "attachment"),
    ):
        answer = await http.get(f"/api/uploads/{stored_id}")
        assert answer.headers["content-type"] == media_type
        assert answer.headers["content-disposition"] == f'{disposition}; filename="{stored_id}"'
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert answer.headers["cache-control"] == "private, no-cache"


async def test_an_upload_of_another_owner_does_not_exist(cloud, tmp_path):
    def authorize(request, _):
        if "user" not in request.headers:
            raise HTTPException(401)
        return Access(owner=request.headers["user"])

    async with open_jobs(cloud, tmp_path / "jobs", authorize=authorize) as (_, http):
        http.headers["user"] = "ada"
        (tmp_path / "f").write_bytes(b"secret")
        url = f"/api/uploads/{await upload(http, tmp_path / 'f')}"
        assert (await http.get(url)).content == b"secret"
        assert (await http.get(url, headers={"user": "eve"})).status_code == 404
        assert (await http.get("/api/uploads/..%2fjobs.sqlite")).status_code == 404
        await http.delete(url)
        assert (await http.get(url)).status_code == 404


async def test_the_limits_of_the_client_are_those_of_the_check(cloud, tmp_path, make_scene):
    client = Client(cloud.backend, limits=Limits(audio_seconds=1))
    async with open_jobs(cloud, tmp_path / "jobs", client=client) as (_, http):
        content = await anyio.Path(make_scene("a", seconds=2)["audio_path"]).read_bytes()
        fault = (await stored(http, content))["fault"]
        assert fault["expected"] == "at most 1 seconds"
