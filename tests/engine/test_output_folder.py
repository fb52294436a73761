"""Output folders that cannot be written to: full, read-only or deleted, in virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import pytest

from cloudburst.errors import ClosedError, OutputWriteError
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from support.harness import checked, engine

pytestmark = pytest.mark.anyio


class Disk:
    """Has room for a number of videos; says of each scene whether it lies on this disk."""

    def __init__(self, room, of=lambda _: True):
        self.room = room
        self.of = of
        self.refused = []
        """Times of the writes that failed."""

    def write(self, scene):
        if self.of(scene):
            if self.room <= 0:
                self.refused.append(anyio.current_time())
                raise OutputWriteError(f"{scene}.mp4.part cannot be written: No space left")
            self.room -= 1


class OnDisk(FakeCloud):
    """Its videos are written to a disk, and it notes when encodes begin."""

    def __init__(self, disk, **facts):
        super().__init__(**facts)
        self.disk = disk
        self.begun = []

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets) as renderer:
            generate, download = renderer.encode, renderer.download

            async def generating(upload, *, progress):
                self.begun.append((anyio.current_time(), upload.scene))
                return await generate(upload, progress=progress)

            async def downloading(output, to, *, on_verified=None, remote=None):
                await anyio.sleep(1)
                self.disk.write(output.scene)
                return await download(output, to, on_verified=on_verified)

            renderer.encode, renderer.download = generating, downloading
            yield renderer

    def begun_after(self, time, of=""):
        return [scene for began, scene in self.begun if began > time and scene.startswith(of)]


async def test_a_disk_that_stays_full_ends_the_run_and_keeps_what_is_there():
    disk = Disk(room=8)
    cloud = OnDisk(disk, boot=5, encode=10, encoders=2)
    async with engine(cloud, limits=Limits(workers=4)) as eng:
        report = await eng.render([f"s{number}" for number in range(60)])
        assert not cloud.running
    assert report.status is Status.PARTIAL
    assert len(report.videos) == 8
    assert "No space left" in report.problem
    assert "resume" in report.problem
    full = disk.refused[0]
    assert not cloud.begun_after(full), "no encode begins once a write has failed"
    assert full + 60 <= report.wall_seconds < full + 75, "a minute in which space may be made"
    assert {type(error) for error in report.errors} == {OutputWriteError}
    assert len(report.errors) == 52


async def test_when_space_is_made_nothing_is_encoded_twice():
    disk = Disk(room=3)
    cloud = OnDisk(disk, boot=5, encode=10, encoders=2)

    async def make_space():
        await anyio.sleep(45)
        disk.room = 1000

    async with (
        engine(cloud, limits=Limits(workers=3)) as eng,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(make_space)
        report = await eng.render([f"s{number}" for number in range(20)])
    assert report.status is Status.COMPLETE
    assert len(cloud.begun) == 20
    assert report.problem is None
    assert {scene.attempts for scene in report.scenes} == {1}
    assert not cloud.running


async def test_a_short_limit_for_a_scene_does_not_end_the_wait_for_space():
    disk = Disk(room=0)
    cloud = OnDisk(disk, boot=5, encode=5)

    async def make_space():
        await anyio.sleep(45)
        disk.room = 1000

    async with (
        engine(cloud, timeouts=Timeouts(scene=20), limits=Limits(workers=1)) as eng,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(make_space)
        report = await eng.render("ab")
    assert report.status is Status.COMPLETE
    assert len(cloud.begun) == 2


async def test_other_runs_of_the_client_go_on():
    disk = Disk(room=2, of=lambda scene: scene.startswith("full"))
    cloud = OnDisk(disk, boot=5, encode=10, encoders=2)
    reports = {}

    async def render(name):
        scenes = [checked(f"{name}{number}") for number in range(20)]
        reports[name] = await eng.render(scenes, name)

    async with (
        engine(cloud, limits=Limits(workers=2)) as eng,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(render, "full")
        tasks.start_soon(render, "well")
    assert reports["well"].status is Status.COMPLETE
    assert reports["full"].status is Status.PARTIAL
    assert len(reports["full"].videos) == 2
    full = disk.refused[0]
    assert not cloud.begun_after(full, "full")
    assert cloud.begun_after(full, "well")
    assert reports["well"].wall_seconds < 100 + 2 * 20


async def test_a_run_that_was_ended_can_be_rendered_again_under_its_name():
    disk = Disk(room=1)
    cloud = OnDisk(disk, encode=5)
    async with engine(cloud, limits=Limits(workers=1)) as eng:
        assert (await eng.render("abc")).status is Status.PARTIAL
        disk.room = 1000
        assert (await eng.render("abc")).status is Status.COMPLETE


async def test_a_worker_that_ends_meanwhile_does_not_leave_the_run_held():
    """Its videos are lost; they are encoded elsewhere, and written when there is space."""
    disk = Disk(room=0)
    cloud = OnDisk(disk, boot=5, encode=10, crashing_tasks={"fake-1": 30})

    async def make_space():
        await anyio.sleep(50)
        disk.room = 1000

    async with (
        engine(cloud, limits=Limits(workers=1)) as eng,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(make_space)
        report = await eng.render("abcd")
    assert report.status is Status.COMPLETE
    assert not cloud.running


@pytest.mark.parametrize("after", [12, 16.5, 20, 40])
async def test_a_run_that_is_left_while_it_waits_for_space_leaves_nothing(after):
    disk = Disk(room=0)
    cloud = OnDisk(disk, boot=5, encode=10, encoders=2)
    async with engine(cloud, limits=Limits(workers=2)) as eng:
        with anyio.move_on_after(after):
            await eng.render([f"s{number}" for number in range(20)])
        await anyio.sleep(5)
        assert not cloud.running
        assert len(cloud.launched) <= 2
        disk.room = 1000
        assert (await eng.render("ab", "another")).status is Status.COMPLETE


@pytest.mark.parametrize("after", [14, 17, 30])
async def test_a_client_that_is_left_while_a_run_waits_for_space_ends_it(after):
    disk = Disk(room=0)
    cloud = OnDisk(disk, boot=5, encode=10, encoders=2)
    reports = []

    async def render():
        reports.append(await eng.render([f"s{number}" for number in range(20)]))

    async with (
        engine(cloud, limits=Limits(workers=2)) as eng,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(render)
        await anyio.sleep(after)
        with anyio.fail_after(30):
            await eng.pool.stop_all()
    assert {type(error) for error in reports[0].errors} == {ClosedError}
    assert not cloud.running
