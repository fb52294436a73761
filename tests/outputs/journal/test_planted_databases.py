"""Journals that somebody has planted: nothing outside their folder is touched."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import anyio
import pytest

from cloudburst.cli import main
from cloudburst.errors import JournalError
from cloudburst.outputs.journal import writer
from cloudburst.outputs.journal.file import JournalFile
from cloudburst.outputs.journal.pruning import prune_journals
from cloudburst.outputs.journal.reader import is_completed, journal_path, read_journal
from cloudburst.outputs.journal.writer import open_journal
from support.journal_entries import end, inline, launch, process, scene
from support.super_journal import plant_super_journal


@pytest.fixture
def precious(tmp_path):
    path = tmp_path / "elsewhere" / "precious.txt"
    path.parent.mkdir()
    path.write_text("precious")
    return path


@pytest.fixture
def journal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESULTS_DIR", raising=False)
    monkeypatch.setenv("COLUMNS", "1000")
    folder = tmp_path / "cloudburst_results"

    async def write():
        async with open_journal(folder, "r1", call=inline) as journal:
            await journal.write(process(), *(scene(f"s{n}") for n in range(60)), end())

    anyio.run(write)
    return journal_path(folder, "r1")


def change(path, *statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def leave_half_a_commit(path):
    """Leave what a process leaves that is killed in a commit."""
    rollback = path.with_name(f"{path.name}-journal")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")  # so that half of it is in the file
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE scenes SET entry = entry || entry || entry")
        left = path.read_bytes(), rollback.read_bytes()
        connection.execute("ROLLBACK")
    assert left[0] != path.read_bytes(), "nothing to roll back"
    path.write_bytes(left[0])
    rollback.write_bytes(left[1])


def test_sqlite_itself_deletes_the_file_that_a_planted_rollback_journal_names(journal, precious):
    """Else the tests below would prove nothing."""
    plant_super_journal(journal, precious)
    change(journal, "SELECT * FROM processes")
    assert not precious.exists()


@pytest.mark.parametrize("command", [["runs"], ["runs", "--json"], ["resume"], ["resume", "r1"]])
def test_no_command_deletes_what_a_planted_rollback_journal_names(
    journal, precious, capsys, command
):
    plant_super_journal(journal, precious)
    assert main(command) == (0 if "runs" in command else 2)
    assert precious.read_text() == "precious"
    told = capsys.readouterr()
    said = told.out + told.err
    assert "names another file" in said
    assert str(journal) in said


def test_a_sub_folder_of_the_folder_that_is_listed_is_no_way_in(journal, precious, capsys):
    plant_super_journal(journal, precious)
    inner = journal.parents[1] / "inner"
    inner.mkdir()
    journal.parent.rename(inner / ".cloudburst")
    assert main(["runs"]) == 0
    assert precious.exists()
    assert "unreadable" in capsys.readouterr().out


@pytest.mark.anyio
async def test_no_way_to_open_a_journal_deletes_what_its_rollback_journal_names(journal, precious):
    plant_super_journal(journal, precious)
    with pytest.raises(JournalError, match="names another file") as refused:
        async with open_journal(journal.parents[1], "r1", call=inline):
            pytest.fail("must not get here")
    assert refused.value.path == journal
    with pytest.raises(JournalError, match="names another file"):
        read_journal(journal)
    assert not is_completed(journal)
    prune_journals(journal.parents[1], kept=0)
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_nothing_is_written_through_a_link_beside_a_journal(journal, precious, suffix):
    beside = journal.with_name(journal.name + suffix)
    beside.unlink(missing_ok=True)
    beside.symlink_to(precious)
    with pytest.raises(JournalError, match="not a regular file"):
        read_journal(journal)
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_what_is_planted_beside_the_draft_of_a_new_journal_is_not_used(journal, precious, suffix):
    draft = journal.with_name("r2.sqlite-new")
    draft.write_bytes(journal.read_bytes())
    if suffix == "-journal":
        plant_super_journal(draft, precious)
    else:
        draft.with_name(draft.name + suffix).symlink_to(precious)
    file = JournalFile(journal.with_name("r2.sqlite"))
    file.commit([launch("k1")])
    file.close()
    assert list(read_journal(file.path).launches) == ["k1"]
    assert precious.read_text() == "precious"


@pytest.mark.anyio
async def test_a_rollback_journal_of_our_own_is_still_played_back(journal):
    leave_half_a_commit(journal)
    assert len(read_journal(journal).scenes) == 60
    async with open_journal(journal.parents[1], "r1", call=inline) as opened:
        assert len((await opened.read()).scenes) == 60
    assert not journal.with_name(f"{journal.name}-journal").exists()


def test_a_post_mortem_is_not_written_through_a_planted_link(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "run1").symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError, match="a symbolic link"):
        writer._keep(tmp_path / "run1" / "local-1.txt", "why it failed")
    assert list(elsewhere.iterdir()) == []
