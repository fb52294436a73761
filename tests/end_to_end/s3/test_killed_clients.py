"""Clients that are killed: the run is resumed, here or on another machine, and nothing is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter

import anyio
import anyio.to_thread
import pytest

from cloudburst import OutputClaimedError, Status
from cloudburst.models.events import SceneCompleted, SceneEncoded, SceneEncoding
from cloudburst.paths import state_folder
from cloudburst.s3_destination import S3Destination
from cloudburst.testing import Fault
from support.s3_client_process import rendering
from support.s3_runs import few

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(90)]

SEEDS = range(int(os.environ.get("CLOUDBURST_SEEDS", "1")))
NAMES = [f"{kind} {number}" for number in range(4) for kind in ("scene", "late")]
STARTING, SPAN = 1.0, 3.0
"""Seconds from the start of a client to its first event, and from there to the end of its run,
roughly."""


def completed(child):
    return {event["scene"] for event in child.events if event["type"] == "scene.completed"}


@pytest.mark.chaos
@pytest.mark.parametrize("elsewhere", few([False, True]))
@pytest.mark.parametrize("seed", SEEDS)
async def test_killed_at_any_moment(world, seed, elsewhere):
    """The run is resumed with the journals of the killed clients, or by its name without them."""
    rng = random.Random(f"killed {seed}")
    name = f"run{seed}" if elsewhere else None
    scenes = world.scenes(0, *NAMES)
    done, claims = set[str](), []
    for _ in range(rng.choice([1, 1, 2])):
        early = rng.random() < 0.15
        with rendering(world, scenes, name=name) as child:
            while not early and not child.events and child.process.poll() is None:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            await anyio.sleep(rng.uniform(0, STARTING if early else SPAN))
        done |= completed(child)
        claims = claims_of(world)
        if elsewhere:
            shutil.rmtree(state_folder() / "s3", ignore_errors=True)
    told = await world.run(scenes, name=name, resume=True)
    assert told.report.status is Status.COMPLETE
    skipped = {event.scene for event in told.of(SceneCompleted) if event.skipped}
    assert done <= skipped
    assert claims in ([], [f".cloudburst/claims/{told.report.run}.json"]), "it is taken over"
    hold(world, told, done)


def claims_of(world):
    return [key for key in world.listed() if "/claims/" in key]


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
    claims = claims_of(world)
    assert len(claims) == 1
    shutil.rmtree(state_folder() / "s3")
    told = await world.run(scenes, resume=True)
    assert told.report.status is Status.COMPLETE
    assert completed(child) <= set(told.report.skipped)
    assert claims == [f".cloudburst/claims/{told.report.run}.json"]
    hold(world, told, completed(child))


async def test_two_runs_that_want_one_video(world):
    """The second is refused, with the name of the first; other videos are not refused."""
    scenes = world.scenes(0, "late 0", "late 1", "late 2")
    refused, started = [], []

    async def second():
        with pytest.raises(OutputClaimedError) as caught:
            await world.run(scenes[1:], name="second", overwrite=True)
        refused.append(caught.value)

    async with anyio.create_task_group() as tasks:

        def watch(event):
            if isinstance(event, SceneEncoding) and not started:
                started.append(event)
                tasks.start_soon(second)

        told = await world.run(scenes[:2], name="first", watch=watch)
    assert "run first" in str(refused[0])
    world.hold(told, ["late 0", "late 1"])


async def test_many_runs_that_want_one_video_at_once(world):
    scenes, ends, winners = world.scenes(1), Counter(), []

    async def one(number):
        try:
            winners.append(await world.run(scenes, name=f"run{number}"))
            ends["done"] += 1
        except (OutputClaimedError, FileExistsError) as exc:
            ends[type(exc).__name__] += 1

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(one, number)
    assert ends["done"] == 1, ends
    world.hold(winners[0], ["scene 0"])


async def test_a_run_that_is_taken_over_elsewhere(world, monkeypatch, tmp_path):
    """The first client ends with the reason, and the second one finishes the run."""
    monkeypatch.setattr("cloudburst.aws.s3.claims.RENEWAL_INTERVAL", 0.3)
    scenes = world.scenes(0, *[f"late {number}" for number in range(12)])
    first, second = {}, {}

    async def take_over():
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
        second["told"] = await world.run(scenes, name="shared", resume=True)

    async with anyio.create_task_group() as tasks:
        met = []

        def watch(event):
            if isinstance(event, SceneCompleted) and not met:
                met.append(event)
                tasks.start_soon(take_over)

        first["told"] = await world.run(scenes, name="shared", watch=watch)
    assert any("OutputClaimedError" in error for error in first["told"].errors.values())
    assert second["told"].report.status is Status.COMPLETE
    world.hold_objects(second["told"].report)
    world.hold_clean({f"{scene['scene_name']}.mp4" for scene in scenes})


CLAIM = {"run": "shared", "owner": "other", "host": "far", "pid": 7, "names": [], "ttl": 600}


def claim_elsewhere(world):
    """Take a run over, as a process on another machine does."""
    key = f"{world.folder}.cloudburst/claims/shared.json"
    world.s3.put_object(Bucket=world.bucket, Key=key, Body=json.dumps(CLAIM).encode())
    return key


async def test_a_delivery_ends_when_the_run_is_taken_over(world, monkeypatch):
    """Later it could replace a video of the other process."""
    monkeypatch.setattr("cloudburst.aws.s3.claims.RENEWAL_INTERVAL", 0.1)
    scenes = world.scenes(0, "scene 31MB")
    world.emulator.add_fault(
        Fault(kind="delay", operation="s3:PutObject", presigned=True, seconds=8)
    )
    began = []

    def watch(event):
        if isinstance(event, SceneEncoded):
            began.append(anyio.current_time())
            claim_elsewhere(world)

    told = await world.run(scenes, name="shared", overwrite=True, watch=watch)
    assert anyio.current_time() < began[0] + 8, "the delivery was waited for"
    assert told.errors["scene 31MB"].startswith("OutputClaimedError: run shared (process 7 on far)")
    await anyio.sleep_until(began[0] + 9)
    assert world.listed() == [".cloudburst/claims/shared.json"], "nothing was written afterwards"


async def test_a_run_that_is_taken_over_before_it_starts(world, monkeypatch):
    """It starts nothing, and the client may use its name again."""
    monkeypatch.setattr("cloudburst.aws.s3.claims.RENEWAL_INTERVAL", 0.05)
    scenes = world.scenes(1)
    recover = S3Destination.recover

    async def take_long(self, *args, **more):
        key = await anyio.to_thread.run_sync(claim_elsewhere, world)
        await anyio.sleep(0.5)
        await anyio.to_thread.run_sync(lambda: world.s3.delete_object(Bucket=world.bucket, Key=key))
        return await recover(self, *args, **more)

    monkeypatch.setattr(S3Destination, "recover", take_long)
    async with world.open_client() as opened:
        with pytest.raises(OutputClaimedError, match="process 7 on far"):
            await opened.render_all(scenes, to=world.to, name="shared", resume=True)
        assert not [call for call in world.calls if call.presigned]
        report = await opened.render_all(scenes, to=world.to, name="shared")
    assert report.status is Status.COMPLETE
