"""Each fault of S3 once in a whole run: nothing is lost, nothing is rendered twice."""

from __future__ import annotations

import random
import re
from itertools import product

import pytest

from cloudburst import Status
from cloudburst.aws.s3 import request_waits
from cloudburst.engine import attempt_context
from cloudburst.errors import CloudburstError, InvalidScenesError, ThrottledError
from cloudburst.events import SceneEncoding
from cloudburst.jobs import JobQueue, JobRequest, JobState, dispatcher
from cloudburst.testing import s3_fault
from cloudburst.workers.http import retries as transfer_retries
from support.s3_account import ABROAD
from support.s3_runs import Told

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(60)]

TRANSIENT = ["slow down", "internal error", "truncated", "slow", "lost", "dropped", "conflict"]
EXPIRED = ["url expired", "token expired", "clock skew", "url not valid yet"]
NAMES = ["scene 0", "scene 1"]
PLACES = {
    "input check": {"operation": "GetObject", "skip": 1, "presigned": False},
    "input fetch": {"operation": "GetObject", "skip": 1, "presigned": True},
    "output": {"operation": "PutObject", "skip": 0, "presigned": True},
    "check of checksums": {"operation": "HeadObject", "skip": 0},
    "verification": {"operation": "HeadObject", "skip": 1},
    "bucket": {"operation": "HeadBucket"},
    "check of the folder": {"operation": "PutObject", "skip": 0, "presigned": False},
    "list of videos": {"operation": "ListObjectsV2", "skip": 0},
    "end of the check": {"operation": "DeleteObject", "skip": 0},
}


def written_scenes(world, place):
    """Write the scenes of a run with a fault there; return them and their names.

    The folder is listed only for more videos than are asked for one by one.
    """
    scenes = world.scenes(3 if place == "list of videos" else 2)
    return scenes, [scene["scene_name"] for scene in scenes]


CASES = list(product(TRANSIENT, PLACES))
random.Random(14).shuffle(CASES)
# Boto asks for the region of the bucket, and repeats its calls.
CASES += [("wrong region", place) for place in PLACES if place != "input fetch"]


@pytest.mark.chaos
@pytest.mark.few(1)
@pytest.mark.parametrize(("name", "place"), [("internal error", "check of the folder"), *CASES])
async def test_a_fault_that_passes(world, name, place, told_at_debug):
    scenes, names = written_scenes(world, place)
    world.emulator.add_fault(s3_fault(name, **PLACES[place]))
    told = await world.run(scenes)
    world.hold(told, names)
    world.hold_secrets(told_at_debug(), told.report.model_dump_json(), repr(told))


BUSY_PLACES = {
    "check of inputs": {"operation": "GetObject", "presigned": False},
    "check of the folder": {"operation": "PutObject", "presigned": False},
    "lists": {"operation": "ListObjectsV2"},
    "bucket": {"operation": "HeadBucket"},
}
MORE_THAN_ONE_CALL = 9
"""Number of faults in a row that no single call bears, as each is sent four times."""


@pytest.mark.few(1)
@pytest.mark.parametrize("place", BUSY_PLACES)
async def test_a_store_that_is_busy_when_a_run_begins_is_waited_for(world, place):
    scenes = world.scenes(3)  # so many that their folder is listed
    world.emulator.add_fault(s3_fault("slow down", **BUSY_PLACES[place], times=MORE_THAN_ONE_CALL))
    world.hold(await world.run(scenes), [*NAMES, "scene 2"])


@pytest.mark.few(1)
@pytest.mark.parametrize("operations", [["PutObject"], ["GetObject", "PutObject"]])
async def test_a_store_that_stays_busy_when_a_run_begins_is_no_fault_of_the_scenes(
    world, operations, monkeypatch
):
    monkeypatch.setattr(request_waits, "TRANSFER_TIMEOUT", 0.2)
    scenes = world.scenes(2)
    for operation in operations:
        world.emulator.add_fault(s3_fault("slow down", operation, presigned=False, times=None))
    with pytest.raises(ThrottledError, match=r"^s3://videos/.*SlowDown"):
        await world.run(scenes)
    world.hold_met()
    world.clear_faults()
    world.hold_clean([])


async def test_a_job_that_finds_the_store_busy_begins_later(world, monkeypatch, tmp_path):
    monkeypatch.setattr(request_waits, "TRANSFER_TIMEOUT", 0.2)
    monkeypatch.setattr(dispatcher, "BUSY_SECONDS", 0.05)
    request = JobRequest(scenes=world.scenes(1), to=world.to)
    world.emulator.add_fault(s3_fault("slow down", "PutObject", presigned=False, times=40))
    async with world.open_client() as client, JobQueue(client, tmp_path / "jobs") as queue:
        job = await queue.wait((await queue.submit(request)).id)
    assert (job.state, job.error) == (JobState.COMPLETE, None)
    world.hold_met()


