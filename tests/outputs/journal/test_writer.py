"""What was written is there: in time, in order, many to a commit, and whoever was cancelled."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sqlite3
import stat
import time

import anyio
import pytest
from blockbuster import BlockingError, blockbuster_ctx

from cloudburst.errors import ClosedError, ConfigurationError, JournalError
from cloudburst.models.journal_entries import JournalState
from cloudburst.models.report import Status
from cloudburst.outputs.journal.file import JournalFile, connect
from cloudburst.outputs.journal.reader import (
    is_completed,
    journal_path,
    journal_paths,
    read_journal,
)
from cloudburst.outputs.journal.tables import APPLICATION_ID, SCHEMA_VERSION
from cloudburst.outputs.journal.writer import open_journal
from support.journal_entries import (
    Model,
    failure,
    inline,
    launch,
    one_of_each,
    process,
    same,
    scene,
    task,
)
from support.project import TESTS

pytestmark = pytest.mark.anyio
REAL = pytest.mark.parametrize("anyio_backend", ["asyncio"])
SEEDS = range(30)


class Calls:
    """Calls what blocks after a while, and counts."""

    def __init__(self, seconds=0.1):
        self.seconds = seconds
        self.made = 0

    async def __call__(self, function):
        await anyio.sleep(self.seconds)
        self.made += 1
        done = function()
        await anyio.sleep(self.seconds)
        return done


async def test_a_new_journal_is_empty_and_whole(tmp_path):
    async with open_journal(tmp_path / "new" / "out", "r1", call=inline) as journal:
        assert journal.path == tmp_path / "new" / "out" / ".cloudburst" / "r1.sqlite"
        assert await journal.read() == JournalState()
    assert journal.path.stat().st_size > 0
    assert [path.name for path in journal.path.parent.iterdir()] == ["r1.sqlite"]


async def test_every_kind_comes_back_as_it_was(tmp_path):
    model = Model().write(*one_of_each())
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        await journal.write(*one_of_each())
        assert same(await journal.read(), model)
    assert same(read_journal(journal.path), model)
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        assert same(await journal.read(), model)


async def test_a_reader_leaves_no_file(tmp_path):
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        await journal.write(*one_of_each())
    found = journal.path.read_bytes()
    read_journal(journal.path)
    assert is_completed(journal.path)
    assert [path.name for path in journal.path.parent.iterdir()] == ["r1.sqlite"]
    assert journal.path.read_bytes() == found


async def test_a_reader_at_the_end_delays_no_writer(tmp_path):
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        await journal.write(*one_of_each())
        reader = connect(journal.path)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM processes").fetchone()
    assert len(reader.execute("SELECT * FROM tasks").fetchall()) == 1
    reader.close()
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        assert same(await journal.read(), Model().write(*one_of_each()))


async def test_an_entry_replaces_an_earlier_one_of_the_same_thing(tmp_path):
    entries = [
        scene("a", "f1"),
        scene("b", "f1"),
        task("t1"),
        task("t2"),
        task("t1", stopped_at=5.0, settled=True),
        scene("a", "f2"),
        failure("a", kills=1),
        failure("a", kills=2),
    ]
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        for entry in entries:
            await journal.write(entry)
        past = await journal.read()
    assert same(past, Model().write(*entries))
    assert list(past.scenes) == ["a", "b"]
    assert past.tasks["t1"].settled
    assert past.scene_failures["a"].worker_losses == 2


async def test_an_end_belongs_to_its_process(tmp_path):
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        _, *_, ended = one_of_each()
        await journal.write(process(1.0), ended)
        assert (await journal.read()).end == ended
        await journal.write(process(2.0))
        assert (await journal.read()).end is None
        await journal.write(process(2.0))  # written again: no other process
        assert [entry.started_at for entry in (await journal.read()).processes] == [1.0, 2.0]


async def test_its_clock_is_that_of_the_world_unless_given(tmp_path):
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        assert abs(journal.now() - time.time()) < 5
    async with open_journal(tmp_path, "r2", call=inline, clock=lambda: 7.0) as journal:
        assert journal.now() == 7.0


async def test_what_arrives_during_a_commit_goes_with_the_next_one(tmp_path):
    calls = Calls()
    entries = [launch(f"k{n}") for n in range(100)]
    async with open_journal(tmp_path, "r1", call=calls) as journal:
        before = calls.made
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(journal.write, entries[0])
            await anyio.sleep(0.05)  # a commit is on its way
            for entry in entries[1:]:
                tasks.start_soon(journal.write, entry)
        assert calls.made - before == 2
        assert len((await journal.read()).launches) == 100


async def test_a_write_of_nothing_costs_nothing(tmp_path):
    calls = Calls()
    async with open_journal(tmp_path, "r1", call=calls) as journal:
        before = calls.made
        await journal.write()
        assert calls.made == before


@pytest.mark.parametrize("after", [0.0, 0.05, 0.15, 0.25, 0.35, 0.45])
async def test_a_cancelled_write_harms_no_other(tmp_path, after):
    acknowledged = []

    async def write(*entries):
        await journal.write(*entries)
        acknowledged.extend(entries)

    async with open_journal(tmp_path, "r1", call=Calls()) as journal:
        async with anyio.create_task_group() as tasks:
            with anyio.move_on_after(after):
                await write(launch("cut"))
            for n in range(5):
                tasks.start_soon(write, launch(f"k{n}"))
        await write(launch("last"))
        past = await journal.read()
    assert (
        {e.token for e in acknowledged}
        <= set(past.launches)
        <= {"cut", "last", *map("k{}".format, range(5))}
    )
    assert len(acknowledged) >= 6
    assert read_journal(journal.path) == past


async def test_what_was_cut_is_not_written_over_what_came_later(tmp_path):
    async with open_journal(tmp_path, "r1", call=Calls()) as journal:
        with anyio.move_on_after(0.15):  # it is there, and the answer is not
            await journal.write(task("t1"))
        await journal.write(task("t1", settled=True))
        assert (await journal.read()).tasks["t1"].settled
    assert read_journal(journal.path).tasks["t1"].settled


@REAL
@pytest.mark.few(3)
@pytest.mark.parametrize("whom", ["writers", "all"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_native_cancels_lose_nothing_that_was_acknowledged(tmp_path, seed, whom):
    """asyncio's own ``Task.cancel()``, which no anyio shield holds back; real threads."""
    rng, acknowledged, written = random.Random(seed), [], asyncio.Event()

    async def writer(journal, name):
        for n in range(1000):
            entry = launch(f"{name}-{n}")
            await journal.write(entry)
            acknowledged.append(entry)
            written.set()

    async def owner():
        async with open_journal(tmp_path, "r1") as journal:
            writers = [asyncio.ensure_future(writer(journal, n)) for n in range(8)]
            try:
                await asyncio.gather(*writers)
            finally:
                for each in writers:
                    each.cancel()
                await asyncio.wait(writers)

    for turn in range(4):
        mine = asyncio.current_task()
        others = asyncio.all_tasks()
        owning = asyncio.ensure_future(owner())
        await asyncio.sleep(rng.uniform(0, 0.15))
        if turn == 3:  # on a machine that is busy with other things it may take longer
            await written.wait()
        for _ in range(rng.randint(1, 3)):
            victims = asyncio.all_tasks() - others if whom == "all" else {owning}
            for victim in victims - {mine}:
                victim.cancel()
            await asyncio.sleep(rng.choice([0, 0, 0.01]))
        await asyncio.wait([owning])
        path = journal_path(tmp_path, "r1")
        if path.exists():
            there = read_journal(path).launches
            assert {entry.token for entry in acknowledged} <= set(there)
    assert acknowledged


