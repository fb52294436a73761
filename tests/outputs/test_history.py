"""What was measured is known to the next run, whatever has become of the file."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from cloudburst.engine.forecast.measurements import MAX_SAMPLES_PER_MEASURE
from cloudburst.models.performance import Sample
from cloudburst.outputs import history
from cloudburst.outputs.history import (
    history_path,
    read_history,
    write_history,
)


def sample(seconds=1.0, measure="encode", kind="fargate STANDARD native", work=2.5):
    return Sample(kind=kind, measure=measure, seconds=seconds, work=work)


def some(count, **more):
    return [sample(float(n), **more) for n in range(count)]


def test_nothing_is_known_at_first_and_nothing_made_by_asking(tmp_path):
    assert read_history() == ()
    assert not history_path().parent.exists()
    write_history([])
    assert not history_path().parent.exists()


def test_saved_entries_come_back_in_their_order():
    state = Path(os.environ["XDG_STATE_HOME"])
    assert history_path() == state / "cloudburst" / "history-3.sqlite"
    first = [sample(3.0), sample(1.0, "startup", work=0.0), sample(2.0, kind="local")]
    then = [sample(0.5), sample(7.25, "transfer")]
    write_history(first)
    write_history(iter(then))
    assert read_history() == (*first, *then)


def test_the_newest_of_each_kind_and_measure_stay():
    others = [sample(9.0, "stop"), sample(9.0, kind="local")]
    write_history([*others, *some(MAX_SAMPLES_PER_MEASURE - 10)])
    write_history([replace(each, seconds=each.seconds + 1000) for each in some(30)])
    known = read_history()
    assert known[:2] == tuple(others)
    assert [each.seconds for each in known[2:]] == [
        *(float(n) for n in range(20, MAX_SAMPLES_PER_MEASURE - 10)),
        *(1000.0 + n for n in range(30)),
    ]
    with closing(sqlite3.connect(history_path())) as connection:  # the rest is gone
        assert connection.execute("SELECT count(*) FROM samples").fetchone() == (
            MAX_SAMPLES_PER_MEASURE + 2,
        )


def garbage(path):
    path.write_bytes(b"garbage\n" * 2000)


def half(path):
    os.truncate(path, 4096)


@pytest.mark.parametrize("damage", [garbage, half])
def test_a_damaged_file_is_not_used_and_the_warning_says_to_delete_it(caplog, damage):
    write_history(some(50))
    damage(history_path())
    damaged = history_path().read_bytes()
    with caplog.at_level(logging.WARNING, "cloudburst"):
        assert read_history() == ()
        write_history(some(2))
    assert len(caplog.messages) == 2
    for told in caplog.messages:
        assert told.startswith(f"{history_path()} is damaged and is not used")
        assert told.endswith("delete it")
    assert history_path().read_bytes() == damaged
    history_path().unlink()
    write_history(some(2))
    assert read_history() == tuple(some(2))


def test_an_empty_file_is_no_damage(caplog):
    history_path().parent.mkdir(parents=True)
    history_path().touch()  # as one is that was killed before it wrote
    assert read_history() == ()
    write_history(some(2))
    assert read_history() == tuple(some(2))
    assert not caplog.records


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
    monkeypatch.setattr("cloudburst.outputs.history.BUSY_TIMEOUT", 0.05)
    write_history(some(2))
    with closing(sqlite3.connect(history_path(), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert read_history() == ()
        write_history(some(1))
        other.execute("ROLLBACK")
    assert read_history() == tuple(some(2))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


WRITER = """
import sys
from cloudburst.outputs import history
from cloudburst.models.performance import Sample
history.BUSY_TIMEOUT = 30.0  # a machine that tests is busy with other things too
for n in range(10):
    history.write_history([Sample(kind=sys.argv[1], measure="encode", seconds=float(n))])
"""


def test_processes_that_write_at_once_lose_nothing():
    """From the first moment on, when there is no file yet."""
    children = [
        subprocess.Popen([sys.executable, "-c", WRITER, f"k{n}"], stderr=subprocess.PIPE)
        for n in range(2)
    ]
    for child in children:
        with child:
            _, errors = child.communicate(timeout=60)
            assert (child.returncode, errors) == (0, b"")
    known = read_history()
    for n in range(2):
        assert [s.seconds for s in known if s.kind == f"k{n}"] == [float(i) for i in range(10)]


OTHER_WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    connection.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as exc:
    print(exc)
"""


def test_a_write_leaves_the_locks_of_this_process_alone(monkeypatch):
    """POSIX drops all locks that a process has on a file when it closes any descriptor of it."""
    monkeypatch.setattr(history, "BUSY_TIMEOUT", 0.1)
    write_history(some(1))
    with closing(sqlite3.connect(history_path(), isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        write_history(some(1))  # gives up, for the file is locked
        command = [sys.executable, "-c", OTHER_WRITER, str(history_path())]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert said.stdout == "database is locked\n"


def test_a_history_is_readable_by_its_owner_only():
    before = os.umask(0)
    try:
        write_history(some(2))
    finally:
        os.umask(before)
    assert stat.S_IMODE(history_path().stat().st_mode) == 0o600
    assert stat.S_IMODE(history_path().parent.stat().st_mode) == 0o700
