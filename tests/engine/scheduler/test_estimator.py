"""When scenes are sent ahead to a worker that still encodes."""

from __future__ import annotations

import pytest

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.pool_state import PoolWorker, Ticket
from cloudburst.engine.records import Attempt, PhaseSpan, WorkerRecord
from cloudburst.engine.scheduler.performances import Performances
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.report import Status
from cloudburst.models.task import TaskSpec
from cloudburst.models.tier import Tier
from cloudburst.testing import FakeCloud
from support.harness import engine, known, working


@pytest.mark.anyio
async def test_an_encode_takes_the_time_of_all_slots_that_shared_it():
    async with FakeCloud(encoders=2).backend(Timeouts(), Tier.STANDARD) as backend:
        check_shared_encode(backend)


def check_shared_encode(backend):
    performances = Performances(Measurements())
    ticket = Ticket(run="r", scene="s", language="english", audio_seconds=30.0, work=32.0)
    spans = [PhaseSpan("upload", 0.0, 1.0), PhaseSpan("encode", 1.0, 6.0)]
    attempt = Attempt(run="r", scene="s", spans=spans, shared_seconds=3.0)
    worker = PoolWorker(
        backend=backend,
        number=0,
        spec=TaskSpec(),
        record=WorkerRecord(backend="fake", run="r"),
        expected_audio_seconds=1.0,
    )
    performances.learn_scene(worker, attempt, ticket)
    performance = performances.of_backend(backend)
    assert performance.encode_seconds(32.0) == pytest.approx(8.0)
    assert performance.transfer_seconds == 1.0
    # The budget divides the time of a scene by the number of slots.
    assert performances.slowest.seconds_per_audio_second == pytest.approx(9.0 / 30.0)


@pytest.mark.anyio
async def test_a_scene_is_not_sent_long_before_it_can_be_encoded():
    """The one that comes next is not stuck behind the longest of all."""
    works = [300, 100, 90, 80, 70, 60, 50]
    cloud = FakeCloud(boot=5, upload=1, encode=lambda name: works[int(name[1:])], download=1)
    scenes = [working(f"s{number}", seconds) for number, seconds in enumerate(works)]
    async with engine(cloud, measurements=known(cloud), limits=Limits(workers=3)) as e:
        report = await e.render(scenes)
    assert report.status is Status.COMPLETE
    alone = next(video.task for video in report.videos if video.scene == "s0")
    assert [video.scene for video in report.videos if video.task == alone] == ["s0"]
    assert all(entry.slot_wait_seconds < 15 for entry in report.scenes)
    assert {entry.attempts for entry in report.scenes} == {1}


@pytest.mark.anyio
async def test_each_encoder_slot_has_its_own_next_scene():
    """One slot is free soon and the other one is not: one scene is sent for the two of them."""
    works = [300, 100, 90, 80, 70]
    cloud = FakeCloud(
        boot=5, upload=1, encode=lambda name: works[int(name[1:])], download=1, encoders=2
    )
    scenes = [working(f"s{number}", seconds) for number, seconds in enumerate(works)]
    async with engine(cloud, measurements=known(cloud), limits=Limits(workers=1)) as e:
        report = await e.render(scenes)
    assert report.status is Status.COMPLETE
    assert all(entry.slot_wait_seconds < 15 for entry in report.scenes)


@pytest.mark.anyio
async def test_it_is_sent_before_that():
    """The encoder never waits for an upload, though it takes longer than usual."""
    works = [40] * 6
    cloud = FakeCloud(boot=5, upload=8, encode=40, download=2)
    scenes = [working(f"s{number}", seconds) for number, seconds in enumerate(works)]
    async with engine(cloud, measurements=known(cloud), limits=Limits(workers=1)) as e:
        report = await e.render(scenes)
    assert report.wall_seconds == pytest.approx(5 + 8 + 6 * 40 + 2, abs=1)
