"""Clients that are stopped while another process writes the same videos, and then continue."""

from __future__ import annotations

import hashlib
import random
import signal

import anyio
import anyio.to_thread
import pytest

from cloudburst import Status
from support.fargate_backend import session_keys
from support.s3_client_process import rendering

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(120)]

SEEDS = range(20)
NAMES = ["scene 0", "late 0", "scene 11MB", "late 1"]
CALLS = 30
"""Number of calls of S3 of a run, roughly."""


@pytest.mark.chaos
@pytest.mark.nightly
@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
async def test_stopped_at_any_moment(world, monkeypatch, tmp_path, seed, resumed):
    """The second process resumes the run elsewhere, or starts one with the same videos.

    The first one continues before, while or after the second one renders. Each name has one whole
    video at the end. If the first one may not overwrite, it has replaced no video of another run.
    """
    rng = random.Random(f"continued {seed}")
    count, overwrite = rng.randrange(CALLS), rng.random() < 0.5
    pause = rng.choice([0, rng.uniform(0, 2.5), None])
    scenes, keys = world.scenes(0, *NAMES), session_keys(world.emulator)
    of_first = {"name": "first", "resume": resumed, "overwrite": overwrite}
    of_second = of_first if resumed else {"name": "second", "overwrite": True}
    told = []

    async def second():
        told.append(await world.run(scenes, **of_second))

    with rendering(world, scenes, keys=keys, **of_first) as child:
        while len(calls_of(world, keys)) <= count and child.process.poll() is None:  # noqa: ASYNC110
            await anyio.sleep(0.002)
        child.send(signal.SIGSTOP)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second)
            if pause is not None:
                await anyio.sleep(pause)
                child.send(signal.SIGCONT)
        child.send(signal.SIGCONT)
        code = await anyio.to_thread.run_sync(child.process.wait, 60)
    world.hold_clean({f"{name}.mp4" for name in NAMES})
    makers = makers_of(world)
    failed = failed_in(child, code)
    if not resumed and not overwrite:
        assert told[0].report.status is Status.COMPLETE, told[0].errors
        assert {name for name in NAMES if makers[name] == "second"} == set(NAMES)
    for name in NAMES:
        assert name not in (failed if makers[name] == "first" else told[0].errors)


def makers_of(world):
    """Return the run that has written each video; it is whole."""
    makers = {}
    for name in NAMES:
        got = world.s3.get_object(Bucket=world.bucket, Key=f"{world.folder}{name}.mp4")
        about = got["Metadata"]
        assert hashlib.sha256(got["Body"].read()).hexdigest() == about["cloudburst-sha256"]
        makers[name] = about["cloudburst-run"]
    return makers


def failed_in(child, code):
    """Return the scenes that the first process has not finished; it must have said why."""
    if code:  # before its first scene
        assert "OutputExistsError: " in "".join(child.errors), child
        assert not child.events
        return set(NAMES)
    events = [event for event in child.events if event["type"].startswith("scene.")]
    done = {event["scene"] for event in events if event["type"] == "scene.completed"}
    failed = {event["scene"]: event for event in events if event["type"] == "scene.failed"}
    assert done | failed.keys() == set(NAMES), child
    for event in failed.values():
        assert "has written an object of this name" in event["message"], event
    return failed.keys()


def calls_of(world, keys):
    return [call for call in world.calls if call.key == keys["AWS_ACCESS_KEY_ID"]]
