"""Shared encoding of a job: processes run only in idle slots, and none is left running."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from support.service_caller import Caller, OpenCaller, alive, eventually

pytestmark = pytest.mark.anyio

LONGER_THAN_IDLE = 0.8
"""Seconds after which an idle slot is used: more than `encoder_slots.IDLE_SECONDS`."""


class Shared:
    """A job that announces GOPs, and the processes that were started for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "started"
        self.folder.mkdir()
        self.end = folder / "end"

    def todo(self, gop: str = "hang", *, gops: int = 9, announcements: int = 1) -> dict[str, Any]:
        return {
            "do": "share",
            "gop": gop,
            "gops": gops,
            "announcements": announcements,
            "started": str(self.folder),
            "end": str(self.end),
        }

    def started(self) -> list[int]:
        return [int(path.name) for path in self.folder.iterdir()]

    def running(self) -> list[int]:
        return [pid for pid in self.started() if alive(pid)]

    def runs(self, count: int) -> Callable[[], bool]:
        return lambda: len(self.running()) == count


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    folder = tmp_path / "shared"
    folder.mkdir()
    return Shared(folder)


async def test_idle_slots_encode_gops_until_the_job_ends(
    caller: OpenCaller, shared: Shared
) -> None:
    async with caller(encoders=3) as to:
        job = await to.start(shared.todo())
        await eventually(shared.runs(2))
        await anyio.sleep(LONGER_THAN_IDLE)
        assert len(shared.started()) == 2
        shared.end.touch()
        state = await to.until(job, "done")
        assert shared.running() == []
        assert 2 * LONGER_THAN_IDLE < state["shared_seconds"] < 30


async def test_no_process_is_started_for_a_job_that_announces_nothing(
    caller: OpenCaller, shared: Shared
) -> None:
    async with caller(encoders=2) as to:
        job = await to.start({**shared.todo(), "do": "render", "seconds": LONGER_THAN_IDLE})
        assert (await to.until(job, "done"))["shared_seconds"] == 0
        assert shared.started() == []


async def test_no_process_is_started_while_all_slots_have_jobs(
    caller: OpenCaller, shared: Shared
) -> None:
    async with caller(encoders=2) as to:
        await to.start(shared.todo())
        await to.start({"do": "hang"})
        await anyio.sleep(LONGER_THAN_IDLE)
        assert shared.started() == []


async def test_a_job_that_needs_the_slot_gets_it_at_once(
    caller: OpenCaller, shared: Shared
) -> None:
    async with caller(encoders=2) as to:
        first = await to.start(shared.todo())
        await eventually(shared.runs(1))
        other = await to.start({"do": "render"})
        await to.until(other, "done")
        await eventually(shared.runs(1))  # the slot is idle again
        assert len(shared.started()) == 2
        shared.end.touch()
        await to.until(first, "done")
        assert shared.running() == []


async def test_the_process_of_a_job_that_needs_the_slot_starts_after_the_kill(
    caller: OpenCaller, shared: Shared
) -> None:
    async with caller(encoders=2) as to:
        await to.start(shared.todo())
        await eventually(shared.runs(1))
        other = await to.start({"do": "hang"})
        await to.until(other, "running")
        assert shared.running() == []


async def cancel(to: Caller, job: str) -> None:
    await to.http.delete(f"/jobs/{job}")


async def stop(to: Caller, _job: str) -> None:
    await to.service.jobs.interrupt()


@pytest.mark.parametrize("how", [cancel, stop])
async def test_processes_end_with_the_job(
    caller: OpenCaller, shared: Shared, how: Callable[[Caller, str], Any]
) -> None:
    async with caller(encoders=3) as to:
        job = await to.start(shared.todo())
        await eventually(shared.runs(2))
        await how(to, job)
        assert shared.running() == []
        assert not [file for file in to.files() if file.startswith("jobs")]


async def test_processes_end_with_the_service(caller: OpenCaller, shared: Shared) -> None:
    async with caller(encoders=3) as to:
        await to.start(shared.todo())
        await eventually(shared.runs(2))
    assert shared.running() == []
    assert not to.service.folder.exists()


async def test_processes_end_with_a_job_that_makes_no_progress(
    caller: OpenCaller, shared: Shared
) -> None:
    async with caller(encoders=2, scene_seconds=2.0) as to:
        job = await to.start(shared.todo())
        await eventually(shared.runs(1))
        assert "no progress" in (await to.until(job, "failed"))["error"]["error"]
        assert shared.running() == []


async def test_no_more_processes_start_when_nothing_is_left_to_encode(
    caller: OpenCaller, shared: Shared
) -> None:
    async with caller(encoders=2) as to:
        await to.start(shared.todo("finish"))
        await eventually(lambda: len(shared.started()) == 1)
        await anyio.sleep(2 * LONGER_THAN_IDLE)
        assert len(shared.started()) == 1


async def test_a_process_that_still_encodes_is_not_killed_by_the_end_of_another(
    caller: OpenCaller, shared: Shared
) -> None:
    async with caller(encoders=3) as to:
        job = await to.start(shared.todo("second finishes"))
        await eventually(lambda: len(shared.started()) == 2 and len(shared.running()) == 1)
        await anyio.sleep(0.2)
        assert len(shared.running()) == 1
        shared.end.touch()
        await to.until(job, "done")


async def test_a_job_does_not_fail_with_its_processes(
    caller: OpenCaller, shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    async with caller(encoders=2) as to:
        job = await to.start(shared.todo("fail"))
        await eventually(lambda: "a process of shared encoding failed" in caplog.text)
        await anyio.sleep(LONGER_THAN_IDLE)
        assert len(shared.started()) == 1
        shared.end.touch()
        await to.until(job, "done")


async def test_a_job_does_not_fail_if_no_process_can_be_started(
    caller: OpenCaller, shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    async with caller(encoders=2, gop_command=["/nonexistent"]) as to:
        job = await to.start(shared.todo())
        await eventually(lambda: "can be started" in caplog.text)
        shared.end.touch()
        await to.until(job, "done")


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize(("gops", "started"), [(100_000, 2), (100_001, 0), (2, 1), (1, 0), (-5, 0)])
async def test_a_child_that_announces_many_gops_gets_idle_slots_only(
    caller: OpenCaller,
    shared: Shared,
    gops: int,
    started: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with caller(encoders=3) as to:
        job = await to.start(shared.todo(gops=gops, announcements=500))
        await anyio.sleep(LONGER_THAN_IDLE)
        await eventually(lambda: len(shared.started()) == started)
        for _ in range(2):
            await to.start({"do": "render", "seconds": 0.1})
        other = await to.start({"do": "render"})
        await to.until(other, "done")
        shared.end.touch()
        await to.until(job, "done")
        assert shared.running() == []
