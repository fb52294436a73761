"""Tasks that start while input files are still read, and what becomes of them."""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
from pathlib import Path

import anyio
import pytest

from cloudburst import Client, Limits, Status
from cloudburst.client import run_inputs
from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.inputs.scene_fingerprints import ReadingStoppedError
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.task import usd_amount
from cloudburst.outputs.journal import journal_path, read_journal
from cloudburst.testing import FakeCloud

pytestmark = pytest.mark.anyio

FAULT = SceneFault(
    "a", "image", "changed since it was checked: a.png", "a file that stays the same"
)


@pytest.fixture
def anyio_backend():
    return "asyncio"  # files are read in threads


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


class Reading:
    """Reading of the input files that waits, and may find a fault."""

    def __init__(self, real):
        self.real = real
        self.gate = threading.Event()
        self.faults = ()
        self.threads = 0

    def __call__(self, *args, stop, **more):
        self.threads += 1
        try:
            while not self.gate.wait(0.002):
                if stop.is_set():
                    raise ReadingStoppedError
            if self.faults:
                raise InvalidScenesError(faults=self.faults)
            return self.real(*args, stop=stop, **more)
        finally:
            self.threads -= 1


@pytest.fixture
def reading(monkeypatch):
    waiting = Reading(run_inputs.add_fingerprints)
    monkeypatch.setattr(run_inputs, "add_fingerprints", waiting)
    monkeypatch.setattr(run_inputs, "EARLY_LAUNCH_DELAY", 0.02)
    return waiting


def scenes_of(make_scene, count=4):
    found = [make_scene(chr(ord("a") + number)) for number in range(count)]
    for scene in found:
        for name in ("image_path", "audio_path"):
            os.utime(scene[name], ns=(1, 1))
    return found


async def launched(cloud, count):
    with anyio.fail_after(30):
        while len(cloud.launched) < count:  # noqa: ASYNC110 - the fake has no event for it
            await anyio.sleep(0.002)


async def test_tasks_start_while_files_are_read_and_take_no_scene_before(reading, make_scene, out):
    cloud = FakeCloud(encode=0.01)
    async with (
        Client(cloud.backend, limits=Limits(workers=3), early_launch=True) as client,
        client.stream(scenes_of(make_scene), to=out, name="early") as run,
    ):
        await launched(cloud, 3)
        await anyio.sleep(0.1)  # all are ready, and have no scene
        assert [line.split()[0] for line in cloud.log] == ["launch"] * 3
        reading.gate.set()
        report = await run.until_done()
    assert report.status is Status.COMPLETE
    assert len(cloud.launched) == 3
    assert not cloud.running
    state = read_journal(journal_path(out, "early"))
    assert all(entry.fingerprint for entry in state.scenes.values())
    assert {entry.fingerprint for entry in state.results.values()} == {
        entry.fingerprint for entry in state.scenes.values()
    }


async def test_nothing_starts_before_the_check_by_default(reading, make_scene, out):
    cloud = FakeCloud()
    async with Client(cloud.backend) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.render_all(scenes_of(make_scene), to=out))
        await anyio.sleep(0.1)
        assert not cloud.launched
        reading.gate.set()
    assert len(cloud.launched) > 0


async def test_a_resumed_run_is_checked_first(reading, make_scene, out):
    cloud, scenes = FakeCloud(), scenes_of(make_scene)
    reading.gate.set()
    async with Client(cloud.backend, early_launch=True) as client:
        await client.render_all(scenes, to=out, name="r")
        reading.gate.clear()
        first = len(cloud.launched)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: client.render_all(scenes, to=out, name="r", resume=True))
            await anyio.sleep(0.1)
            assert len(cloud.launched) == first
            reading.gate.set()


