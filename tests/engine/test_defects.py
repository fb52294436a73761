"""Unexpected exceptions: each fails the scene or worker that it occurred in, and no other."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import pytest

from cloudburst.models.limits import Limits
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from support.harness import engine

pytestmark = pytest.mark.anyio


class Defective(FakeCloud):
    """Raises what no port promises: where, how often and for whom is said in advance."""

    def __init__(self, where, error, *, times=1, only=None, **facts):
        super().__init__(**facts)
        self.where = where
        self.error = error
        self.times = times
        self.only = only

    def hit(self, where, whom):
        if where == self.where and self.times and self.only in {None, whom}:
            self.times -= 1
            raise self.error

    async def launch(self, request):
        task = await super().launch(request)
        self.hit("launch", task)
        return task

    async def describe(self, task, *, refresh=False):
        self.hit("describe", task)
        return await super().describe(task, refresh=refresh)

    async def stop(self, task, *, reason):
        self.hit("stop", task)
        await super().stop(task, reason=reason)

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets) as renderer:
            for name in ("upload", "encode", "download"):
                setattr(renderer, name, self._hitting(name, getattr(renderer, name)))
            yield renderer

    def _hitting(self, name, call):
        async def hitting(of, *args, **more):
            await anyio.sleep(0.5)
            self.hit(name, getattr(of.scene, "name", of.scene))
            return await call(of, *args, **more)

        return hitting


ERRORS = [KeyError("tasks"), OSError(5, "Input/output error"), RecursionError("too deep")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["upload", "encode", "download"])
async def test_a_worker_that_is_hit_is_replaced_and_costs_no_scene(defects, where, error):
    cloud = Defective(where, error, only="s3", boot=1, encode=5, encoders=2)
    async with engine(cloud, limits=Limits(workers=2)) as eng:
        report = await eng.render([f"s{number}" for number in range(10)])
    assert report.status is Status.COMPLETE
    (failed,) = [worker.error for worker in report.workers if worker.error]
    assert f"unexpected {type(error).__name__}" in failed
    assert not cloud.running
    assert len(defects.records) == 1
    defects.records.clear()


@pytest.mark.parametrize("where", ["encode", "download"])
async def test_a_scene_that_hits_every_worker_costs_the_others_nothing(defects, where):
    cloud = Defective(where, KeyError("tasks"), times=10_000, only="s3", boot=1, encode=5)
    async with engine(cloud, limits=Limits(workers=2)) as eng:
        report = await eng.render([f"s{number}" for number in range(10)])
    assert report.status is Status.PARTIAL
    assert len(report.videos) == 9
    (failed,) = [scene for scene in report.scenes if scene.error]
    assert failed.scene == "s3"
    assert len(cloud.launched) <= 12
    assert not cloud.running
    defects.records.clear()


@pytest.mark.parametrize("where", ["launch", "describe", "stop"])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_task_that_is_hit_is_stopped_and_costs_no_scene(defects, where, times):
    cloud = Defective(where, KeyError("tasks"), times=times, boot=1, encode=5)
    async with engine(cloud, limits=Limits(workers=2)) as eng:
        report = await eng.render([f"s{number}" for number in range(6)])
        assert report.status is Status.COMPLETE
        assert not any(worker.possibly_running for worker in report.workers)
        assert not cloud.running
    assert len(defects.records) == times
    defects.records.clear()


@pytest.mark.parametrize("where", ["launch", "describe"])
async def test_a_scene_that_never_ends_starts_a_bounded_number_of_tasks(defects, where):
    cloud = Defective(where, KeyError("tasks"), times=10_000, boot=1, encode=5)
    async with engine(cloud, limits=Limits(workers=2, attempts=3)) as eng:
        report = await eng.render([f"s{number}" for number in range(6)])
        assert report.status is Status.FAILED
        assert len(report.errors) == 6
    cloud.times = 0
    assert len(cloud.launched) <= 6
    defects.records.clear()
