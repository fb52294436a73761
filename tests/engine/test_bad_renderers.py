"""Workers that misbehave in ways that no adapter has foreseen."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from cloudburst.engine.attempt_context import SceneContext
from cloudburst.errors import CloudburstError, EncodeError, WorkerProtocolError
from cloudburst.models.limits import Limits
from cloudburst.models.report import Status
from cloudburst.models.scene import max_video_bytes
from cloudburst.models.task import TaskId
from cloudburst.redaction import SecretOwner, hide_secrets
from cloudburst.testing import FakeCloud
from cloudburst.testing.fake import FakeRenderer
from support.harness import checked, engine

pytestmark = pytest.mark.anyio


class Bad(FakeRenderer):
    """Raises in one method what no port allows."""

    method = ""
    error: Exception = KeyError("a defect")

    async def _call(self, method, *args, **more):
        if method == self.method:
            raise self.error
        return await getattr(super(), method)(*args, **more)

    async def is_healthy(self):
        return await self._call("is_healthy")

    async def upload(self, *args, **more):
        return await self._call("upload", *args, **more)

    async def encode(self, *args, **more):
        return await self._call("encode", *args, **more)

    async def download(self, *args, **more):
        return await self._call("download", *args, **more)


def bad(method, error):
    return type("BadOne", (Bad,), {"method": method, "error": error})


class Warns(FakeRenderer):
    """Repeats a URL in the warnings of its videos."""

    async def encode(self, *args, **more):
        video = await super().encode(*args, **more)
        return replace(video, warnings=("the server of ?sig=a1b2c3 is down",))


class CutsOff(FakeRenderer):
    """Finds the end of the audio of every scene after 12 of 30 seconds."""

    async def encode(self, upload, **more):
        return replace(await super().encode(upload, **more), seconds=0.4 * upload.audio_seconds)


class Cloud(FakeCloud):
    """The first ``count`` workers are bad ones."""

    def __init__(self, kind, *, count=1, **more):
        super().__init__(**more)
        self.kind, self.count, self.opened = kind, count, 0

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        self.opened += 1
        kind = self.kind if self.opened <= self.count else FakeRenderer
        yield kind(self, TaskId(address))
        if kind.__name__ == "LeavesBadly":
            raise ValueError("while it was closed")


class LeavesBadly(FakeRenderer):
    pass


@pytest.mark.parametrize("method", ["is_healthy", "upload", "encode", "download"])
@pytest.mark.parametrize(
    "error", [KeyError("a defect"), OSError("no"), ExceptionGroup("", [OSError()])]
)
async def test_an_exception_that_nobody_foresaw_is_an_error_of_that_worker(method, error, defects):
    cloud = Cloud(bad(method, error))
    async with engine(cloud, limits=Limits(workers=2)) as e:
        report = await e.render([f"s{number}" for number in range(6)])
    assert report.status is Status.COMPLETE
    (lost,) = [worker for worker in report.workers if worker.error]
    assert type(error).__name__ in lost.error
    assert len(defects.records) == 1
    defects.records.clear()
    assert not cloud.running


async def test_an_exception_while_a_line_is_closed_ends_no_run(defects):
    cloud = Cloud(LeavesBadly)
    async with engine(cloud) as e:
        report = await e.render(["a", "b"])
    assert report.status is Status.COMPLETE
    assert not cloud.running
    assert defects.records
    defects.records.clear()


async def test_defect_while_a_result_is_journaled_is_not_the_workers(monkeypatch, defects):
    async def defect(*_, **__):
        raise KeyError("the journal's defect")

    monkeypatch.setattr(SceneContext, "write_result", defect)
    cloud = FakeCloud()
    async with engine(cloud) as e:
        report = await e.render(["a"])
    (failed,) = report.errors
    assert "the journal's defect" in str(failed)
    assert not [worker for worker in report.workers if worker.error]
    assert len(cloud.launched) == 1
    assert defects.records
    defects.records.clear()


async def test_a_worker_cannot_show_the_query_of_an_input():
    """It knows the URLs that it fetches, and may repeat them in any text."""
    hide_secrets("sig=a1b2c3", owner=SecretOwner.INPUT)
    texts = "the server of ?sig=a1b2c3 is down"
    error = EncodeError(texts, scene="a", field=texts)
    cloud = Cloud(bad("encode", error))
    async with engine(cloud, limits=Limits(workers=1)) as e:
        report = await e.render(["a"])
    (failed,) = report.errors
    assert (str(failed), failed.field) == ("the server of ?*** is down",) * 2
    cloud = Cloud(Warns, count=1)
    async with engine(cloud) as e:
        report = await e.render(["a"])
    assert report.videos[0].warnings == ("the server of ?*** is down",)


async def test_audio_that_ends_long_before_its_header_says_is_a_warning():
    async with engine(Cloud(CutsOff)) as e:
        report = await e.render([checked("a", 30.0)])
    text = "audio: 12.0 s, 30.0 s by its header: check the file"
    assert report.videos[0].warnings == (text,)


async def test_strangers_only_are_not_started_for_ever():
    error = WorkerProtocolError("it answers nonsense")
    cloud = Cloud(bad("encode", error), count=1000)
    async with engine(cloud, limits=Limits(workers=1, attempts=3)) as e:
        report = await e.render([f"s{number}" for number in range(20)])
    assert report.status is Status.FAILED
    assert all(isinstance(error, CloudburstError) for error in report.errors)
    assert len(report.errors) == 20
    assert cloud.opened == 3


def test_the_bound_grows_with_the_sound():
    assert max_video_bytes(0) == max_video_bytes(-1) > 10**7
    assert max_video_bytes(3600) < 2 * 10**11
