"""Inputs and scenes in S3, against an emulated account."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import aioboto3
import pytest
from aiobotocore.credentials import AioCredentialResolver, AioDeferredRefreshableCredentials
from aiobotocore.session import get_session
from PIL import Image

from cloudburst.client.resources import RemoteAccess
from cloudburst.client.run_inputs import check_inputs
from cloudburst.errors import ConfigurationError, CredentialsError, InvalidScenesError
from cloudburst.inputs.media_checks import EXPECTED_PICTURE
from cloudburst.inputs.preflight import check_scenes
from cloudburst.inputs.remote_inputs import BLOCK_BYTES, open_remote_inputs
from cloudburst.inputs.scenes import read_scenes
from cloudburst.models.limits import Backoff, Limits
from cloudburst.models.options import RenderOptions
from cloudburst.testing import s3_fault
from support.s3_account import ABROAD, BUCKET, obj, operations, put, settings_of


@pytest.fixture(autouse=True)
def quick_repeats(monkeypatch):
    monkeypatch.setattr(
        "cloudburst.aws.client.client.CALL_BACKOFF", Backoff(first=0.01, factor=1.0, cap=0.01)
    )


@pytest.fixture
def remote(emulator):
    with open_remote_inputs(settings_of(emulator)) as remote:
        yield remote


def picture() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((200, 300), 90).save(file, "PNG")
    return file.getvalue()


def test_scenes_of_a_folder_are_checked(emulator, remote, folder):
    for name in ("a ü+%.png", "b.png"):
        put(emulator, folder.object(name), picture())
    for name in ("a ü+%.mp3", "b.mp3"):
        put(emulator, folder.object(name), (b"\xff\xfb\x90\x64" + bytes(413)) * 200)
    put(emulator, folder.object("inner/c.mp3"))
    put(emulator, folder.object("b.srt"), b"1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    begin = len(emulator.calls)
    scenes = read_scenes(str(folder), remote=remote)
    assert [scene["name"] for scene in scenes] == ["a ü+%", "b"]
    checked = check_scenes(scenes, RenderOptions(), Limits(), remote=remote)
    assert [scene.upright for scene in checked] == [True, True]
    assert checked[1].audio_seconds == pytest.approx(200 * 1152 / 44100, abs=0.1)
    version = remote.files[folder.object("b.srt")].version
    assert version.startswith('etag "')
    assert version.endswith(" 38")
    called = operations(emulator, begin)
    assert called.count("GetObject") == 7
    assert remote.bytes_read <= 6 * BLOCK_BYTES + 38


def test_plain_http_to_another_machine_is_refused(emulator, folder):
    scene = {"name": "a", "image": str(folder.object("a.png")), "duration": 1}
    settings = settings_of(emulator, AWS_ENDPOINT_URL="http://store.example:9000")
    with (
        open_remote_inputs(settings) as remote,
        pytest.raises(ConfigurationError, match=r"store\.example.*AWS_ENDPOINT_URL_S3"),
    ):
        check_scenes([scene], RenderOptions(), Limits(), remote=remote)


def test_scene_files_name_objects(emulator, remote, folder):
    scenes = [{"name": "a", "image": "x/a.png", "duration": 1}]
    put(emulator, folder.object("scenes.json"), json.dumps(scenes).encode())
    (scene,) = read_scenes(f"{folder}scenes.json", remote=remote)
    assert scene["image"] == f"{folder}x/a.png"


def test_all_unreadable_files_are_in_one_error(emulator, remote, folder):
    image = str(folder.object("a.png"))
    put(emulator, obj("far.png", ABROAD), picture())
    put(emulator, folder.object("a.png"), picture())
    put(emulator, folder.object("empty.png"), b"")
    emulator.add_fault(s3_fault("slow down", "GetObject"))
    missing = "s3://no-such-bucket/a.png"
    scenes = [
        {"name": "good", "image": image, "duration": 1},
        {"name": "far", "image": f"s3://{ABROAD}/far.png", "duration": 1},
        {"name": "missing", "image": str(folder.object("none.png")), "duration": 1},
        {"name": "empty", "image": str(folder.object("empty.png")), "duration": 1},
        {"name": "no bucket", "image": missing, "duration": 1},
    ]
    with pytest.raises(InvalidScenesError) as caught:
        check_scenes(scenes, RenderOptions(), Limits(), remote=remote)
    assert list(map(str, caught.value.faults)) == [
        f"missing: image: no such object: {folder}none.png; expected {EXPECTED_PICTURE}",
        f"empty: image: an empty file: {folder}empty.png; expected {EXPECTED_PICTURE}",
        f"no bucket: image: no such bucket: {missing}; expected the name of a bucket that exists",
    ]
    with pytest.raises(ConfigurationError, match=r"^s3://no-such-bucket/: no such bucket"):
        read_scenes("s3://no-such-bucket/", remote=remote)


def test_a_denied_object(emulator, remote, folder):
    put(emulator, folder.object("a.png"), picture())
    scene = {"name": "a", "image": str(folder.object("a.png")), "duration": 1}
    emulator.add_fault(s3_fault("access denied", "GetObject"))
    with pytest.raises(InvalidScenesError, match=r"no permission to read it.*s3:GetObject"):
        check_scenes([scene], RenderOptions(), Limits(), remote=remote)
    check_scenes([scene], RenderOptions(), Limits(), remote=remote)
    emulator.add_fault(s3_fault("access denied", "ListObjectsV2"))
    with pytest.raises(ConfigurationError, match=r"no permission to read it; .*s3:ListBucket"):
        read_scenes(str(folder), remote=remote)


def test_wrong_credentials_end_the_check(emulator):
    scene = {"name": "a", "image": f"s3://{BUCKET}/a.png", "duration": 1}
    settings = settings_of(emulator, AWS_SECRET_ACCESS_KEY="f6g7h8i9j0")
    with (
        open_remote_inputs(settings) as remote,
        pytest.raises(CredentialsError),
    ):
        check_scenes([scene], RenderOptions(), Limits(), remote=remote)


@pytest.mark.anyio
async def test_the_session_of_a_caller_is_used_on_its_own_event_loop(emulator, folder):
    """Its locks belong to one loop."""
    put(emulator, folder.object("a.png"), picture())
    loops = []

    class Provider:
        METHOD = CANONICAL_NAME = "test"

        async def load(self):
            return AioDeferredRefreshableCredentials(self.refresh, self.METHOD)

        async def refresh(self):
            loops.append(asyncio.get_running_loop())
            soon = datetime.now(UTC) + timedelta(minutes=5)  # so soon that each request refreshes
            return {
                "access_key": emulator.environment["AWS_ACCESS_KEY_ID"],
                "secret_key": emulator.environment["AWS_SECRET_ACCESS_KEY"],
                "token": None,
                "expiry_time": soon.isoformat(),
            }

    session = get_session()
    session.register_component("credential_provider", AioCredentialResolver([Provider()]))
    own = aioboto3.Session(botocore_session=session, region_name="us-east-1")
    async with AsyncExitStack() as stack:
        access = RemoteAccess(stack, lambda: (settings_of(emulator), own))
        inputs = await check_inputs(
            [{"name": "a", "image": str(folder.object("a.png")), "duration": 1}],
            destination=await access.destination(f"{folder}out/"),
            options=RenderOptions(),
            limits=Limits(),
            film=None,
            remote=access.inputs(),
        )
    assert [str(file) for file in inputs.remote_files] == [str(folder.object("a.png"))]
    assert len(loops) > 3
    assert set(loops) == {asyncio.get_running_loop()}
