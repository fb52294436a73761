"""Workers that are ready and of no use: a full disk, nonsense, failure after failure."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from cloudburst.errors import RenderFailedError, WorkerDiskFullError, WorkerError
from cloudburst.models.failures import classify_stop
from cloudburst.models.limits import Limits
from cloudburst.models.report import Status
from cloudburst.models.task import TaskState
from cloudburst.testing import FakeCloud
from support.harness import checked, engine

pytestmark = pytest.mark.anyio


class Small(FakeCloud):
    """Each worker's disk has room for a number of scenes; ``where`` it is told that it is full."""

    def __init__(self, room, where="upload", **facts):
        super().__init__(**facts)
        self.room = room
        self.where = where
        self.taken = {}
        self.begun = []

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets) as renderer:
            upload, generate = renderer.upload, renderer.encode

            def take():
                self.taken[address] = self.taken.get(address, 0) + 1
                if self.taken[address] > self.room(address):
                    raise WorkerDiskFullError("the worker's disk is full: no room for 717 bytes")

            async def uploading(scene, **more):
                if self.where == "upload":
                    take()
                return await upload(scene, **more)

            async def generating(made, *, progress):
                if self.where == "encode":
                    take()
                self.begun.append(made.scene)
                return await generate(made, progress=progress)

            renderer.upload, renderer.encode = uploading, generating
            yield renderer


WHERE = pytest.mark.parametrize("where", ["upload", "encode"])


@WHERE
async def test_a_full_disk_sends_its_scenes_to_another_worker_at_once(where):
    cloud = Small(lambda task: 0 if task == "fake-1" else 99, where, boot=1, encode=5)
    async with engine(cloud, limits=Limits(workers=2, attempts=1)) as eng:
        report = await eng.render("abcd")
    assert report.status is Status.COMPLETE
    assert report.wall_seconds < 40
    (full,) = [worker for worker in report.workers if worker.task == "fake-1"]
    assert full.error.startswith("WorkerDiskFullError")
    assert not cloud.running


@WHERE
async def test_what_encodes_on_a_worker_whose_disk_fills_up_is_kept(where):
    cloud = Small(lambda _: 3, where, boot=1, encode=50, encoders=2)
    async with engine(cloud, limits=Limits(workers=1)) as eng:
        report = await eng.render([f"s{number}" for number in range(12)])
    assert report.status is Status.COMPLETE
    assert len(cloud.begun) == 12, "no encode is lost"
    assert cloud.max_running == 1


@WHERE
async def test_full_disks_everywhere_end_the_run_and_say_what_to_do(where):
    cloud = Small(lambda _: 0, where, boot=1, encode=5)
    async with engine(cloud, limits=Limits(workers=2, attempts=3)) as eng:
        report = await eng.render([f"s{number}" for number in range(50)])
        assert report.status is Status.FAILED
        assert "CLOUDBURST_EPHEMERAL_STORAGE" in report.problem
        assert "no room for 717 bytes" in report.problem
        assert {type(error) for error in report.errors} == {WorkerDiskFullError}
        assert len(cloud.launched) <= 4
        assert report.wall_seconds < 20
        assert not cloud.running
        cloud.room = lambda _: 99
        assert (await eng.render("ab")).status is Status.COMPLETE, "mended: the client works"


class Bad(FakeCloud):
    """Some of its workers fail with every scene."""

    def __init__(self, bad, error, **facts):
        super().__init__(**facts)
        self.bad = bad
        self.error = error

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets) as renderer:
            if address in self.bad:

                async def encode(upload, *, progress):
                    await anyio.sleep(0.5)
                    raise self.error(f"{upload.scene}: nonsense")

                renderer.encode = encode
            yield renderer


async def test_a_worker_that_fails_with_every_scene_does_not_fail_them():
    """It fails faster than others encode, and so is offered one scene after the other."""
    cloud = Bad({"fake-1"}, RenderFailedError, boot=1, encode=10)
    async with engine(cloud, limits=Limits(workers=3)) as eng:
        report = await eng.render([f"s{number}" for number in range(30)])
    assert report.status is Status.COMPLETE
    assert max(scene.attempts for scene in report.scenes) <= 2


async def test_workers_that_answer_nonsense_are_not_replaced_for_ever():
    cloud = Bad({f"fake-{number}" for number in range(1, 99)}, WorkerError, boot=1)
    async with engine(cloud, limits=Limits(workers=2, attempts=3)) as eng:
        report = await eng.render([checked(f"s{number}") for number in range(50)])
    assert report.status is Status.FAILED
    assert len(report.errors) == 50
    assert len(cloud.launched) <= 4
    assert report.problem
    assert not cloud.running


class Exiting(FakeCloud):
    """The program of some tasks exits with a code as soon as it is started."""

    def __init__(self, codes, **facts):
        super().__init__(boot=1, **facts)
        self.codes = codes

    async def describe(self, task, *, refresh=False):
        status = await super().describe(task, refresh=refresh)
        code = self.codes.get(int(task.rpartition("-")[2]))
        if code is None or status.state is not TaskState.RUNNING:
            return status
        failure = classify_stop("EssentialContainerExited", [], [code])
        return replace(status, state=TaskState.STOPPED, reason=f"exit code {code}", failure=failure)


@pytest.mark.parametrize(("code", "tasks"), [(1, 2), (2, 2), (127, 1), (132, 3), (139, 3)], ids=str)
async def test_a_program_that_exits_at_start_is_started_twice(code, tasks):
    """Not so one that a signal ends: that may be for a reason of the machine."""
    cloud = Exiting(dict.fromkeys(range(1, 99), code))
    async with engine(cloud, limits=Limits(workers=1, attempts=3)) as eng:
        report = await eng.render("abc")
        assert report.status is Status.FAILED
        assert len(cloud.launched) == tasks
        told = "; 2 tasks in a row exited before they were ready"
        assert [told in str(error) for error in report.errors] == [tasks == 2] * 3
        assert not cloud.running
        cloud.codes = {}
        assert (await eng.render("ab")).status is Status.COMPLETE, "the client works again"


async def test_starts_at_once_of_a_program_that_exits_are_not_repeated():
    cloud = Exiting(dict.fromkeys(range(1, 99), 1))
    async with engine(cloud, limits=Limits(workers=4, attempts=9)) as eng:
        report = await eng.render([f"s{number}" for number in range(50)])
    assert report.status is Status.FAILED
    assert len(cloud.launched) <= 5, "four at once, and one more after the first exit"
    assert not cloud.running


@pytest.mark.parametrize("codes", [{1: 1}, {1: 1, 2: 139, 3: 1}], ids=["one", "others"])
async def test_one_exit_at_start_does_not_end_a_run(codes):
    cloud = Exiting(codes)
    async with engine(cloud, limits=Limits(workers=1, attempts=4)) as eng:
        report = await eng.render("abc")
    assert report.status is Status.COMPLETE
    assert len(cloud.launched) == len(codes) + 1


async def test_an_image_that_was_ready_once_is_not_given_up_after_two_exits():
    cloud = Exiting({2: 1, 3: 1}, encode=60, crashing_tasks={"fake-1": 10})
    async with engine(cloud, limits=Limits(workers=1, attempts=3)) as eng:
        report = await eng.render("abc")
    assert report.status is Status.COMPLETE
    assert len(cloud.launched) == 4
