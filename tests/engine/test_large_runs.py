"""Runs of many scenes: others may use the event loop while they open, report and end."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from cloudburst.concurrency import ITEMS_PER_STEP
from cloudburst.engine.report import ENTRIES_PER_STEP, ReportBuilder
from cloudburst.engine.scene_record import SceneRecord
from cloudburst.models.limits import Limits
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
            assert len(counted) - before >= MANY / ENTRIES_PER_STEP - 1
    assert len(report.scenes) == MANY
    assert run.scenes == [entry.scene for entry in report.scenes]


async def test_one_task_with_many_scenes_is_a_step_of_its_own():
    async with engine(FakeCloud(), limits=Limits(workers=1)) as e:
        async with e.open(scenes()[:300]) as run:
            report = await run.until_done()
        steps = sum(1 for _ in run._report_builder().steps())
    assert [worker.scenes for worker in report.workers] == [300]
    assert steps == 2, "after the worker with its attempts, and within the scenes"


def test_a_report_is_as_it_was_when_each_scene_was_looked_at():
    """Scenes are finished while the report is made."""
    records = [SceneRecord(name=str(number)) for number in range(ENTRIES_PER_STEP + 5)]
    builder = ReportBuilder("run", records, (), started_at=0.0, seconds=1.0, predicted=None)
    steps = builder.steps()
    next(steps)
    for record in records:
        path = Path(f"{record.name}.mp4")
        record.video = Video(scene=record.name, path=path, task="t", size=1, sha256="0", seconds=1)
    assert list(steps) == []
    report = builder.finish()
    assert len(report.videos) == 5
    assert report.status is Status.INTERRUPTED


async def test_a_report_is_made_also_in_a_cancelled_scope():
    async with engine(FakeCloud(encode=1000)) as e, e.open(scenes()) as run:
        with anyio.CancelScope() as scope:
            scope.cancel()
            report = await run.report()
        assert report.status is Status.INTERRUPTED
        assert len(report.scenes) == MANY
