"""Markers of runs in S3, against an emulated account."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from datetime import UTC, datetime, timedelta

import anyio
import anyio.lowlevel
import pytest

from cloudburst.aws.s3.run_markers import MARKER_LIFETIME, marked
from cloudburst.testing import s3_fault
from support.s3_account import content, in_folder, put
from support.short_waits import repeat_quickly

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick_repeats(monkeypatch):
    repeat_quickly(monkeypatch)


@pytest.fixture
def warnings(caplog):
    """Return a function that returns the warnings since its last call."""
    caplog.set_level(logging.WARNING)

    def take():
        messages = list(caplog.messages)
        caplog.clear()
        return messages

    return take


def mark(store, folder, *names, run="r", overwrite=False, **more):
    return marked(store, folder, names or ("a", "b"), run=run, overwrite=overwrite, **more)


def marker(run):
    return f".cloudburst/{run}.json"


def abandon(emulator, folder, run="old", names=("a",), *, host="far", age=timedelta(hours=1)):
    """Write a marker as a process does that was killed afterwards."""
    started = (datetime.now(UTC) - age).isoformat()
    left = {"run": run, "host": host, "pid": 7, "started": started, "names": names}
    put(emulator, folder.object(marker(run)), json.dumps(left).encode())


async def test_a_marker_names_the_run_and_is_deleted_at_its_end(emulator, store, folder, warnings):
    async with mark(store, folder):
        assert in_folder(emulator, folder) == [marker("r")]
        written = json.loads(content(emulator, folder.object(marker("r"))))
        assert (written["run"], sorted(written["names"])) == ("r", ["a", "b"])
        assert written["host"] == socket.gethostname()
    assert in_folder(emulator, folder) == []
    assert warnings() == []


async def test_a_second_run_with_the_same_names_is_told_of_the_first(store, folder, warnings):
    async with mark(store, folder, run="first"):
        assert warnings() == []
        async with mark(store, folder, "b", "c", run="second"):
            [told] = warnings()
        async with mark(store, folder, run="third", overwrite=True):
            [overwriting] = warnings()
        async with mark(store, folder, "c", run="fourth"):
            assert warnings() == []
    host = socket.gethostname()
    assert f"run first (process {os.getpid()} on {host}, started at 20" in told
    assert " UTC) may still be writing b.mp4: the first video of a name stays" in told
    assert told.endswith(f"resume it or delete its marker {folder.object(marker('first'))}")
    assert "a.mp4, b.mp4: the last video of a name stays" in overwriting


async def test_two_runs_at_once_one_is_told(store, folder, warnings):
    both = anyio.Event()
    inside = []

    async def run(name):
        async with mark(store, folder, run=name):
            inside.append(name)
            if len(inside) == 2:
                both.set()
            await both.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, "one")
        tasks.start_soon(run, "two")
    assert 1 <= len(warnings()) <= 2


@pytest.mark.parametrize("host", ["far", socket.gethostname()])
async def test_a_run_that_is_resumed_is_told_of_its_process_on_another_machine(
    emulator, store, folder, warnings, host
):
    """On this machine, the earlier process has ended: the journal of the run is locked."""
    abandon(emulator, folder, "r", host=host)
    async with mark(store, folder):
        assert json.loads(content(emulator, folder.object(marker("r"))))["pid"] != 7
        told = ["run r (process 7 on far, " in message for message in warnings()]
        assert told == ([True] if host == "far" else [])
    assert in_folder(emulator, folder) == []


async def test_a_marker_of_a_killed_run_stays_for_a_day(emulator, store, folder, warnings):
    abandon(emulator, folder)
    abandon(emulator, folder, "older", ("z",), age=MARKER_LIFETIME + timedelta(minutes=1))
    abandon(emulator, folder, "r", age=MARKER_LIFETIME + timedelta(minutes=1))
    async with mark(store, folder):
        assert in_folder(emulator, folder) == [marker("old"), marker("r")]
    assert ["run old" in message for message in warnings()] == [True]


async def test_objects_that_are_not_markers_are_ignored(emulator, store, folder, warnings):
    for name, data in {
        "text": b"not JSON",
        "list": b"[]",
        "deep": b"[" * 100_000,
        "large": b"[" + b" " * 2**20,
        "no-zone": b'{"run": "x", "host": "h", "pid": 1, "started": "2026-01-01", "names": ["a"]}',
    }.items():
        put(emulator, folder.object(marker(name)), data)
    put(emulator, folder.object(marker("archived")), b"{}", StorageClass="GLACIER")
    async with mark(store, folder):
        pass
    assert warnings() == []
    assert len(in_folder(emulator, folder)) == 6


async def test_what_other_programs_have_written_is_shown_in_one_line(
    emulator, store, folder, warnings
):
    abandon(emulator, folder, "old", names=("a", "n" * 5000), host="\n\x1b[2J" + "h" * 5000)
    async with mark(store, folder):
        pass
    [message] = warnings()
    assert message.isprintable()
    assert len(message) < 700


@pytest.mark.parametrize("operation", ["PutObject", "GetObject", "ListObjectsV2", "DeleteObject"])
async def test_a_refusal_of_s3_ends_no_run(emulator, store, folder, warnings, operation):
    abandon(emulator, folder)
    emulator.add_fault(s3_fault("access denied", operation, times=2))
    entered = False
    async with mark(store, folder):
        entered = True
    assert entered
    emulator._inside.api.faults._pending.clear()
    if operation != "GetObject":
        assert any(str(folder) in message for message in warnings())


@pytest.mark.parametrize("native", [False, True])
async def test_a_run_that_is_cancelled_after_any_call_leaves_no_marker(
    emulator, store, folder, monkeypatch, native
):
    """The answer to a call has arrived, but the caller does not get it."""
    call = store.aws.call
    for at in range(1, 8):
        number, scope, tasks = 0, anyio.CancelScope(), []

        async def counted(*args, at=at, scope=scope, tasks=tasks, **more):
            nonlocal number
            number += 1
            now = number == at
            try:
                return await call(*args, **more)
            finally:
                if now:
                    cancel = tasks[0].cancel if native else scope.cancel
                    cancel()
                    await anyio.lowlevel.checkpoint()

        async def run(scope=scope):
            with scope:
                async with mark(store, folder):
                    await anyio.sleep(0.01)

        monkeypatch.setattr(store.aws, "call", counted)
        tasks.append(asyncio.create_task(run()))
        await asyncio.wait(tasks)
        monkeypatch.setattr(store.aws, "call", call)
        assert tasks[0].cancelled() == (native and number >= at), at
        assert in_folder(emulator, folder) == [], at
    assert number < at, "the last round had no call to be cancelled after"


async def test_errors_of_the_run_are_not_wrapped(store, folder):
    with pytest.raises(KeyError):
        async with mark(store, folder):
            raise KeyError


async def test_the_marker_of_a_film_is_another_one(emulator, store, folder, warnings):
    async with mark(store, folder), mark(store, folder, "film", suffix=".film"):
        assert in_folder(emulator, folder) == [marker("r.film"), marker("r")]
        async with mark(store, folder, "film", run="two", suffix=".film", overwrite=True):
            [message] = warnings()
    assert "may still be writing film.mp4" in message
