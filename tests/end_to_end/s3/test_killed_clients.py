"""Clients that are killed: the run is resumed, here or on another machine, and nothing is lost."""

from __future__ import annotations

import random
import shutil
from collections import Counter

import anyio
import anyio.to_thread
import pytest

from cloudburst import Status
from cloudburst.events import SceneCompleted, SceneEncoding
from cloudburst.files import state_folder
from cloudburst.jobs import JobQueue, JobRequest, JobState
from support.s3_client_process import rendering

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(90)]

SEEDS = range(30)
NAMES = [f"{kind} {number}" for number in range(4) for kind in ("scene", "late")]
STARTING, SPAN = 1.0, 3.0
"""Seconds from the start of a client to its first event, and from there to the end of its run,
roughly."""


def completed(child):
    return {event["scene"] for event in child.events if event["type"] == "scene.completed"}


@pytest.mark.chaos
@pytest.mark.nightly
@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
async def test_killed_at_any_moment(world, seed, elsewhere):
    """The run is resumed with the journals of the killed clients, or by its name without them."""
    rng = random.Random(f"killed {seed}")
    name = f"run{seed}" if elsewhere else None
    scenes = world.scenes(0, *NAMES)
    done = set[str]()
    for _ in range(rng.choice([1, 1, 2])):
        early = rng.random() < 0.15
        with rendering(world, scenes, name=name) as child:
            while not early and not child.events and child.process.poll() is None:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            await anyio.sleep(rng.uniform(0, STARTING if early else SPAN))
        done |= completed(child)
        if elsewhere:
            shutil.rmtree(state_folder() / "s3", ignore_errors=True)
    told = await world.run(scenes, name=name, resume=True)
    assert told.report.status is Status.COMPLETE
    skipped = {event.scene for event in told.of(SceneCompleted) if event.skipped}
    assert done <= skipped
    hold(world, told, done)


def hold(world, told, done):
    """Everything is there, and nothing that was finished was written again."""
    world.hold_objects(told.report)
    world.hold_clean({f"{name}.mp4" for name in NAMES})
    written = world.written()
    for name in NAMES:
        # A client may be killed when S3 has an object that it does not know of yet.
        assert written[f"{name}.mp4"] <= (1 if name in done else 2)


async def test_an_object_that_appears_late(world):
    """The worker of a client that was killed may write its video after the run was resumed."""
    scenes = world.scenes(0, "late 0")

    def watch(event):
        if isinstance(event, SceneEncoding):
            about = {"cloudburst-run": "shared", "cloudburst-scene": "late%200"}
            about |= {"cloudburst-sha256": "0" * 64}
            key = f"{world.folder}late 0.mp4"
            world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"late", Metadata=about)

    told = await world.run(scenes, name="shared", watch=watch)
    assert told.report.status is Status.COMPLETE, told.errors
    world.hold_objects(told.report)


async def test_an_object_of_another_program_that_appears_late(world):
    scenes = world.scenes(0, "late 0")
    key = f"{world.folder}late 0.mp4"

    def watch(event):
        if isinstance(event, SceneEncoding):
            world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"foreign")

    told = await world.run(scenes, watch=watch)
    assert "another program has written an object of this name" in told.errors["late 0"]
    assert world.s3.get_object(Bucket=world.bucket, Key=key)["Body"].read() == b"foreign"


async def test_killed_while_it_renders(world):
    """What was finished is not rendered again, with or without the journal of the first client."""
    scenes = world.scenes(0, *NAMES)
    with rendering(world, scenes) as child:
        await anyio.to_thread.run_sync(lambda: child.until("scene.completed", count=3))
    shutil.rmtree(state_folder() / "s3")
    told = await world.run(scenes, resume=True)
    assert told.report.status is Status.COMPLETE
    assert completed(child) <= set(told.report.skipped)
    hold(world, told, completed(child))


@pytest.mark.few(1)
@pytest.mark.parametrize("overwrite", [False, True])
async def test_two_runs_with_the_same_names(world, overwrite):
    """Of two videos of a name, the first or the last one stays."""
    scenes = world.scenes(0, "late 0", "late 1", "late 2")
    second, started = [], []

    async def start_second():
        second.append(await world.run(scenes[1:], name="second", overwrite=overwrite))

    async with anyio.create_task_group() as tasks:

        def watch(event):
            if isinstance(event, SceneEncoding) and not started:
                started.append(event)
                tasks.start_soon(start_second)

        first = await world.run(scenes[:2], name="first", overwrite=overwrite, watch=watch)
    hold_both(world, first, second[0], overwrite=overwrite)


def hold_both(world, *told, overwrite):
    """Each name has one whole video, which one of the runs has made, and no run was told wrong.

    Without ``overwrite``, each video was written once, and the other run has an error for it.
    """
    made = Counter(video.scene for one in told for video in one.report.videos)
    names = {scene for one in told for scene in [*one.errors, *made]}
    world.hold_clean({f"{name}.mp4" for name in names})
    for name in names:
        key = f"{world.folder}{name}.mp4"
        about = world.s3.head_object(Bucket=world.bucket, Key=key)["Metadata"]
        [maker] = [one for one in told if one.report.run == about["cloudburst-run"]]
        assert name not in maker.errors
        for other in told:
            if error := other.errors.get(name):
                assert f"run {maker.report.run} has written an object of this name" in error
    if not overwrite:
        assert set(made.values()) == {1}
        assert max(world.written().values()) == 1
        for one in told:
            world.hold_objects(one.report)


@pytest.mark.nightly
@pytest.mark.parametrize("overwrite", [False, True])
async def test_many_runs_that_begin_at_once_with_the_same_names(world, overwrite):
    scenes, told = world.scenes(2), []

    async def one(number):
        told.append(await world.run(scenes, name=f"run{number}", overwrite=overwrite))

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(one, number)
    hold_both(world, *told, overwrite=overwrite)


@pytest.mark.nightly
async def test_two_jobs_of_one_folder_at_once(world, tmp_path):
    """Both are rendered; their names differ."""
    scenes = world.scenes(0, "late 0", "late 1", "late 2", "late 3")
    async with world.open_client() as client, JobQueue(client, tmp_path / "jobs") as queue:
        jobs = [
            await queue.submit(JobRequest(scenes=part, to=world.to))
            for part in (scenes[:2], scenes[2:])
        ]
        ends = [await queue.wait(job.id) for job in jobs]
    assert [end.state for end in ends] == [JobState.COMPLETE] * 2
    world.hold_clean({f"late {number}.mp4" for number in range(4)})
    assert set(world.written().values()) == {1}


async def test_a_run_that_is_resumed_elsewhere_while_it_continues(world, monkeypatch, tmp_path):
    """Both processes finish, and no video is there twice."""
    scenes = world.scenes(0, *[f"late {number}" for number in range(6)])
    second = []

    async def resume():
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
        second.append(await world.run(scenes, name="shared", resume=True))

    async with anyio.create_task_group() as tasks:
        met = []

        def watch(event):
            if isinstance(event, SceneCompleted) and not met:
                met.append(event)
                tasks.start_soon(resume)

        first = await world.run(scenes, name="shared", watch=watch)
    assert [one.report.status for one in (first, *second)] == [Status.COMPLETE] * 2
    world.hold_clean({f"{scene['scene_name']}.mp4" for scene in scenes})
