"""Whole runs with files in S3 and on this machine.

S3 is emulated; the workers answer on loopback.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile

import anyio
import pytest

from cloudburst import Client, Limits, Status, Timeouts, endpoints
from cloudburst.errors import InvalidScenesError
from cloudburst.models.locations import S3Object
from cloudburst.models.transfers import FetchRequest, PutPart
from support.bad_workers import KEY, SHA256, VIDEO, Reply, Request, Worker, http, serving
from support.s3_account import (
    BUCKET,
    account,
    content,
    fetch,
    keys,
    obj,
    put,
    send,
    settings_of,
    sha256,
)

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(60)]

SCENES = ("one", "two", "three")


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def emulator():
    with account() as running:
        put(running, S3Object(BUCKET, "first"))  # makes the folder of the emulator
        yield running


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Return the folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return folder


@pytest.fixture
def run(emulator, make_scene, temporary, caplog):
    return emulator, make_scene, temporary, caplog


class HonestWorker(Worker):
    """A worker that makes the transfers it is asked for."""

    async def behave(self, request: Request) -> Reply:
        if request.route == "POST fetches":
            asked = FetchRequest.model_validate_json(request.body)
            assert asked.url.get_secret_value().startswith("http://127.0.0.1"), "an object in S3"
            _, _, data = await fetch(asked)
            return line(received=len(data), sha256=sha256(data))
        if request.route == "POST uploads":
            (part,) = json.loads(request.body)["parts"]
            status, code, etag = await send(PutPart.model_validate(part), VIDEO)
            if status == 412:
                return line(failure={"problem": "exists", "reason": code, "status": status})
            assert status == 200, code
            return line(sent=len(VIDEO), etags=[etag])
        return await super().behave(request)


def line(**values: object) -> Reply:
    return http(json.dumps(values).encode() + b"\n")


async def test_public_image_gets_and_writes_nothing_in_s3(run):
    emulator, make_scene, _, _ = run
    files = make_scene("a", seconds=0.1)
    await anyio.to_thread.run_sync(put, emulator, obj("a.png"), await read(files["image_path"]))
    files["image_path"] = f"s3://{BUCKET}/a.png"
    backend, settings = endpoints("http://127.0.0.1:1", protocol="onestep"), settings_of(emulator)
    async with Client(backend, settings=settings) as client:
        with pytest.raises(InvalidScenesError) as raised:
            await client.render_all([files], to=f"s3://{BUCKET}/out/")
    assert [(fault.scene, fault.field) for fault in raised.value.faults] == [
        ("a", "image"),
        ("", "to"),
    ]
    assert not [key for key in keys(emulator) if key.startswith("out/")], "nothing is left"


async def test_a_run(run):
    emulator, make_scene, temporary, caplog = run
    caplog.set_level(logging.DEBUG)
    folder, scenes = "native/", []
    for name in SCENES:
        files = make_scene(name, seconds=0.1)
        await anyio.to_thread.run_sync(
            put, emulator, obj(f"{folder}{name}.png"), await read(files["image_path"])
        )
        files["image_path"] = f"s3://{BUCKET}/{folder}{name}.png"
        scenes.append(files)
    async with (
        serving(HonestWorker()) as worker,
        Client(
            endpoints(worker.url, key=KEY, protocol="native"),
            settings=settings_of(emulator),
            timeouts=Timeouts(settle=0.0),
            limits=Limits(workers=1),
        ) as client,
    ):
        report = await client.render_all(scenes, to=f"s3://{BUCKET}/{folder}out/")
    report.raise_for_failures()
    assert report.status is Status.COMPLETE
    for name, video in zip(SCENES, report.videos, strict=True):
        assert video.path == obj(f"{folder}out/{name}.mp4")
        assert (video.sha256, content(emulator, video.path)) == (SHA256, VIDEO)
    assert {key for key in keys(emulator) if key.startswith(f"{folder}out/")} == {
        f"{folder}out/{name}.mp4" for name in SCENES
    }, "nothing is left"
    assert list(temporary.iterdir()) == []
    shown = caplog.text + report.model_dump_json()
    assert not re.search("X-Amz-Signature=[0-9a-f]", shown)


async def test_an_object_names_the_inputs_of_which_it_is_made(run):
    """A picture that is replaced after the check fails, and is rendered when the run is resumed."""
    emulator, make_scene, _, _ = run
    files = make_scene("one", seconds=0.1)
    picture = anyio.Path(files["image_path"])
    first = await picture.read_bytes()
    second = await read(make_scene("two", color="gold")["image_path"])

    class Replacing(HonestWorker):
        async def behave(self, request: Request) -> Reply:
            if request.route == "GET health":
                await picture.write_bytes(second)
            return await super().behave(request)

    async def render(worker: Worker) -> tuple[str, ...] | None:
        async with (
            serving(worker) as served,
            Client(
                endpoints(served.url, key=KEY, protocol="native"),
                settings=settings_of(emulator),
                timeouts=Timeouts(settle=0.0),
            ) as client,
        ):
            report = await client.render_all([files], to=f"s3://{BUCKET}/changed/", resume=True)
        assert not report.errors or "changed since the run began" in str(report.errors[0])
        return report.skipped if report.videos else None

    assert await render(Replacing()) is None
    assert await render(HonestWorker()) == ()
    assert await render(HonestWorker()) == ("one",), "made of the second picture"
    await picture.write_bytes(first)
    assert await render(HonestWorker()) == ()


async def read(path: str) -> bytes:
    return await anyio.Path(path).read_bytes()