@REAL
async def test_nothing_of_it_blocks_the_loop(tmp_path):
    with blockbuster_ctx(scanned_modules=["cloudburst.outputs.journal"]):
        async with open_journal(tmp_path, "r1") as journal:
            await journal.write(*(scene(f"s{n}") for n in range(1000)))
            await journal.save_file("a", "text")
            assert len((await journal.read()).scenes) == 1000
        with pytest.raises(BlockingError):  # that it would be seen
            async with open_journal(tmp_path, "r2", call=inline):
                pass


async def test_a_journal_is_not_written_after_its_end(tmp_path):
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        pass
    with pytest.raises(ClosedError, match="was closed"):
        await journal.write(launch())
    with pytest.raises(JournalError, match="was closed"):
        await journal.read()


async def test_a_cancelled_writer_leaves_no_file_open(tmp_path):
    with anyio.CancelScope() as scope:
        async with open_journal(tmp_path, "r1", call=inline) as journal:
            await journal.write(launch())
            scope.cancel()
            await anyio.sleep(1)
    assert [path.name for path in journal.path.parent.iterdir()] == ["r1.sqlite"]


@REAL
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_asyncio_cancels_and_no_file_is_left_open(tmp_path, times):
    inside = asyncio.Event()

    async def hold():
        async with open_journal(tmp_path, "r1") as journal:
            await journal.write(launch())
            inside.set()
            await asyncio.sleep(10)

    task = asyncio.ensure_future(hold())
    await inside.wait()
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [path.name for path in (tmp_path / ".cloudburst").iterdir()] == ["r1.sqlite"]


