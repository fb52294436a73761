"""Calls of a queue of jobs that are cancelled while their thread writes: nothing is half done."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from contextlib import suppress

import anyio
import pytest

from cloudburst.errors import ClosedError
from cloudburst.jobs import JobQueue, JobRequest, JobState, draft, stored_uploads
from cloudburst.jobs.database import open_database

pytestmark = pytest.mark.anyio


async def cancelled(call, times, started):
    """Call something, and cancel it once its thread has begun to write."""
    scope = anyio.CancelScope()

    async def run():
        with scope:
            return await call()

    task = asyncio.ensure_future(run())
    await asyncio.to_thread(started.wait)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    if not times:
        scope.cancel()
    with suppress(asyncio.CancelledError):
        await task


def slowed(monkeypatch, module, name):
    """Let a function in the transaction take a moment; return an event that it then sets."""
    function, started = getattr(module, name), threading.Event()

    def slow(*args):
        started.set()
        time.sleep(0.05)
        return function(*args)

    monkeypatch.setattr(module, name, slow)
    return started


KINDS = pytest.mark.parametrize("times", [0, 1, 2], ids=["anyio", "native", "native twice"])


@KINDS
async def test_a_job_has_its_files_however_its_submission_is_cancelled(
    times, client, make_scene, tmp_path, monkeypatch
):
    folder = tmp_path / "jobs"
    request = JobRequest(scenes=[make_scene("a")])
    async with JobQueue(client, folder) as queue:

        async def submit():
            async with queue.receive() as new:
                (new.inputs / "input").write_bytes(b"x")
                return await new.submit(request, idempotency_key="k")

        await cancelled(submit, times, slowed(monkeypatch, draft.job_rows, "insert_job"))
        jobs = [job.id for job in (await queue.page()).jobs]
        assert [path.name for path in (folder / "jobs").iterdir()] == jobs
        again = await submit()
        assert jobs in ([], [again.id])
        assert (await queue.wait(again.id)).state is JobState.COMPLETE
        assert [path.name for path in (folder / "jobs").iterdir()] == [again.id]


@KINDS
async def test_an_upload_has_its_file_however_its_storage_is_cancelled(
    times, client, tmp_path, monkeypatch
):
    async def body():
        yield b"x"

    async with JobQueue(client, tmp_path / "jobs") as queue:
        started = slowed(monkeypatch, stored_uploads, "insert_upload")
        await cancelled(lambda: queue.uploads.store(body()), times, started)
        files = {path.name for path in (tmp_path / "jobs" / "uploads").iterdir()}
    with sqlite3.connect(tmp_path / "jobs" / "jobs.sqlite") as other:
        rows = {name for (name,) in other.execute("SELECT id FROM uploads")}
    other.close()
    assert files == rows


async def test_a_call_whose_task_was_cancelled_does_not_disturb_the_next_one(tmp_path):
    started = threading.Event()

    def slow(connection):
        started.set()
        time.sleep(0.1)
        return connection.execute("SELECT count(*) FROM jobs").fetchone()

    async with open_database(tmp_path) as database:
        await cancelled(lambda: database.read(slow), 1, started)
        await database.write(lambda c: c.execute("DELETE FROM jobs"))
        started.clear()
        await cancelled(lambda: database.read(slow), 1, started)
    with pytest.raises(ClosedError, match="is closed"):  # and it is not opened once more
        await database.read(slow)
