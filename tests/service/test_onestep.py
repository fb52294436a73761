"""The protocol of the public image."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import create_task_group, to_thread

from cloudburst.models.options import RenderOptions
from cloudburst.renderer.job import InputFaultError, JobOptions, RenderJob
from cloudburst.service import unpack
from support.service_caller import Caller, OpenCaller, alive, eventually, read_pids

pytestmark = pytest.mark.anyio


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def body(todo: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    image = json.dumps(todo or {"do": "render"}).encode()
    return {"input_image": b64(image), "input_audio": b64(b"sound"), **more}


async def create(to: Caller, **more: Any) -> Any:
    return await to.http.post("/create_video_onestep", json=body(**more))


async def test_one_call_makes_a_video(caller: OpenCaller) -> None:
    async with caller() as to:
        answer = await create(to, output_filename="第一 1.mp4")
        assert answer.status_code == 200
        told = answer.json()
        ident = told["file_id"]
        video = await to.http.get(told["download_endpoint"])
        assert told == {
            "success": True,
            "file_id": ident,
            "download_endpoint": f"/download/{ident}",
            "filename": "第一 1.mp4",
            "size": len(video.content),
            "scenario": "baseline",
        }
        assert video.status_code == 200
        assert video.headers["content-type"] == "video/mp4"
        assert video.headers["content-disposition"] == (
            "attachment; filename*=UTF-8''%E7%AC%AC%E4%B8%80%201.mp4"
        )
        assert to.files() == [f"jobs/{to.video(ident).parent.name}/video.mp4"]
        assert (await to.http.get("/cleanup")).json() == {"cleaned": 0, "active_files": 1}
        assert (await to.http.get(f"/jobs/{ident}")).status_code == 404


def job_options(**options: Any) -> dict[str, Any]:
    """Return the options of a job as its file has them."""
    job = RenderJob(
        name="a", options=JobOptions.from_options(RenderOptions.model_validate(options))
    )
    described: dict[str, Any] = json.loads(job.to_json())["options"]
    return described


async def test_defaults_are_those_of_the_public_image(caller: OpenCaller) -> None:
    async with caller() as to:
        answer = await create(to, effects=None, font_size=None, is_portrait=False, unknown=[1])
        assert answer.json()["filename"] == "output.mp4"
        video = (await to.http.get(answer.json()["download_endpoint"])).content
        told = json.loads(video.removeprefix(b"video of "))
        assert told["options"] == job_options(effects=())
        assert (told["image_pixels"], told["audio_seconds"]) == (100_000_000, 14_400.0)


async def test_the_job_gets_every_option_and_file(caller: OpenCaller) -> None:
    options = {
        "language": "english",
        "effects": ["pan_left", "random"],
        "is_portrait": True,
        "background_box": False,
        "background_opacity": 1,
        "font_size": 40,
        "outline_color": "&H0000ff00",
    }
    async with caller() as to:
        answer = await create(to, subtitle=b64(b"1\n"), watermark="", **options)
        video = (await to.http.get(answer.json()["download_endpoint"])).content
        told = json.loads(video.removeprefix(b"video of "))
        assert told["options"] == job_options(**options)


async def test_without_a_key_it_is_open_as_the_image_is(caller: OpenCaller) -> None:
    async with caller(key=None) as to:
        to.http.headers.pop("X-Authentication-Key")
        assert (await create(to)).status_code == 200


async def test_a_wrong_key_is_401_in_the_images_words(caller: OpenCaller) -> None:
    async with caller() as to:
        answer = await to.http.post(
            "/create_video_onestep", json=body(), headers={"X-Authentication-Key": "x"}
        )
        assert (answer.status_code, answer.json()) == (
            401,
            {
                "error": "Authentication failed",
                "message": "Invalid authentication key",
                "required_header": "X-Authentication-Key",
            },
        )


BAD_BODIES = [
    (b"", "body"),
    (b"{", "body"),
    (b"[]", "body"),
    (b"null", "body"),
    (b'"x"', "body"),
    (b"\xff", "body"),
    (b"[" * 100_000, "body"),
    (b"{}", "input_image"),
    (json.dumps(body(input_image=None)).encode(), "input_image"),
    (json.dumps(body(input_image="")).encode(), "input_image"),
    (json.dumps(body(input_image=7)).encode(), "input_image"),
    (json.dumps(body(input_image=["eA=="])).encode(), "input_image"),
    (json.dumps(body(input_image={})).encode(), "input_image"),
    (json.dumps(body(input_image="/etc/passwd")).encode(), "input_image"),
    (json.dumps(body(input_image="é===")).encode(), "input_image"),
    (json.dumps(body(input_image="A")).encode(), "input_image"),
    (json.dumps(body(input_audio="eA=")).encode(), "input_audio"),
    (json.dumps(body(input_audio="x" * 9999 + "==")).encode(), "input_audio"),
    (json.dumps(body(subtitle=False)).encode(), "subtitle"),
    (json.dumps(body(effects=7)).encode(), "effects"),
    (json.dumps(body(effects=["spin"])).encode(), "effects.0"),
    (json.dumps(body(effects=[None])).encode(), "effects.0"),
    (json.dumps(body(language="klingon")).encode(), "language"),
    (json.dumps(body(background_opacity=-0.1)).encode(), "background_opacity"),
    (json.dumps(body(background_opacity="thick")).encode(), "background_opacity"),
    (json.dumps(body(background_box="perhaps")).encode(), "background_box"),
    (json.dumps(body(font_size=10**12)).encode(), "font_size"),
    (json.dumps(body(outline_color="red")).encode(), "outline_color"),
    (json.dumps(body(is_portrait="no idea")).encode(), "is_portrait"),
    (json.dumps(body(output_filename=["x"])).encode(), "output_filename"),
    (json.dumps(body(output_filename="x" * 300)).encode(), "output_filename"),
    (json.dumps(body(output_filename="\ud800")).encode(), "body"),
    (json.dumps(body(background_opacity=float("nan"))).encode(), "body"),
]
"""Bodies that are refused, and the field that the answer names."""


HOSTILE_BODIES = [
    entry
    for entry in BAD_BODIES
    if len(entry[0]) > 50_000 or b"ud800" in entry[0] or entry[0] in {b"", b"\xff", b"{}"}
]
"""Bodies that may break the process that reads them."""


@pytest.mark.parametrize("place", range(len(BAD_BODIES)))
def test_the_field_of_a_bad_body_is_named(tmp_path: Path, place: int) -> None:
    """The process that the service starts for each body takes 0.2 s, and does only this."""
    raw, named = BAD_BODIES[place]
    (tmp_path / unpack.BODY_FILE).write_bytes(raw)
    with pytest.raises(InputFaultError) as caught:
        unpack.unpack(tmp_path)
    assert caught.value.fault.field == named
    line = unpack.UnpackLine(fault=caught.value.fault).model_dump(mode="json")
    assert unpack.UnpackLine.model_validate_json(json.dumps(line)).fault == caught.value.fault


async def test_a_bad_body_is_a_400_that_names_the_field(caller: OpenCaller) -> None:
    """One service answers all bodies, because its start takes longer than the answers."""
    assert len(HOSTILE_BODIES) >= 5
    async with caller() as to:
        for raw, named in [*HOSTILE_BODIES, BAD_BODIES[-1]]:
            answer = await to.http.post(
                "/create_video_onestep", content=raw, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 400, (raw[:100], answer.text)
            assert answer.json()["error"].startswith(f"{named}: "), (raw[:100], answer.text)
            assert to.files() == [], raw[:100]


async def test_a_file_that_cannot_be_rendered_is_a_400(caller: OpenCaller) -> None:
    async with caller() as to:
        answer = await create(to, todo={"do": "fault"})
        assert answer.status_code == 400
        assert answer.json() == {"error": "audio: a poem; expected sound"}
        crash = await create(to, todo={"do": "crash"})
        assert crash.status_code == 500
        assert set(crash.json()) == {"error"}
        assert to.files() == []


async def test_a_body_over_the_limit_is_413_and_of_another_kind_415(caller: OpenCaller) -> None:
    async with caller(body_bytes=1000) as to:
        assert (await create(to, subtitle="A" * 1000)).status_code == 413
        other = await to.http.post("/create_video_onestep", data={"a": "b"})
        assert other.status_code == 415
        assert to.files() == []


async def test_a_full_queue_is_429(caller: OpenCaller) -> None:
    async with caller(encoders=1, waiting=0) as to:
        await to.start({"do": "hang"})
        assert (await create(to)).status_code == 429
        assert [f for f in to.files() if "body" in f] == []


async def test_a_caller_who_leaves_ends_the_render(caller: OpenCaller, tmp_path: Path) -> None:
    async with caller() as to, create_task_group() as tasks:
        todo = {"do": "fork", "pids": str(tmp_path / "pids")}
        scope = anyio.CancelScope()

        async def call() -> None:
            with scope:
                await create(to, todo=todo)

        tasks.start_soon(call)
        pids = await to_thread.run_sync(read_pids, tmp_path / "pids")
        scope.cancel()
        await eventually(lambda: not to.service.jobs.active() and not to.files())
        assert not any(map(alive, pids))


async def test_a_video_is_gone_after_its_hour(caller: OpenCaller) -> None:
    async with caller(keep_seconds=0.5) as to:
        answer = await create(to)
        path = answer.json()["download_endpoint"]
        for _ in range(3):  # asking does not keep it, as little as in the public image
            assert (await to.http.get(path)).status_code == 200
            await anyio.sleep(0.1)
        await anyio.sleep(0.4)
        gone = await to.http.get(path)
        assert gone.status_code == 404
        assert "error" in gone.json()


async def test_cleanup_deletes_what_has_expired(caller: OpenCaller) -> None:
    async with caller() as to:
        await create(to)
        for job in to.service.jobs.all():
            job.touched -= 3601
        assert (await to.http.get("/cleanup")).json() == {"cleaned": 1, "active_files": 0}
        assert to.files() == []


def unpacked(folder: Path, raw: bytes) -> unpack.Unpacked:
    (folder / "body.json").write_bytes(raw)
    return unpack.unpack(folder)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 3071, 3072, 3073, 3_000_001])
def test_files_of_any_size_come_out_whole(tmp_path: Path, size: int) -> None:
    content = bytes(i * 7 % 251 for i in range(size))
    given = body(input_audio=b64(content or b"x"), subtitle=b64(content))
    unpacked(tmp_path, json.dumps(given).encode())
    assert (tmp_path / "audio").read_bytes() == (content or b"x")
    assert not content or (tmp_path / "subtitle").read_bytes() == content
    assert not (tmp_path / "body.json").exists()


@pytest.mark.parametrize("big", [False, True])
def test_every_way_to_write_base64_in_json(tmp_path: Path, *, big: bool) -> None:
    content = bytes(range(256)) * (9000 if big else 2)
    plain = json.dumps(body(input_image=b64(content)))
    ways = {
        "slashes escaped, as PHP has it": plain.replace("/", "\\/"),
        "plus signs escaped, as .NET has it": plain.replace("+", "\\u002B"),
        "lines of 76": json.dumps(body(input_image=base64.encodebytes(content).decode())),
    }
    for number, raw in enumerate(ways.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        unpacked(folder, raw.encode())
        assert (folder / "image").read_bytes() == content


def test_long_strings_elsewhere_change_nothing(tmp_path: Path) -> None:
    long = "A" * 8000
    given = body(output_filename="x", effects=["zoom_in"])
    raw = json.dumps({"a": long, long: [long, {"b": long}], "c": f'"{long}', **given})
    told = unpacked(tmp_path, raw.encode())
    assert told.filename == "x"
    assert told.options.effects == ("zoom_in",)
    assert (tmp_path / "audio").read_bytes() == b"sound"
