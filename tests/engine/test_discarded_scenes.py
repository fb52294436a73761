"""Uploaded scenes that are not encoded: their workers are told so, whatever the reason is."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest

from cloudburst.errors import EncodeError
from cloudburst.models.limits import Limits
from cloudburst.models.task import TaskId
from cloudburst.testing import FakeCloud
from cloudburst.testing.fake import FakeRenderer
from support.harness import engine

pytestmark = pytest.mark.anyio


class Renderer(FakeRenderer):
    async def upload(self, scene, **more):
        uploaded = await super().upload(scene, **more)
        self.cloud.uploaded.append(scene.scene.name)
        return uploaded

    async def encode(self, upload, *, progress):
        self.cloud.begun.append(upload.scene)
        return await super().encode(upload, progress=progress)

    def discard(self, upload):
        self.cloud.discarded.append(upload.scene)
        if self.cloud.defect is not None:
            raise self.cloud.defect


@dataclass(eq=False)
class Cloud(FakeCloud):
    uploaded: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)
    defect: Exception | None = None

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        yield Renderer(self, TaskId(address))


@pytest.mark.parametrize("defect", [None, KeyError("a defect")])
async def test_a_run_that_is_left(defects, defect):
    cloud = Cloud(encode=100.0, defect=defect)
    async with engine(cloud, limits=Limits(workers=1)) as e, e.open(["a", "b", "c"]):
        await anyio.sleep(50)
    assert len(cloud.begun) == 1
    assert len(cloud.uploaded) > 1
    assert sorted(cloud.begun + cloud.discarded) == sorted(cloud.uploaded)
    assert len(defects.records) == (len(cloud.discarded) if defect else 0)
    defects.records.clear()


async def test_encoded_scenes_are_not_discarded():
    cloud = Cloud(broken_scenes={"b"})
    async with engine(cloud, limits=Limits(workers=1)) as e:
        report = await e.render(["a", "b", "c"])
    assert [type(error) for error in report.errors] == [EncodeError]
    assert cloud.discarded == []