@pytest.mark.parametrize("call", ["stream", "render_all"])
async def test_a_fault_that_is_found_later_stops_the_tasks_and_names_their_cost(
    reading, make_scene, out, call
):
    cloud = FakeCloud(boot=30, rates=US_EAST_1_RATES)
    reading.faults = (FAULT,)
    runs = []

    async def render(client):
        scenes = scenes_of(make_scene)
        if call == "render_all":
            await client.render_all(scenes, to=out, name="early")
        async with client.stream(scenes, to=out, name="early") as run:
            runs.append(run)
            await run.until_done()

    async def find_fault():
        await launched(cloud, 2)
        await anyio.sleep(0.05)
        reading.gate.set()

    async with (
        Client(cloud.backend, limits=Limits(workers=2), early_launch=True) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(find_fault)
        with pytest.raises(InvalidScenesError) as caught:
            await render(client)
        assert not cloud.running
    error = caught.value
    assert error.faults == (FAULT,)
    assert error.tasks == 2
    a_minute = 60 * (US_EAST_1_RATES.vcpu * 2 + US_EAST_1_RATES.memory_gb * 4)
    assert error.usd >= 2 * usd_amount(a_minute)  # AWS bills no less
    assert 0 < error.seconds < 5
    assert str(error).splitlines() == [
        str(FAULT),
        f"2 tasks were started meanwhile: {error.seconds:.1f} s, ${error.usd:.4f} so far",
    ]
    assert all([(await run.report()).cost.usd >= error.usd for run in runs])
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.tasks, copy.usd) == (str(error), 2, error.usd)
    state = read_journal(journal_path(out, "early"))
    assert state.end.status is Status.INTERRUPTED
    assert len(state.tasks) == 2
    assert list(state.scenes) == ["a", "b", "c", "d"]
    assert not list(out.glob("*.mp4*"))


async def test_a_file_that_changes_while_tasks_start_is_a_fault(reading, make_scene, out):
    scenes = scenes_of(make_scene)
    cloud, picture = FakeCloud(boot=30), Path(scenes[0]["image_path"])

    async def change():
        await launched(cloud, 1)
        await anyio.Path(picture).write_bytes(b"other")
        reading.gate.set()

    async with Client(cloud.backend, early_launch=True) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(change)
            with pytest.raises(InvalidScenesError) as caught:
                await client.render_all(scenes, to=out)
        assert not cloud.running
    (fault,) = caught.value.faults
    assert (fault.scene, fault.field) == ("a", "image")
    assert fault.found.startswith("changed since it was checked")
    assert caught.value.tasks == len(cloud.launched)


async def test_a_fault_that_is_found_soon_costs_nothing(reading, make_scene, out):
    cloud = FakeCloud()
    reading.faults = (FAULT,)
    reading.gate.set()
    async with Client(cloud.backend, early_launch=True) as client:
        with pytest.raises(InvalidScenesError) as caught:
            await client.render_all(scenes_of(make_scene), to=out)
    assert (caught.value.tasks, str(caught.value)) == (0, str(FAULT))
    assert not cloud.launched


async def test_ready_workers_leave_after_a_fault(reading, make_scene, out):
    cloud = FakeCloud()
    reading.faults = (FAULT,)
    async with Client(cloud.backend, early_launch=True) as client:

        async def render():
            async with client.stream(scenes_of(make_scene), to=out) as run:
                await launched(cloud, 4)
                await anyio.sleep(0.1)
                reading.gate.set()
                await run.until_done()

        with pytest.raises(InvalidScenesError), anyio.fail_after(1.5):
            await render()
        assert not cloud.running


async def test_other_runs_go_on_while_one_is_held(reading, make_scene, tmp_path, monkeypatch):
    cloud = FakeCloud(encode=0.01)
    async with (
        Client(cloud.backend, limits=Limits(workers=1), early_launch=True) as client,
        client.stream(scenes_of(make_scene), to=tmp_path / "held") as held,
    ):
        await launched(cloud, 1)
        monkeypatch.setattr(run_inputs, "add_fingerprints", reading.real)
        other = await client.render_all([make_scene("other")], to=tmp_path / "other")
        assert other.status is Status.COMPLETE
        assert not (await held.report()).videos
        reading.gate.set()
        assert (await held.until_done()).status is Status.COMPLETE
    assert len(cloud.launched) == 1


@pytest.mark.parametrize("native", [False, True], ids=["scope", "task"])
async def test_a_cancellation_while_files_are_read_leaves_nothing(reading, make_scene, out, native):
    cloud = FakeCloud(boot=30)

    async def render():
        async with Client(cloud.backend, early_launch=True) as client:
            await client.render_all(scenes_of(make_scene), to=out)

    if native:
        task = asyncio.ensure_future(render())
        await launched(cloud, 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(render)
            await launched(cloud, 2)
            tasks.cancel_scope.cancel()
    assert not cloud.running
    assert reading.threads == 0


async def test_leaving_the_block_early_ends_the_reading(reading, make_scene, out):
    cloud = FakeCloud(boot=30)
    async with Client(cloud.backend, early_launch=True) as client:
        async with client.stream(scenes_of(make_scene), to=out):
            await launched(cloud, 1)
        assert reading.threads == 0
    assert not cloud.running
