"""Clients that are stopped while another process takes their videos over, and then continue."""

from __future__ import annotations

import os
import random
import signal
from datetime import timedelta

import anyio
import anyio.to_thread
import pytest

from cloudburst import OutputClaimedError, Status
from cloudburst.aws.s3 import claim_file, claims
from support.fargate_backend import session_keys
from support.s3_client_process import rendering
from support.s3_runs import few

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(120)]

SEEDS = range(int(os.environ.get("CLOUDBURST_SEEDS", "1")))
NAMES = ["scene 0", "late 0", "scene 11MB", "late 1"]
SHORT = {"CLAIM_SECONDS": 2, "RENEWAL_INTERVAL": 0.4, "RENEWAL_RETRY": 0.2}
"""Constants of claims that expire soon."""
EXPIRED = 3.5
"""Seconds after which such a claim has certainly expired: times of S3 have whole seconds."""
CALLS = 22
"""Number of calls of S3 from the claim to the end of the run, roughly, without renewals."""


@pytest.fixture
def short_claims(monkeypatch):
    """Claims of this process expire soon, too, and so do those that it finds."""
    monkeypatch.setattr(claim_file, "DATE_RESOLUTION", timedelta(0))
    for name, value in SHORT.items():
        monkeypatch.setattr(claims, name, value)


@pytest.mark.chaos
@pytest.mark.usefixtures("short_claims")
@pytest.mark.parametrize("resumed", few([False, True]))
@pytest.mark.parametrize("seed", SEEDS)
async def test_stopped_at_any_moment(world, monkeypatch, tmp_path, seed, resumed):
    """The second process resumes the run elsewhere, or starts one with the same videos.

    The first one continues before, while or after the second one renders.
    """
    rng = random.Random(f"continued {seed}")
    count, overwrite = rng.randrange(CALLS), rng.random() < 0.5
    expires = not resumed or rng.random() < 0.5
    pause = rng.choice([0, rng.uniform(0, 2.5), None])
    scenes, keys = world.scenes(0, *NAMES), session_keys(world.emulator)
    of_first = {"name": "first", "resume": resumed, "overwrite": overwrite}
    with rendering(world, scenes, claims=SHORT, keys=keys, **of_first) as child:
        while (  # noqa: ASYNC110
            len(calls_since_claim(world, keys)) <= count and child.process.poll() is None
        ):
            await anyio.sleep(0.002)
        child.send(signal.SIGSTOP)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
        if expires:
            await anyio.sleep(EXPIRED)
        finished, before = child.process.poll() is not None, len(calls_of(world, keys))
        told = []

        async def second():
            of_second = of_first if resumed else {"name": "second", "overwrite": True}
            try:
                told.append(await world.run(scenes, **of_second))
            except OutputClaimedError:
                told.append(None)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second)
            while not (told or claimed(world, keys)):  # noqa: ASYNC110
                await anyio.sleep(0.005)
            if pause is not None:
                await anyio.sleep(pause)
                child.send(signal.SIGCONT)
        child.send(signal.SIGCONT)
        code = await anyio.to_thread.run_sync(child.process.wait, 60)
    world.hold_clean({f"{name}.mp4" for name in NAMES})
    failed = failed_in(child, code)
    if told == [None]:  # the first one has renewed its claim before the second one removed it
        assert not failed
        assert not resumed
        return
    report = told[0].report
    assert report.status is Status.COMPLETE, told[0].errors
    world.hold_objects(report)
    assert not (finished and failed)
    if expires:  # otherwise its worker may have written a video meanwhile
        changed = [call for call in calls_of(world, keys)[before:] if call.status in {200, 204}]
        assert not [call for call in changed if call.operation in {"PutObject", "DeleteObject"}]


def failed_in(child, code):
    """Return the scenes that the first process has not finished; it must have said why."""
    if code:  # before its first scene
        assert "OutputClaimedError: " in "".join(child.errors), child
        assert not child.events
        return set(NAMES)
    events = [event for event in child.events if event["type"].startswith("scene.")]
    done = {event["scene"] for event in events if event["type"] == "scene.completed"}
    failed = {event["scene"]: event for event in events if event["type"] == "scene.failed"}
    assert done | failed.keys() == set(NAMES), child
    for event in failed.values():
        assert event["kind"] == "OutputClaimedError", event
    return failed.keys()


def calls_of(world, keys):
    return [call for call in world.calls if call.key == keys["AWS_ACCESS_KEY_ID"]]


def claims_of(calls):
    """Return the positions of the requests that have written a claim."""
    return [
        number
        for number, call in enumerate(calls)
        if call.operation == "PutObject" and "/claims/" in call.resource and call.status == 200
    ]


def calls_since_claim(world, keys):
    """Return the calls of the first process since it has its claim, without its renewals."""
    calls = calls_of(world, keys)
    written = claims_of(calls)
    since = calls[written[0] :] if written else []
    return since[:1] + [call for call in since if "/claims/" not in call.resource]


def claimed(world, keys):
    """Return whether the second process has its claim."""
    return claims_of([call for call in world.calls if call.key != keys["AWS_ACCESS_KEY_ID"]])
