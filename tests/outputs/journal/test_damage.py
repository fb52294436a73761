"""Files that are not what was written, and disks that take no more."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import anyio
import pytest

from cloudburst.errors import JournalError
from cloudburst.outputs.journal import writer as journal_writing
from cloudburst.outputs.journal.file import JournalFile, journal_files
from cloudburst.outputs.journal.reader import is_completed, journal_path, read_journal
from cloudburst.outputs.journal.tables import SCHEMA_VERSION
from cloudburst.outputs.journal.writer import SqliteJournal, call_in_own_thread, open_journal
from support.journal_entries import Model, inline, launch, one_of_each, same, scene
from support.project import TESTS

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A journal that was closed in order."""
    folder = tmp_path_factory.mktemp("written")

    async def write():
        async with open_journal(folder, "r1", call=inline) as journal:
            await journal.write(*one_of_each(), *(scene(f"s{n}") for n in range(60)))
        return journal.path

    return anyio.run(write)


def alien(path):
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
        connection.commit()


def newer(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def a_row_more(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO launches VALUES (99, 'k99', '{\"token\": 1}')")
        connection.commit()


def no_text(path):
    """Found by flipping bytes: Python's error has no code of SQLite's then."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE tasks SET entry = CAST(x'ff' AS TEXT)")
        connection.commit()


def an_index(path):
    """Without it a later entry would not replace an earlier one."""
    with closing(sqlite3.connect(path)) as connection:
        find = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_scenes_1'"
        (page,) = connection.execute(find).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    contents = bytearray(path.read_bytes())
    start = contents.index(b"s7", (page - 1) * size, page * size)
    contents[start : start + 2] = b"s8"
    path.write_bytes(contents)


def without_a_table(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE scene_failures")
        connection.commit()


DAMAGES = {
    "empty": (lambda path: path.write_bytes(b""), "not a journal of cloudburst"),
    "garbage": (lambda path: path.write_bytes(b"garbage\n" * 9999), "is damaged"),
    "half": (
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        "damaged",
    ),
    "a page less": (lambda path: path.write_bytes(path.read_bytes()[:-4096]), "is damaged"),
    "all but 100 bytes": (lambda path: path.write_bytes(path.read_bytes()[:100]), "is damaged"),
    "alien": (alien, "not a journal of cloudburst"),
    "newer": (
        newer,
        f"another version .* .format {SCHEMA_VERSION + 1}; this",
    ),
    "a row": (a_row_more, "a row of launches cannot be read"),
    "no text": (no_text, "is damaged"),
    "an index": (an_index, "is damaged"),
    "a table": (without_a_table, "is damaged"),
}


@pytest.mark.parametrize("how", DAMAGES)
async def test_a_damaged_file_is_told_of_and_left_as_it_is(tmp_path, written, how):
    path = journal_path(tmp_path, "r1")
    path.parent.mkdir()
    shutil.copy(written, path)
    damage, told = DAMAGES[how]
    damage(path)
    found = path.read_bytes()
    with pytest.raises(JournalError, match=told) as reading:
        read_journal(path)
    assert str(path) in str(reading.value)
    with pytest.raises(JournalError, match=told) as opening:
        async with open_journal(tmp_path, "r1", call=inline) as journal:
            await journal.read()
    assert str(opening.value) == str(reading.value)
    assert opening.value.path == path
    assert path.read_bytes()[100:] == found[100:]  # the header counts who has opened it


async def test_a_folder_in_its_place_is_told_of(tmp_path):
    path = journal_path(tmp_path, "r1")
    path.mkdir(parents=True)
    with pytest.raises(JournalError, match="cannot be read"):
        async with open_journal(tmp_path, "r1", call=inline):
            pytest.fail("must not get here")
    with pytest.raises(JournalError, match="cannot be read"):
        read_journal(path)


def test_a_journal_that_is_not_there_is_none(tmp_path):
    with pytest.raises(JournalError, match="cannot be read"):
        read_journal(tmp_path / "r1.sqlite")
    assert not is_completed(tmp_path / "r1.sqlite")
    assert not list(tmp_path.iterdir())


async def test_a_rollback_journal_that_was_left_is_no_part_of_a_new_journal(written, tmp_path):
    path = leave_half_a_commit(written, tmp_path)
    path.unlink()
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        await journal.write(launch("new"))
        assert same(await journal.read(), Model().write(launch("new")))


class Disk(JournalFile):
    """A file on a disk that fails when it is told to."""

    def __init__(self, path):
        super().__init__(path)
        self.error = None
        self.tries = 0

    def commit(self, entries):
        self.tries += 1
        if self.error:
            raise self.error
        super().commit(entries)


@pytest.mark.parametrize("error", [OSError("disk full"), JournalError("damaged")])
async def test_a_run_goes_on_without_its_journal_and_the_journal_when_it_can(
    tmp_path, caplog, error
):
    disk = Disk(journal_path(tmp_path, "r1"))
    journal = SqliteJournal(disk, call=inline)
    await journal.open()
    await journal.write(launch("k0"))
    disk.error = error
    with caplog.at_level(logging.WARNING, "cloudburst"):
        for n in range(1, 6):
            await journal.write(launch(f"k{n}"))
    assert disk.tries == 3  # one for each of the first two, one that failed
    assert journal.trouble == str(error)
    (told,) = caplog.records
    assert told.levelname == "ERROR"
    assert str(error) in told.getMessage()
    assert str(journal.path) in told.getMessage()
    await anyio.sleep(journal_writing.RETRY_SECONDS)
    await journal.write(launch("k6"))
    assert disk.tries == 4
    assert len(caplog.records) == 1  # told once
    disk.error = None
    await anyio.sleep(journal_writing.RETRY_SECONDS)
    with caplog.at_level(logging.WARNING, "cloudburst"):
        await journal.write(launch("k7"))
    assert journal.trouble is None
    assert "no entry is missing" in caplog.records[-1].getMessage()
    assert list((await journal.read()).launches) == [f"k{n}" for n in range(8)]
    await journal.close()


async def test_what_could_not_be_written_is_tried_once_more_at_the_end(tmp_path):
    disk = Disk(journal_path(tmp_path, "r1"))
    journal = SqliteJournal(disk, call=inline)
    await journal.open()
    disk.error = OSError("disk full")
    await journal.write(launch("k1"))
    disk.error = None
    await journal.close()
    await journal.close()
    assert list(read_journal(journal.path).launches) == ["k1"]


async def test_a_new_journal_that_cannot_be_made_holds_up_no_run(tmp_path, caplog):
    (tmp_path / ".cloudburst").write_text("in the way")
    with caplog.at_level(logging.ERROR, "cloudburst"):
        async with open_journal(tmp_path, "r1", call=inline) as journal:
            await journal.write(*one_of_each())
            assert journal.trouble
            with pytest.raises(JournalError, match="cannot be read"):
                await journal.read()
    assert len(caplog.records) == 1
    assert (tmp_path / ".cloudburst").read_text() == "in the way"


async def test_a_file_that_another_process_holds_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("cloudburst.outputs.journal.file.BUSY_TIMEOUT", 0.1)
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        with closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await journal.write(launch("k1"))
            assert "SQLITE_BUSY" in (journal.trouble or "")
            other.execute("ROLLBACK")
        await anyio.sleep(journal_writing.RETRY_SECONDS)
        await journal.write(launch("k2"))
        assert journal.trouble is None
    assert list(read_journal(journal.path).launches) == ["k1", "k2"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_disk_that_does_not_answer_holds_up_nobody_s_end(tmp_path):
    class Stuck(JournalFile):
        answers = threading.Event()

        def commit(self, entries):
            if entries:
                self.answers.wait()
            super().commit(entries)

    file = Stuck(journal_path(tmp_path, "r1"))
    journal = SqliteJournal(file, call=call_in_own_thread())
    await journal.open()
    try:
        with anyio.fail_after(30):
            for _ in range(2):
                with anyio.move_on_after(0.05) as cut:
                    await journal.write(launch("k1"))
                assert cut.cancelled_caught
    finally:
        file.answers.set()
    await journal.write(launch("k2"))
    assert list((await journal.read()).launches) == ["k1", "k2"]
    await journal.close()


FULL = """
import resource, sys
import anyio
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from support.journal_entries import scene
from cloudburst.outputs.journal import writer as writing
from cloudburst.outputs.journal.writer import open_journal

writing.RETRY_SECONDS = 0.0

def room(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

async def main():
    async with open_journal(Path(sys.argv[1]), "r1") as journal:
        await journal.write(scene("first"))
        room(120_000)
        written = 0
        while journal.trouble is None:
            assert written < 2000, "the disk is not full"
            written += 1
            await journal.write(scene(f"s{written}"))
        print(written, journal.trouble, len((await journal.read()).scenes), flush=True)
        room(resource.RLIM_INFINITY)
        await journal.write(scene("last"))
        assert journal.trouble is None
        print(len((await journal.read()).scenes))

anyio.run(main)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on Windows")
def test_a_disk_that_is_full_for_a_while(tmp_path):
    """A limit of the system on the size of files: what is full is a real write of SQLite's."""
    script = [sys.executable, "-c", FULL, str(tmp_path), str(TESTS)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    full, after = done.stdout.splitlines()
    written = int(full.split()[0])
    assert "SQLITE_" in full
    assert int(full.split()[-1]) == written  # the first one, and all but the one that failed
    assert int(after) == written + 2
    path = journal_path(tmp_path, "r1")
    assert len(read_journal(path).scenes) == written + 2


def leave_half_a_commit(written, folder):
    """Leave in a folder what a process leaves that is killed in a commit."""
    path = journal_path(folder, "r1")
    path.parent.mkdir()
    with closing(sqlite3.connect(written, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")  # so that half of it is in the file
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE scenes SET entry = entry || entry || entry")
        for part in journal_files(written):
            shutil.copy(part, path.parent)
        connection.execute("ROLLBACK")
    assert {part.name for part in path.parent.iterdir()} == {"r1.sqlite", "r1.sqlite-journal"}
    assert path.read_bytes() != written.read_bytes(), "nothing to take back"
    return path


@pytest.mark.parametrize("first", ["reader", "writer"])
async def test_half_a_commit_is_undone_by_the_next_process(written, tmp_path, first):
    path = leave_half_a_commit(written, tmp_path)
    model = Model().write(*one_of_each(), *(scene(f"s{n}") for n in range(60)))
    if first == "reader":
        assert same(read_journal(path), model)
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        assert same(await journal.read(), model)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write every file")
async def test_a_journal_in_a_folder_without_write_permission_is_read(written, tmp_path):
    path = journal_path(tmp_path, "r1")
    path.parent.mkdir()
    shutil.copy(written, path)
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        assert len(read_journal(path).scenes) == 61
    finally:
        path.parent.chmod(0o700)
