"""Scenes that end their workers, in virtual time."""

from __future__ import annotations

import pickle

import anyio
import pytest

from cloudburst.errors import CapacityError, EncodeError, PoisonedSceneError, WorkerStoppedError
from cloudburst.events import SceneEncoded, SceneEncoding, SceneRetried
from cloudburst.models.limits import Limits
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from cloudburst.text import short_task
from support.harness import checked, engine
from support.queueing_cloud import QueueingCloud

pytestmark = pytest.mark.anyio


async def events_of(cloud, scenes, **limits):
    async with engine(cloud, limits=Limits(**limits)) as e, e.open(scenes) as run:
        events = [event async for event in run]
    assert not cloud.running
    return events, await run.report()


async def test_a_scene_that_ends_two_workers_is_set_aside():
    cloud = FakeCloud(boot=1, encode=10, crashing_scenes={"bad": 5})
    _, report = await events_of(cloud, ["bad", "a", "b"], workers=1, attempts=5)
    assert report.status is Status.PARTIAL
    assert len(report.videos) == 2
    (error,) = report.errors
    assert isinstance(error, PoisonedSceneError)
    assert isinstance(error, EncodeError)
    assert not error.retryable
    assert len(set(error.tasks)) == 2
    for task in error.tasks:
        assert f"task {short_task(task)} stopped: exit code 137" in str(error)
    assert report.scenes[0].attempts == 2
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.tasks, copy.scene) == (str(error), error.tasks, "bad")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", [FakeCloud, QueueingCloud])
async def test_the_second_time_it_is_alone_and_its_neighbours_are_cleared(workers, kind):
    """Four encode when the first worker ends; each of them is a suspect, and encodes alone."""
    cloud = kind(boot=1, encoders=4, crashing_scenes={"bad": 5})
    cloud.encode = lambda name: 10.0 if len(name) > 1 else 6.0 + ord(name) % 7
    names = ["bad", *"abcdefghijklmnop"]
    events, report = await events_of(cloud, names, workers=workers)
    assert [video.scene for video in report.videos] == names[1:]
    assert isinstance(report.errors[0], PoisonedSceneError)
    assert len(cloud.launched) <= workers + 2
    assert report.scenes[0].attempts == 2
    first = report.errors[0].tasks[0]
    place, suspects = dict[str, str](), set[str]()
    for event in events:
        match event:
            case SceneEncoding(scene=scene, task=task):
                company = {other for other, where in place.items() if where == task}
                assert not (company and suspects & {scene, *company}), (scene, company)
                place[scene] = task
            case SceneEncoded(scene=scene):
                place.pop(scene, None)
            case SceneRetried(scene=scene, task=task):
                if place.pop(scene, None) == task == first:
                    suspects.add(scene)
            case _:
                pass
    assert len(suspects) == 4


async def test_suspects_do_not_starve_in_a_long_queue():
    """The longest goes first; a suspect that is short comes before it on an empty worker."""
    cloud = FakeCloud(boot=1, encoders=2, encode=10, crashing_scenes={"bad": 5})
    scenes = [checked("bad", 100), *(checked(f"s{n}", 50 - n) for n in range(40))]
    _, report = await events_of(cloud, scenes, workers=2)
    assert len(report.videos) == 40
    # 41 encodes of 10 s on 4 slots, two of them alone.
    assert report.wall_seconds < 1 + 5 + 1 + 10 * (40 / 4) + 2 * 10 + 15


async def test_suspects_come_first_on_an_empty_worker():
    """Else the many scenes of another run would leave none empty until they are all done."""
    cloud = FakeCloud(boot=1, encoders=2, encode=10, crashing_scenes={"bad": 5})
    ends = {}
    async with engine(cloud, limits=Limits(workers=1)) as e:

        async def go(name, scenes):
            await e.render(scenes, name)
            ends[name] = anyio.current_time()

        async with anyio.create_task_group() as tasks:
            began = anyio.current_time()
            tasks.start_soon(go, "small", [checked("bad", 10), checked("short", 5)])
            await anyio.sleep(3)
            tasks.start_soon(go, "big", [checked(f"s{number}", 100) for number in range(20)])
    assert ends["small"] - began < 40
    assert ends["big"] - began > 100


async def test_no_worker_is_emptied_for_a_suspect():
    """Its neighbour goes on: the scenes that wait are not held back until a worker is empty."""
    cloud = FakeCloud(boot=1, encoders=2, encode=10, crashing_tasks={"fake-1": 6})
    names = [f"s{number}" for number in range(12)]
    _, report = await events_of(cloud, names, workers=2)
    assert report.status is Status.COMPLETE
    busy = sum(worker.encode_seconds for worker in report.workers)
    assert busy >= 10 * (12 - 2) / 2, "two at a time but for the suspects"
    assert report.wall_seconds < 60


async def test_a_suspect_that_waits_for_long_gets_a_worker_of_its_own():
    """Scenes keep coming, and the only worker that is left would not be empty before their end."""
    cloud = FakeCloud(boot=1, encoders=2, encode=10, crashing_tasks={"fake-1": 6})
    ends = {}
    async with engine(cloud, limits=Limits(workers=2)) as e:

        async def go(name, *scenes):
            await e.render([checked(scene) for scene in scenes], name)
            ends[name] = anyio.current_time() - began

        async with anyio.create_task_group() as tasks:
            began = anyio.current_time()
            tasks.start_soon(go, "first", "a", "b", "c", "d")
            await anyio.sleep(5)
            cloud.refuse = [CapacityError("full")] * 1000
            for number in range(100):
                tasks.start_soon(go, f"run{number}", f"s{number}")
                await anyio.sleep(4)
    assert len(cloud.launched) == 2
    assert ends["first"] < 200
    assert ends["run99"] > 400


async def test_spot_is_no_reason_to_suspect():
    taken = {f"fake-{number}": (3, 2) for number in (1, 2, 3)}
    cloud = FakeCloud(boot=1, encoders=2, encode=10, interrupted_tasks=taken)
    _, report = await events_of(cloud, ["a", "b"], workers=1)
    assert report.status is Status.COMPLETE
    assert {entry.attempts for entry in report.scenes} == {4}


async def test_a_line_that_breaks_is_no_reason_either():
    """The worker is alive, as far as its backend knows."""
    cuts = iter([True, True])

    class Cut(FakeCloud):
        def connect(self, address, *, secrets):
            return super().connect(address, secrets=secrets)

    def encode(scene):
        if next(cuts, False):
            raise WorkerStoppedError("connection lost", task="?")
        return 10

    cloud = Cut(boot=1, encode=encode)
    _, report = await events_of(cloud, ["a"], workers=1, attempts=3)
    assert report.status is Status.COMPLETE
    assert report.scenes[0].attempts == 3


async def test_one_try_is_one_try():
    cloud = FakeCloud(boot=1, encode=10, crashing_scenes={"bad": 5})
    _, report = await events_of(cloud, ["bad"], workers=1, attempts=1)
    assert isinstance(report.errors[0], WorkerStoppedError)
    assert len(cloud.launched) == 1
