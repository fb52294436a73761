"""What was measured is known to the next run, whatever has become of the file."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import pytest

from cloudburst import history
from cloudburst.engine.figures import KEPT
from cloudburst.history import (
    history_file,
    load_history,
    read_history,
    save_history,
    write_history,
)
from cloudburst.models.pace import Sample


def sample(seconds=1.0, measure="encode", kind="fargate STANDARD native", sound=2.5):
    return Sample(kind=kind, measure=measure, seconds=seconds, sound=sound)


def some(count, **more):
    return [sample(float(n), **more) for n in range(count)]


def test_nothing_is_known_at_first_and_nothing_made_by_asking(tmp_path):
    assert read_history() == ()
    assert not history_file().parent.exists()
    write_history([])
    assert not history_file().parent.exists()


def test_what_was_saved_comes_back_in_its_order(tmp_path):
    assert history_file() == tmp_path / "state" / "cloudburst" / "history.sqlite"
    first = [sample(3.0), sample(1.0, "start", sound=0.0), sample(2.0, kind="local")]
    then = [sample(0.5), sample(7.25, "move")]
    write_history(first)
    write_history(iter(then))
    assert read_history() == (*first, *then)


def test_the_newest_of_each_kind_and_measure_stay():
    others = [sample(9.0, "stop"), sample(9.0, kind="local")]
    write_history([*others, *some(KEPT - 10)])
    write_history([replace(each, seconds=each.seconds + 1000) for each in some(30)])
    known = read_history()
    assert known[:2] == tuple(others)
    assert [each.seconds for each in known[2:]] == [
        *(float(n) for n in range(20, KEPT - 10)),
        *(1000.0 + n for n in range(30)),
    ]
    with closing(sqlite3.connect(history_file())) as connection:  # the rest is gone
        assert connection.execute("SELECT count(*) FROM samples").fetchone() == (KEPT + 2,)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_without_blocking_the_loop():
    await save_history(some(3))
    assert await load_history() == tuple(some(3))


def garbage(path):
    path.write_bytes(b"garbage\n" * 2000)


def half(path):
    os.truncate(path, 4096)


def without_a_table(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE samples")


@pytest.mark.parametrize("damage", [garbage, half, without_a_table])
@pytest.mark.parametrize("first", [read_history, lambda: write_history([sample(0.0)])])
def test_a_damaged_file_is_set_aside_and_begun_anew(caplog, damage, first):
    write_history(some(50))
    damage(history_file())
    damaged = history_file().read_bytes()
    with caplog.at_level(logging.WARNING, "cloudburst"):
        first()
        write_history(some(2))
    assert read_history()[-2:] == tuple(some(2))
    assert len(read_history()) <= 3
    (told,) = caplog.messages
    assert str(history_file()) in told
    assert history_file().with_suffix(".damaged").read_bytes() == damaged


def test_an_empty_file_is_no_damage(caplog):
    history_file().parent.mkdir(parents=True)
    history_file().touch()  # as one is that was killed before it wrote
    assert read_history() == ()
    write_history(some(2))
    assert read_history() == tuple(some(2))
    assert not caplog.records


def test_a_newer_file_is_left_alone():
    write_history(some(2))
    with closing(sqlite3.connect(history_file())) as connection:
        connection.execute("PRAGMA user_version = 2")
    assert read_history() == ()
    write_history(some(3))
    with closing(sqlite3.connect(history_file())) as connection:
        connection.execute("PRAGMA user_version = 1")
    assert read_history() == tuple(some(2))


def test_what_another_version_measures_is_left_out():
    write_history(some(2))
    with closing(sqlite3.connect(history_file())) as connection, connection:
        connection.execute("INSERT INTO samples VALUES (NULL, 'k', 'mood', 1.0, 0.0)")
    assert read_history() == tuple(some(2))


@pytest.mark.parametrize("blocked", ["cloudburst", "."])
def test_a_home_where_nothing_can_be_kept_stops_nobody(tmp_path, monkeypatch, caplog, blocked):
    state = tmp_path / "home"
    state.mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(state if blocked != "." else state / "file"))
    (state / ("cloudburst" if blocked != "." else "file")).write_text("in the way")
    with caplog.at_level(logging.DEBUG, "cloudburst"):
        write_history(some(2))
        assert read_history() == ()
    assert {record.levelname for record in caplog.records} == {"DEBUG"}


def test_a_process_that_holds_it_for_long_is_not_waited_for(monkeypatch, caplog):
    monkeypatch.setattr("cloudburst.history.PATIENCE", 0.05)
    write_history(some(2))
    with closing(sqlite3.connect(history_file(), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert read_history() == ()
        write_history(some(1))
        other.execute("ROLLBACK")
    assert read_history() == tuple(some(2))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_another_process_that_makes_the_file_first_is_no_damage(monkeypatch, caplog):
    real = history._schema

    def and_then_another_comes(connection):
        found = real(connection)
        monkeypatch.setattr(history, "_schema", real)
        write_history([sample(1.0)])
        return found

    monkeypatch.setattr(history, "_schema", and_then_another_comes)
    write_history([sample(2.0)])
    assert read_history() == (sample(1.0), sample(2.0))
    assert not caplog.records


WRITER = """
import sys
from cloudburst import history
from cloudburst.models.pace import Sample
history.PATIENCE = 30.0  # a machine that tests is busy with other things too
for n in range(10):
    history.write_history([Sample(kind=sys.argv[1], measure="encode", seconds=float(n))])
"""


def test_processes_that_write_at_once_lose_nothing():
    """From the first moment on, when there is no file yet."""
    children = [
        subprocess.Popen([sys.executable, "-c", WRITER, f"k{n}"], stderr=subprocess.PIPE)
        for n in range(4)
    ]
    for child in children:
        with child:
            _, errors = child.communicate(timeout=60)
            assert (child.returncode, errors) == (0, b"")
    known = read_history()
    for n in range(4):
        assert [s.seconds for s in known if s.kind == f"k{n}"] == [float(i) for i in range(10)]
