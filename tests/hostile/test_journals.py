"""Journals that somebody has planted or changed to hang, break or mislead a command."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from cloudburst.cli import main
from cloudburst.errors import JournalError
from cloudburst.outputs.journal.file import MAX_JOURNAL_BYTES
from cloudburst.outputs.journal.reader import read_journal
from cloudburst.outputs.journal.writer import open_journal
from support.journal_entries import inline, one_of_each

SECONDS = 5.0
"""For the slowest one, which takes less than a second on an idle core."""


def row(table, key, **changes):
    """Change an entry."""

    def damage(path):
        with closing(sqlite3.connect(path)) as connection:
            (text,) = connection.execute(f"SELECT entry FROM {table}").fetchone()
            entry = json.loads(text)
            for name, value in changes.items():
                *ways, last = name.split("__")
                place = entry
                for way in ways:
                    place = place[way]
                place[last] = value
            text = json.dumps(entry)
            value = entry.get(key)
            columns = f"entry = ?, {key} = coalesce(?, {key})"
            values = (text, value if key in changes else None)
            connection.execute(f"UPDATE {table} SET {columns}", values)
            connection.commit()

    return damage


def text(table, entry):
    def damage(path):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"UPDATE {table} SET entry = ?", (entry,))
            connection.commit()

    return damage


def beside(suffix, make):
    return lambda path: make(path.with_name(path.name + suffix))


def in_place(make):
    def damage(path):
        path.unlink()
        make(path)

    return damage


def sparse(path):
    with path.open("ab") as file:
        file.truncate(MAX_JOURNAL_BYTES + 1)


def to_zero(path):
    path.symlink_to("/dev/zero")


CASES = {
    "nested": text("scenes", "[" * 200_000),
    "nested in an entry": text("results", '{"video": ' * 200_000),
    "a long number": text("scene_failures", '{"failures": ' + "9" * 5_000 + "}"),
    "began too late": row("processes", "started_at", started_at=1e300),
    "began never": row("processes", "started_at", started_at=float("inf")),
    "ended before time": row("process_ends", "process", ended_at=-1e300),
    "launched never": row("tasks", "task", launched_at=float("nan")),
    "a scene without an end": row("scenes", "scene", audio_seconds=float("inf")),
    "large": sparse,
    "a large WAL": beside("-wal", sparse),
    "a pipe": in_place(os.mkfifo),
    "a device": in_place(to_zero),
    "a pipe as WAL": beside("-wal", os.mkfifo),
    "a pipe as shared memory": beside("-shm", os.mkfifo),
    "a pipe as rollback journal": beside("-journal", os.mkfifo),
    "a device as rollback journal": beside("-journal", to_zero),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")

    async def write():
        async with open_journal(folder, "r1", call=inline) as journal:
            await journal.write(*one_of_each())
        return journal.path

    return anyio.run(write).read_bytes()


@pytest.mark.timeout(60)  # ends the test run if a case hangs
@pytest.mark.few(5, spread=True)
@pytest.mark.parametrize("case", CASES)
def test_no_command_hangs_or_breaks(case, written, tmp_path, monkeypatch, capsys):
    path = tmp_path / "cloudburst_results" / ".cloudburst" / "r1.sqlite"
    path.parent.mkdir(parents=True)
    path.write_bytes(written)
    CASES[case](path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESULTS_DIR", raising=False)
    monkeypatch.setenv("COLUMNS", "1000")
    for command, code in ((["runs"], 0), (["runs", "--json"], 0), (["resume", "r1"], 2)):
        began = time.process_time()
        assert main(command) == code or "there is no run r1" in capsys.readouterr().err
        assert time.process_time() - began < SECONDS
        told = capsys.readouterr()
        assert "Traceback" not in told.out + told.err
        if command == ["runs"]:
            assert "unreadable" in told.out
            assert str(path) in told.out


def test_a_view_in_place_of_a_table_is_refused(written, tmp_path):
    path = tmp_path / "r1.sqlite"
    path.write_bytes(written)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE processes RENAME TO real")
        connection.execute("CREATE VIEW processes AS SELECT * FROM real")
        connection.commit()
    with pytest.raises(JournalError, match="it has views or triggers"):
        read_journal(path)


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_is_no_folder_is_named(kind, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    home = tmp_path / "out" / ".cloudburst"
    home.parent.mkdir()
    (tmp_path / "elsewhere").mkdir()
    if kind == "link":
        home.symlink_to(tmp_path / "elsewhere")
    else:
        home.touch()
    for command in (["runs", "--to", "out"], ["resume", "--to", "out"]):
        assert main(command) == 2
        assert str(home) in capsys.readouterr().err
    assert main(["runs", "--to", "."]) == 0
    assert not list((tmp_path / "elsewhere").iterdir())