MESSAGES = {
    "access denied": r"permission|AccessDenied",
    "no such key": r"no such object|no longer there|does not exist",
    "token expired": "credentials have expired",
    "clock skew": "set the clock",
    "wrong region": "PermanentRedirect",
}
"""What an error says, so that a person knows what to do."""
REFUSED_ONCE = [case for case in product(MESSAGES, PLACES) if case not in CASES]


@pytest.mark.chaos
@pytest.mark.few(1)
@pytest.mark.parametrize(("name", "place"), REFUSED_ONCE)
async def test_a_fault_that_does_not_pass(world, name, place, told_at_debug):
    """A request is refused once: nothing was started, or every scene has a video or an error."""
    scenes, names = written_scenes(world, place)
    world.emulator.add_fault(s3_fault(name, **PLACES[place]))
    told = Told()
    refused = False
    try:
        await world.run(scenes, told=told)
    except CloudburstError as exc:
        refused = True
        errors = {"": str(exc)}
    else:
        errors = told.errors
    world.hold_met()
    world.clear_faults()
    assert all(re.search(MESSAGES[name], text) for text in errors.values()), errors
    if refused:
        assert not world.written(), "nothing is rendered"
        world.hold_clean([])
    else:
        done = {video.scene for video in told.report.videos}
        assert done | told.errors.keys() == set(names)
        assert not done & told.errors.keys()
        world.hold_objects(told.report)
        left = [key for key in world.listed() if key.startswith(".cloudburst/")]
        assert len(left) == (place == "end of the check")
        world.hold_clean({f"{scene}.mp4" for scene in done}.union(left))
        # An object that is there, but missing according to S3, is written again.
        assert max(world.written().values()) <= (2 if name == "no such key" else 1)
    if world.secrets:
        shown = told.report.model_dump_json() if told.report else ""
        world.hold_secrets(told_at_debug(), shown, repr(told), repr(errors))


@pytest.mark.few(1)
@pytest.mark.parametrize(("place", "name"), [*product(["output", "input fetch"], EXPIRED)])
async def test_a_url_that_has_expired(world, name, place, told_at_debug):
    scenes = world.scenes(2)
    world.emulator.add_fault(s3_fault(name, **PLACES[place], times=2))
    told = await world.run(scenes)
    world.hold(told, NAMES)
    world.hold_secrets(told_at_debug(), told.report.model_dump_json(), repr(told))


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["url expired", "access denied", "no such key"])
async def test_an_input_that_cannot_be_read(world, name, told_at_debug):
    """The scene fails with the field and the object."""
    scenes = world.scenes(1, duration=0.3)
    del scenes[0]["audio_path"]  # it would be fetched at the same time
    world.emulator.add_fault(s3_fault(name, "GetObject", presigned=True, times=3))
    told = await world.run(scenes)
    world.hold(told, NAMES[:1], failed=NAMES[:1])
    error = told.errors["scene 0"]
    assert error.startswith("UploadError: image: s3://videos/")
    assert "/in/0.png: " in error
    world.hold_secrets(told_at_debug(), told.report.model_dump_json(), repr(told))


async def test_inputs_and_outputs_in_another_region(world):
    world.bucket = ABROAD
    told = await world.run(world.scenes(2))
    world.hold(told, NAMES)


@pytest.mark.nightly
async def test_an_output_that_is_refused_for_a_moment(world):
    scenes = world.scenes(2)
    world.emulator.add_fault(s3_fault("access denied", "PutObject", presigned=True, times=3))
    told = await world.run(scenes)
    world.hold(told, NAMES)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("slow down", "HTTP 503 SlowDown"),
        ("access denied", "HTTP 403 AccessDenied"),
        ("token expired", "HTTP 400 ExpiredToken"),
        ("wrong region", "HTTP 301 PermanentRedirect"),
    ],
)
async def test_an_output_that_is_always_refused(world, name, error, told_at_debug, monkeypatch):
    monkeypatch.setattr(attempt_context, "WRITE_TIMEOUT", 0.5)
    monkeypatch.setattr(transfer_retries, "TRANSFER_TIMEOUT", 0.5)
    scenes = world.scenes(3)
    world.emulator.add_fault(s3_fault(name, "PutObject", presigned=True, times=None))
    told = await world.run(scenes)
    assert told.report.status is Status.FAILED
    assert len(told.errors) == 3
    assert len(told.of(SceneEncoding)) == 3, "no video is rendered again"
    for text in told.errors.values():
        assert re.match(f"OutputWriteError: .* cannot be written to S3: {error}", text), text
    world.hold_clean([])
    world.hold_secrets(told_at_debug(), told.report.model_dump_json(), repr(told))


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("token expired", "sign in again"),
        ("access denied", "grant what"),
        ("clock skew", "set the clock"),
        ("wrong region", "another region"),
    ],
)
async def test_a_folder_that_cannot_be_written_to(world, name, action):
    scenes = world.scenes(1)
    world.emulator.add_fault(s3_fault(name, "PutObject", times=None))
    with pytest.raises(InvalidScenesError, match=f"^to: {world.to}.*{action}"):
        await world.run(scenes)
    world.clear_faults()
    world.hold_clean([])
