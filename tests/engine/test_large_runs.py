"""Runs of many scenes: others may use the event loop while they open, report and end."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from cloudburst.concurrency import ITEMS_PER_STEP
from cloudburst.engine.records import SceneRecord, WorkerRecord
from cloudburst.engine.report import make_report
from cloudburst.models.report import Status
from cloudburst.models.scene import Video
from cloudburst.testing import FakeCloud
from support.harness import checked, engine

pytestmark = pytest.mark.anyio

MANY = 2000


@asynccontextmanager
async def turns():
    """Yield a list whose length is how often another task has had its turn."""
    counted = []

    async def count():
        while True:
            await anyio.lowlevel.checkpoint()
            counted.append(None)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        await anyio.lowlevel.checkpoint()
        yield counted
        tasks.cancel_scope.cancel()


def scenes():
    return [checked(str(number)) for number in range(MANY)]


async def test_others_have_their_turn_while_a_run_opens_and_reports():
    async with engine(FakeCloud(encode=1000)) as e, turns() as counted:
        before = len(counted)
        async with e.open(scenes()) as run:
            # One pass makes the records, another one the tickets.
            assert len(counted) - before >= 2 * MANY / ITEMS_PER_STEP - 2
            before = len(counted)
            report = await run.report()
            assert len(counted) - before >= MANY / ITEMS_PER_STEP - 1
    assert len(report.scenes) == MANY
    assert run.scenes == [entry.scene for entry in report.scenes]


async def test_others_have_their_turn_before_the_entry_of_each_worker():
    workers = [WorkerRecord(backend="fake", run="run", task=str(number)) for number in range(50)]
    async with turns() as counted:
        before = len(counted)
        report = await make_report("run", [], workers, started_at=0.0, seconds=1.0, predicted=None)
        assert len(counted) - before >= len(workers) - 1
    assert len(report.workers) == len(workers)


async def test_a_report_is_as_it_was_when_each_scene_was_looked_at():
    """Scenes are finished while the report is made."""
    records = [SceneRecord(name=str(number)) for number in range(3 * ITEMS_PER_STEP)]

    async def finish():
        for record in records:
            path = Path(f"{record.name}.mp4")
            record.video = Video(
                scene=record.name, path=path, task="t", size=1, sha256="0", seconds=1
            )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(finish)
        report = await make_report("run", records, (), started_at=0.0, seconds=1.0, predicted=None)
    assert 0 < len(report.videos) < len(records)
    assert report.status is Status.INTERRUPTED


async def test_a_report_is_made_also_in_a_cancelled_scope():
    async with engine(FakeCloud(encode=1000)) as e, e.open(scenes()) as run:
        with anyio.CancelScope() as scope:
            scope.cancel()
            report = await run.report()
        assert report.status is Status.INTERRUPTED
        assert len(report.scenes) == MANY
