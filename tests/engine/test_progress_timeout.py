"""Scenes that encode for longer than ``Timeouts.scene``, in virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from cloudburst.errors import SceneTimeoutError
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from support.harness import checked, engine

pytestmark = pytest.mark.anyio


class Stalling(FakeCloud):
    """Its workers report the same share of progress again and again, and never finish."""

    def __init__(self, shares):
        super().__init__()
        self.shares = shares

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets) as renderer:

            async def encode(upload, *, progress):
                for share in self.shares:
                    await anyio.sleep(500)
                    progress(share)
                while True:
                    await anyio.sleep(100)
                    progress(self.shares[-1])

            renderer.encode = encode
            yield renderer


@pytest.mark.few(1)
@pytest.mark.parametrize("seconds", [1000, 2400, 8000])
async def test_a_scene_that_makes_progress_is_not_abandoned(seconds):
    """2,400 s is an hour of audio with zoom on two vCPU."""
    cloud = FakeCloud(encode=seconds)
    async with engine(cloud, limits=Limits(workers=1)) as eng:
        report = await eng.render([checked("a", 3600)])
    assert report.status is Status.COMPLETE
    assert report.scenes[0].attempts == 1


async def test_a_scene_is_abandoned_when_its_progress_stalls():
    cloud = Stalling([0.1, 0.2, 0.3])
    async with engine(cloud, limits=Limits(workers=1, attempts=1)) as eng:
        report = await eng.render([checked("a", 3600)])
    assert isinstance(report.errors[0], SceneTimeoutError)
    assert "no progress for 900.0 s" in str(report.errors[0])
    assert report.wall_seconds == pytest.approx(1500 + 900, abs=10)
    assert not cloud.running


async def test_reports_that_bring_nothing_new_are_no_progress():
    cloud = Stalling([0.5])
    async with engine(cloud, limits=Limits(workers=1, attempts=1)) as eng:
        report = await eng.render(["a"])
    assert report.wall_seconds == pytest.approx(500 + 900, abs=10)


async def test_without_progress_reports_a_long_scene_has_longer_in_proportion():
    class Silent(Stalling):
        @asynccontextmanager
        async def backend(self, timeouts, tier):
            async with super().backend(timeouts, tier) as backend:
                yield replace(backend, encode_timeout_factor=10.0)

    cloud = Silent([0.0])
    limits = Limits(workers=1, attempts=1)
    async with engine(cloud, limits=limits, timeouts=Timeouts(scene=60)) as eng:
        report = await eng.render([checked("a", 1500)])
    assert report.wall_seconds == pytest.approx(60 + 10 * 1500, abs=10)
