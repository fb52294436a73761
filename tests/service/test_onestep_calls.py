"""The four calls of the public image, each by its name, as our service answers them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from support.service_caller import Caller, OpenCaller

pytestmark = pytest.mark.anyio

SOUND = base64.b64encode(b"sound").decode()


def picture(todo: dict[str, str]) -> str:
    """Bytes in place of a picture, which say what the stand-in for the renderer does."""
    return base64.b64encode(json.dumps(todo).encode()).decode()


async def create(to: Caller, *, do: str = "render", **more: Any) -> Any:
    body = {"input_image": picture({"do": do}), "input_audio": SOUND, **more}
    return await to.http.post("/create_video_onestep", json=body)


@pytest.mark.parametrize(("key", "mode"), [(None, "default"), ("their key", "secure")])
async def test_get_health(caller: OpenCaller, key: str | None, mode: str) -> None:
    async with caller(key=key) as to:
        to.http.headers.pop("X-Authentication-Key")
        answer = await to.http.get("/health")
        assert answer.status_code == 200
        told = answer.json()
        assert told["status"] == "healthy"
        assert told["ffmpeg_version"]
        assert told["authentication"]["mode"] == mode


async def test_post_create_video_onestep(caller: OpenCaller) -> None:
    """``scenario`` depends on what is rendered: ``test_render.py`` has all four."""
    async with caller() as to:
        answer = await create(to, subtitle=SOUND, effects=["zoom_in"], output_filename="one.mp4")
        assert answer.status_code == 200
        told = answer.json()
        keys = {"success", "file_id", "download_endpoint", "filename", "size", "scenario"}
        assert told.keys() == keys
        assert told["success"] is True
        assert told["filename"] == "one.mp4"
        assert told["download_endpoint"] == f"/download/{told['file_id']}"


@pytest.mark.parametrize(("do", "status"), [("fault", 400), ("crash", 500)])
async def test_post_create_video_onestep_that_fails(
    caller: OpenCaller, do: str, status: int
) -> None:
    async with caller() as to:
        answer = await create(to, do=do)
        assert answer.status_code == status
        assert answer.json().keys() == {"error"}


@pytest.mark.parametrize("key", ["wrong", None])
async def test_post_create_video_onestep_without_the_key(
    caller: OpenCaller, key: str | None
) -> None:
    async with caller() as to:
        to.http.headers.pop("X-Authentication-Key")
        if key:
            to.http.headers["X-Authentication-Key"] = key
        assert (await create(to)).status_code == 401
        assert (await to.http.get("/download/unknown")).status_code in {401, 404}


async def test_get_download(caller: OpenCaller) -> None:
    async with caller() as to:
        told = (await create(to)).json()
        video = await to.http.get(f"/download/{told['file_id']}")
        assert (video.status_code, len(video.content)) == (200, told["size"])
        assert video.headers["content-type"] == "video/mp4"
        assert (await to.http.get("/download/unknown")).status_code == 404
        for job in to.service.jobs.all():
            job.touched -= 3601
        assert (await to.http.get(f"/download/{told['file_id']}")).status_code == 404


async def test_get_cleanup(caller: OpenCaller) -> None:
    async with caller() as to:
        await create(to)
        assert (await to.http.get("/cleanup")).json()["cleaned"] == 0
        for job in to.service.jobs.all():
            job.touched -= 3601
        assert (await to.http.get("/cleanup")).json()["cleaned"] == 1
