"""Scenes that end their workers, in virtual time."""

from __future__ import annotations

import pickle

import pytest
from harness import checked, engine

from cloudburst.errors import GenerateError, PoisonedSceneError, WorkerStoppedError
from cloudburst.models.events import SceneEncoding, SceneGenerated, WorkerStopped
from cloudburst.models.policy import Limits
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud

pytestmark = pytest.mark.anyio


async def events_of(cloud, scenes, **limits):
    async with engine(cloud, limits=Limits(**limits)) as e, e.open(scenes) as run:
        events = [event async for event in run]
    assert not cloud.running
    return events, run.report


async def test_a_scene_that_ends_two_workers_is_set_aside():
    cloud = FakeCloud(boot=1, encode=10, deadly_scenes={"bad": 5})
    _, report = await events_of(cloud, ["bad", "a", "b"], workers=1, attempts=5)
    assert report.status is Status.PARTIAL
    assert len(report.videos) == 2
    (error,) = report.errors
    assert isinstance(error, PoisonedSceneError)
    assert isinstance(error, GenerateError)
    assert not error.retryable
    assert len(set(error.tasks)) == 2
    for task in error.tasks:
        assert f"{task} stopped: exit code 137" in str(error)
    assert report.scenes[0].attempts == 2
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.tasks, copy.scene) == (str(error), error.tasks, "bad")


async def test_the_second_time_it_is_alone_and_its_neighbours_are_cleared():
    """Four encode when the first worker ends; each of them is a suspect, and encodes alone."""
    cloud = FakeCloud(boot=1, encoders=4, encode=10, deadly_scenes={"bad": 5})
    names = ["bad", "a", "b", "c", "d", "e"]
    events, report = await events_of(cloud, names, workers=1)
    assert [video.scene for video in report.videos] == ["a", "b", "c", "d", "e"]
    assert isinstance(report.errors[0], PoisonedSceneError)
    assert len(cloud.launched) <= 3
    assert report.scenes[0].attempts == 2
    first = next(e.task for e in events if isinstance(e, SceneEncoding))
    suspects = {"bad", "a", "b", "c"}
    at = {}
    for event in events:  # who encodes beside a suspect after that?
        if isinstance(event, SceneEncoding) and event.task != first:
            others = {scene for scene, task in at.items() if task == event.task}
            assert not (others and suspects & {event.scene, *others}), (event, at)
            at[event.scene] = event.task
        elif isinstance(event, SceneGenerated):
            at.pop(event.scene, None)
        elif isinstance(event, WorkerStopped):
            at = {scene: task for scene, task in at.items() if task != event.task}


async def test_suspects_do_not_starve_in_a_long_queue():
    """The longest goes first; a suspect that is short comes before it on an empty worker."""
    cloud = FakeCloud(boot=1, encoders=2, encode=10, deadly_scenes={"bad": 5})
    scenes = [checked("bad", 100), *(checked(f"s{n}", 50 - n) for n in range(40))]
    _, report = await events_of(cloud, scenes, workers=2)
    assert len(report.videos) == 40
    # 41 encodes of 10 s on 4 slots, two of them alone.
    assert report.seconds < 1 + 5 + 1 + 10 * (40 / 4) + 2 * 10 + 15


async def test_no_worker_is_emptied_for_a_suspect():
    """Its neighbour goes on: the scenes that wait are not held back until a worker is empty."""
    cloud = FakeCloud(boot=1, encoders=2, encode=10, dying_tasks={"fake-1": 6})
    names = [f"s{number}" for number in range(12)]
    _, report = await events_of(cloud, names, workers=2)
    assert report.status is Status.COMPLETE
    busy = sum(worker.encoding for worker in report.workers)
    assert busy >= 10 * (12 - 2) / 2, "two at a time but for the suspects"
    assert report.seconds < 60


async def test_spot_is_no_reason_to_suspect():
    taken = {f"fake-{number}": (3, 2) for number in (1, 2, 3)}
    cloud = FakeCloud(boot=1, encoders=2, encode=10, taken_tasks=taken)
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
    cloud = FakeCloud(boot=1, encode=10, deadly_scenes={"bad": 5})
    _, report = await events_of(cloud, ["bad"], workers=1, attempts=1)
    assert isinstance(report.errors[0], WorkerStoppedError)
    assert len(cloud.launched) == 1
