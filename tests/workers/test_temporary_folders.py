"""Temporary folders of calls that asyncio cancels: none is left."""

from __future__ import annotations

import asyncio
import tempfile
import threading

import pytest

from cloudburst.workers.temporary_folders import temporary_folder

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"  # anyio's own cancellations do not interrupt a thread


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


async def test_cancelled_while_it_is_made(temporary, monkeypatch):
    begun, may_go_on, make = threading.Event(), threading.Event(), tempfile.mkdtemp

    def make_slowly(**settings):
        begun.set()
        may_go_on.wait()
        return make(**settings)

    monkeypatch.setattr(tempfile, "mkdtemp", make_slowly)

    async def use():
        async with temporary_folder():
            raise AssertionError("the block of a cancelled task is run")

    task = asyncio.create_task(use())
    while not (begun.is_set() or task.done()):  # noqa: ASYNC110 - of a thread
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.sleep(0)
    may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("rounds", range(6))
async def test_cancelled_again_while_it_is_removed(temporary, rounds):
    entered = asyncio.Event()

    async def use():
        async with temporary_folder() as folder:
            (folder / "file").touch()
            entered.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(use())
    await entered.wait()
    task.cancel()
    for _ in range(rounds):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(temporary.iterdir()) == []
