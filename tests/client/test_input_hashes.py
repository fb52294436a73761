"""When the contents of input files are read, how often, and what is noticed then."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from cloudburst import Client, Limits, RenderOptions, Status
from cloudburst.models.file_versions import FileVersion
from cloudburst.outputs.journal.reader import journal_path, read_journal
from cloudburst.ports.renderer import DownloadedVideo
from cloudburst.testing import FakeCloud
from cloudburst.testing.fake import FakeRenderer

pytestmark = pytest.mark.anyio
LONG_AGO = (1_000_000_000_000_000_000,) * 2


@pytest.fixture
def anyio_backend():
    return "asyncio"  # files are read in threads


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def scenes(make_scene):
    """Scenes whose files were written long ago."""
    found = [make_scene(name) for name in "abcd"]
    for scene in found:
        for field in ("image_path", "audio_path"):
            os.utime(scene[field], ns=LONG_AGO)
    return found


@pytest.fixture
def hashed(monkeypatch):
    """Number of times that each file was hashed, by its name."""
    count, real = Counter(), FileVersion.compute_sha256

    def compute(version, *more):
        count[version.path.name] += 1
        return real(version, *more)

    monkeypatch.setattr(FileVersion, "compute_sha256", compute)
    return count


async def rendered(cloud, scenes, out, **more):
    async with Client(cloud.backend, limits=more.pop("limits", Limits(workers=1))) as client:
        return await client.render_all(scenes, to=out, **more)


async def test_first_launch_precedes_the_reading_of_any_content(scenes, out, hashed):
    cloud = FakeCloud(boot=60)
    for scene in scenes:
        os.truncate(scene["audio_path"], 50_000_000)  # which takes no room on the disk
    before = _bytes_read()
    async with (
        Client(cloud.backend, limits=Limits(workers=2)) as client,
        client.stream(scenes, to=out),
    ):
        with anyio.fail_after(30):
            while not cloud.launched:  # noqa: ASYNC110 - the fake has no event for it
                await anyio.sleep(0.002)
        assert _bytes_read() - before < 20_000_000  # most of them of imports
    assert not hashed


def _bytes_read() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(lines[0].removeprefix("rchar: "))


async def test_a_file_of_several_scenes_is_hashed_once_by_several_workers(
    scenes, out, hashed, make_scene
):
    mark = Path(make_scene("mark")["image_path"])
    options, limits = RenderOptions(watermark=mark), Limits(workers=4)
    report = await rendered(FakeCloud(encoders=2), scenes, out, options=options, limits=limits)
    assert report.status is Status.COMPLETE
    files = {Path(scene[field]).name for scene in scenes for field in ("image_path", "audio_path")}
    assert hashed == Counter({*files, mark.name})


@pytest.mark.parametrize("change", ["content", "time", "gone"])
async def test_a_file_replaced_between_check_and_sending_fails_its_scene_only(scenes, out, change):
    path = Path(scenes[3]["image_path"])
    kept = await anyio.Path(path).read_bytes()

    def encode(scene):
        if scene == "a":  # the last one is not sent yet
            if change == "gone":
                path.unlink()
            else:
                path.write_bytes(kept + b" " * (change == "content"))
        return 0

    report = await rendered(FakeCloud(encode=encode, encoders=1), scenes, out, name="night")
    assert report.status is Status.PARTIAL
    assert [video.scene for video in report.videos] == ["a", "b", "c"]
    (error,) = report.errors
    assert (error.scene, error.field, error.retryable) == ("d", "image", False)
    meaning = "No such file" if change == "gone" else "changed since the run began; resume the run"
    assert meaning in str(error)
    assert str(path) in str(error)
    state = read_journal(journal_path(out, "night"))
    assert state.scene_failures["d"].fingerprint == ""
    assert state.scenes.keys() == {"a", "b", "c", "d"}


async def test_the_journal_has_hashes_of_files_that_were_not_just_written(scenes, out):
    os.utime(scenes[0]["image_path"])
    await rendered(FakeCloud(), scenes[:2], out, name="night")
    state = read_journal(journal_path(out, "night"))
    kept = {name: {v.path for v, _ in entry.files} for name, entry in state.results.items()}
    assert kept == {
        "a": {Path(scenes[0]["audio_path"])},
        "b": {Path(scenes[1]["image_path"]), Path(scenes[1]["audio_path"])},
    }


async def test_leaving_the_block_ends_the_hashing(scenes, out, monkeypatch):
    reading, blocks = threading.Event(), []

    def endless(version, on_block):
        while True:
            reading.set()
            blocks.append(threading.Event().wait(0.005))
            on_block()

    monkeypatch.setattr(FileVersion, "compute_sha256", endless)
    with anyio.fail_after(10):
        async with (
            Client(FakeCloud().backend) as client,
            client.stream(scenes, to=out),
        ):
            await anyio.to_thread.run_sync(reading.wait)
    seen = len(blocks)
    await anyio.sleep(0.05)
    assert len(blocks) == seen


class Writing(FakeCloud):
    """Fake whose videos are files, so that a resumed run can keep them."""

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        yield _Writing(self, address)


class _Writing(FakeRenderer):
    async def download(self, output, to, *, on_verified=None, remote=None):
        to.write_bytes(b"video")
        sha256 = hashlib.sha256(b"video").hexdigest()
        download = DownloadedVideo(path=to, size=5, sha256=sha256)
        await on_verified(download)
        return download


@pytest.mark.parametrize("touched", [False, True])
async def test_a_resumed_run_hashes_only_files_whose_version_differs(scenes, out, hashed, touched):
    cloud = Writing()
    await rendered(cloud, scenes, out, name="night")
    hashed.clear()
    if touched:
        os.utime(scenes[0]["image_path"])
    report = await rendered(cloud, scenes, out, name="night", resume=True)
    assert set(report.skipped) == set("abcd")
    assert hashed == ({"a.png": 1} if touched else {})


async def test_a_resumed_run_renders_scenes_with_other_contents_again(scenes, out, hashed):
    cloud = Writing()
    await rendered(cloud, scenes, out, name="night")
    hashed.clear()
    picture = anyio.Path(scenes[0]["image_path"])
    await picture.write_bytes(await picture.read_bytes() + b" ")
    report = await rendered(cloud, scenes, out, name="night", resume=True)
    assert (report.status, set(report.skipped)) == (Status.COMPLETE, set("bcd"))
    assert hashed == {"a.png": 1}  # for the comparison, and known when it is sent


async def test_a_resumed_run_with_other_options_reads_no_file(scenes, out, hashed):
    cloud = Writing()
    await rendered(cloud, scenes, out, name="night")
    hashed.clear()
    other = RenderOptions(fps=60)
    report = await rendered(cloud, scenes, out, name="night", resume=True, options=other)
    assert (report.status, report.skipped) == (Status.COMPLETE, ())
    assert not hashed


async def test_a_resumed_run_reads_no_file_of_a_scene_that_was_not_rendered(scenes, out, hashed):
    cloud = Writing(boot=60)
    await rendered(Writing(), scenes[:2], out, name="night")
    hashed.clear()
    async with (
        Client(cloud.backend, limits=Limits(workers=1)) as client,
        client.stream(scenes, to=out, name="night", resume=True),
    ):
        with anyio.fail_after(30):
            while not cloud.launched:  # noqa: ASYNC110 - the fake has no event for it
                await anyio.sleep(0.002)
    assert not hashed
