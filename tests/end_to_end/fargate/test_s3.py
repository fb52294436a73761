"""From S3 to S3 on Fargate: the client carries no file, only what it reads for its checks."""

from __future__ import annotations

import random
import sys
from collections import Counter
from urllib.parse import urlsplit

import anyio
import pytest
from PIL import Image

from cloudburst import Client, Limits, RenderOptions, Status, Timeouts, fargate
from cloudburst.aws.s3 import request_waits
from cloudburst.engine import attempt_context
from cloudburst.events import SceneEncoding
from cloudburst.inputs.remote_inputs import MAX_CHECKED_BYTES
from support.counted_sockets import Traffic, counted_sockets
from support.emulator_calls import client, logged
from support.emulator_settings import settings_of
from support.fargate_backend import session_keys
from support.s3_fault_mixes import drawn
from support.s3_runs import SECRETS, World, impatient, secrets_seen
from support.service_inputs import tone

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(300)]

SCENES = 2
BUCKET = "films"
SMALL = RenderOptions(effects=(), size="640x360", fps=24)
SUBTITLE = b"1\n00:00:00,000 --> 00:00:00,900\nHello\n"
ANSWER_BYTES = REQUEST_BYTES = 4000
"""Headers and documents of a call of AWS, on average at most."""
JOB_BYTES = 40_000
"""JSON and events between client and worker for one scene, at most. A video is larger."""
HURRIED = Timeouts(stop=2, settle=4)
SEEDS = range(30)
MIXED_SCENES = 5
SERVICE_AT_DEBUG = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
from cloudburst.service.lifecycle import run
sys.exit(run())
"""
"""Our service, whose own settings of logging have no effect then."""
AT_DEBUG = (sys.executable, "-c", SERVICE_AT_DEBUG)


def lay_inputs(s3, folder, *, seconds=1.0):
    """Pictures of noise, which no encoder makes small."""
    rng = random.Random(7)
    Image.frombytes("RGB", (640, 360), rng.randbytes(640 * 360 * 3)).save(folder / "a.png")
    tone(folder / "a.wav", seconds)
    files = {
        "png": (folder / "a.png").read_bytes(),
        "wav": (folder / "a.wav").read_bytes(),
        "srt": SUBTITLE,
    }
    for number in range(SCENES):
        for kind, data in files.items():
            body = data + str(number).encode() if kind == "png" else data
            s3.put_object(Bucket=BUCKET, Key=f"in/scene {number}.{kind}", Body=body)
    scenes = [
        {
            "scene_name": f"scene {number}",
            "image_path": f"s3://{BUCKET}/in/scene {number}.png",
            "audio_path": f"s3://{BUCKET}/in/scene {number}.wav",
            "subtitle": f"s3://{BUCKET}/in/scene {number}.srt",
        }
        for number in range(SCENES)
    ]
    return scenes, sum(map(len, files.values()))


@pytest.mark.long(15)
async def test_no_scene_byte_passes_through_the_client(our_account, tmp_path, caplog):
    caplog.set_level("DEBUG")
    with our_account(moto=False, worker=AT_DEBUG) as aws:
        s3 = client(aws, "s3")
        s3.create_bucket(Bucket=BUCKET)
        scenes, scene_bytes = lay_inputs(s3, tmp_path)
        secrets = secrets_seen(aws)
        backend = fargate(settings_of(aws, **session_keys(aws)))
        caplog.clear()  # the calls of this test log the token
        before = len(aws.calls)
        with counted_sockets(servers={urlsplit(aws.url).port}) as traffic:
            async with (
                Client(backend, options=SMALL, limits=Limits(workers=1)) as opened,
                opened.stream(scenes, to=f"s3://{BUCKET}/out/") as run,
            ):
                report = await run.until_done()
        calls = aws.calls[before:]
        hold_report(report, s3, scene_bytes)
        hold_calls([call for call in calls if call.service == "s3"], report, scene_bytes)
        hold_traffic(traffic, aws, calls, report)
        text = caplog.text + report.model_dump_json() + log_of_workers(aws)
    assert len(secrets) > 4 * SCENES, "each URL has a signature, and all have a token"
    assert not [secret for secret in (*SECRETS, *secrets) if secret in text]


def log_of_workers(aws):
    """Everything that workers have logged, at level DEBUG."""
    text = "\n".join(logged(aws))
    assert "DEBUG" in text
    return text


@pytest.mark.nightly
@pytest.mark.chaos
@pytest.mark.parametrize("seed", SEEDS)
async def test_faults_of_s3_and_real_renders(our_account, seed, monkeypatch, caplog):
    """The same mixes as with a stand-in for the renders, with real ones in real tasks."""
    caplog.set_level("DEBUG")
    impatient(monkeypatch)
    with our_account(moto=False, worker=AT_DEBUG) as aws:
        client(aws, "s3").create_bucket(Bucket=BUCKET)
        keys = session_keys(aws)
        caplog.clear()  # the call logs the token
        backend = fargate(settings_of(aws, **keys))
        world = World(aws, "", "mixed", bucket=BUCKET, backend=backend, keys=keys)
        scenes = world.scenes(MIXED_SCENES)
        faults = drawn(seed, MIXED_SCENES)
        for fault in faults:
            aws.add_fault(fault)
        try:
            told = await world.run(scenes, settings=settings_of(aws, **keys))
            world.clear_faults()
            world.hold(told, [scene["scene_name"] for scene in scenes])
            shown = (caplog.text, log_of_workers(aws), told.report.model_dump_json(), repr(told))
            world.hold_secrets(*shown)
        except BaseException as exc:
            exc.add_note("\n".join(map(str, faults)))
            raise


def hold_report(report, s3, scene_bytes):
    assert report.status is Status.COMPLETE
    assert len(report.videos) == SCENES
    assert min(video.size for video in report.videos) > JOB_BYTES
    for entry in report.scenes:
        assert (entry.bytes_sent, entry.bytes_received) == (0, 0)
        assert entry.bytes_delivered == entry.video.size
        head = s3.head_object(Bucket=BUCKET, Key=entry.video.path.key)
        assert head["ContentLength"] == entry.video.size
    fetched = sum(entry.bytes_fetched for entry in report.scenes)
    assert fetched >= SCENES * scene_bytes + sum(len(str(n)) for n in range(SCENES))


def hold_calls(calls, report, scene_bytes):
    """What S3 has counted is what the report says."""
    reads = [call for call in calls if call.operation == "GetObject"]
    inputs = [call for call in reads if "/in/" in call.resource]
    own = Counter()
    for call in inputs:
        own[call.resource] += 0 if call.presigned else call.sent
    assert len(own) == 3 * SCENES
    for resource, count in own.items():
        assert count <= (len(SUBTITLE) if resource.endswith(".srt") else MAX_CHECKED_BYTES)
    assert own.total() == report.bytes_checked
    assert report.bytes_checked < SCENES * scene_bytes / 4
    by_worker = [call for call in inputs if call.presigned]
    fetched = sum(entry.bytes_fetched for entry in report.scenes)
    surplus = sum(call.sent for call in by_worker) - fetched
    # The scheduler may take a scene off its worker while the worker fetches the files.
    assert surplus == 0 if len(by_worker) == 3 * SCENES else surplus >= 0
    written = [call for call in calls if call.operation == "PutObject" and call.presigned]
    assert sum(call.received for call in written) == sum(video.size for video in report.videos)
    assert len(written) == SCENES


def of_aws(traffic, aws):
    """Numbers of bytes that the client has received from AWS and sent to it."""
    port = urlsplit(aws.url).port
    return [counts.pop(("127.0.0.1", port)) for counts in (traffic.received, traffic.sent)]


def hold_traffic(traffic, aws, calls, report):
    """The client's own sockets carried no more than that, and led to AWS and workers only."""
    received, sent = Counter(traffic.received), Counter(traffic.sent)
    from_aws, to_aws = of_aws(Traffic(received, sent), aws)
    number = sum(not call.presigned for call in calls)
    assert report.bytes_checked < from_aws <= report.bytes_checked + number * ANSWER_BYTES
    assert 0 < to_aws <= number * REQUEST_BYTES
    hosts = {task.address for task in aws.tasks}
    assert {host for host, _ in (*received, *sent)} <= hosts
    assert 0 < received.total() <= SCENES * JOB_BYTES
    assert 0 < sent.total() <= SCENES * JOB_BYTES