@REAL
async def test_a_cancelled_opening_leaves_no_connection(tmp_path):
    file = JournalFile(journal_path(tmp_path, "r1"))
    await anyio.to_thread.run_sync(file.close)
    with pytest.raises(JournalError, match="was closed"):  # the thread comes too late
        await anyio.to_thread.run_sync(file.open)


@pytest.mark.parametrize("run", ["", "a/b", "..", "a.b", "x" * 65, "lock", "LOCK", "幕"])
async def test_runs_that_no_file_can_be_called_after(tmp_path, run):
    with pytest.raises(ConfigurationError, match="the name of the run"):
        async with open_journal(tmp_path, run, call=inline):
            pytest.fail("must not get here")
    assert not any(tmp_path.rglob("*"))


async def test_kept_files_are_whole_and_lie_beside_it(tmp_path):
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        path = await journal.save_file("第 1 幕.md", "one\n")
        assert path == tmp_path / ".cloudburst" / "r1" / "第 1 幕.md"
        assert await journal.save_file("第 1 幕.md", "two \udcff") == path
    assert path.read_text(encoding="utf-8") == "two \\udcff"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a\\b", ".a", "a\0", "con", "x" * 201])
async def test_names_that_no_kept_file_can_have(tmp_path, name):
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        with pytest.raises(ConfigurationError, match="the name of the file"):
            await journal.save_file(name, "text")
    assert not (tmp_path / ".cloudburst" / "r1").exists()


async def test_a_file_that_cannot_be_kept_is_an_error_of_ours(tmp_path):
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        (tmp_path / ".cloudburst" / "r1").write_text("in the way")
        with pytest.raises(JournalError, match="cannot be written"):
            await journal.save_file("a", "text")


async def test_journals_of_a_folder(tmp_path):
    assert journal_paths(tmp_path / "nothing") == ()
    for run in ("b", "a"):
        async with open_journal(tmp_path, run, call=inline) as journal:
            await journal.save_file("x.sqlite", "not one")
    assert [path.stem for path in journal_paths(tmp_path)] == ["a", "b"]
    assert journal_paths(tmp_path)[0] == journal_path(tmp_path, "a")


def test_a_file_of_this_format_can_be_read(tmp_path):
    """A change of the format needs another version number."""
    assert (APPLICATION_ID, SCHEMA_VERSION) == (0x436C6442, 5)
    path = tmp_path / "r1.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript((TESTS / "support" / "journal_5.sql").read_text())
    connection.close()
    assert same(read_journal(path), Model().write(*one_of_each()))


async def test_a_journal_is_readable_by_its_owner_only(tmp_path):
    before = os.umask(0)
    try:
        async with open_journal(tmp_path, "r1", call=inline) as journal:
            await journal.write(*one_of_each())
    finally:
        os.umask(before)
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600


async def test_a_commit_survives_a_power_failure(tmp_path):
    """Each commit syncs the file, and the folder from which its rollback journal is removed."""
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        await journal.write(*one_of_each())
        connection = journal._file._connection
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (3,)


@REAL
async def test_the_default_is_a_thread_and_leaves_none(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "cloudburst"):
        async with open_journal(tmp_path, "r1") as journal:
            await journal.write(*one_of_each())
            past = await journal.read()
    assert past.end.status is Status.COMPLETE
    assert not caplog.records
    assert [path.name for path in journal.path.parent.iterdir()] == ["r1.sqlite"]