async def rendered(aws, folder, at_first_encode, **settings):
    """Start a run of long scenes, do something at the first encode, and return the last report."""
    s3 = client(aws, "s3")
    s3.create_bucket(Bucket=BUCKET)
    scenes, _ = lay_inputs(s3, folder, seconds=60.0)
    backend, met = fargate(settings_of(aws, **settings)), []
    async with (
        Client(backend, options=SMALL, limits=Limits(workers=2), timeouts=HURRIED) as opened,
        opened.stream(scenes, to=f"s3://{BUCKET}/out/") as run,
    ):
        async for event in run:
            if isinstance(event, SceneEncoding) and not met:
                met.append(event)
                at_first_encode(s3)
        return await run.settled()


@pytest.mark.nightly
@pytest.mark.long(15)
async def test_credentials_that_never_return(our_account, tmp_path, monkeypatch):
    """Nothing can be stopped without credentials: the report names the tasks, and they end soon."""
    monkeypatch.setattr(request_waits, "CREDENTIALS_TIMEOUT", 0.5)
    monkeypatch.setattr(attempt_context, "WRITE_TIMEOUT", 0.5)
    with our_account(moto=False) as aws:
        report = await rendered(
            aws, tmp_path, lambda _: aws.expire_credentials(), CLOUDBURST_IDLE=3
        )
        assert report.status in {Status.FAILED, Status.PARTIAL}
        assert "the credentials have expired" in report.problem
        running = {worker.task for worker in report.workers if worker.possibly_running}
        assert running
        assert running >= {task.arn for task in aws.live}
        with anyio.fail_after(20):
            while aws.live:  # noqa: ASYNC110
                await anyio.sleep(0.1)
        assert {task.exit_code for task in aws.tasks} == {0}
