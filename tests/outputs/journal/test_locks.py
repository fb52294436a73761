"""Readers of a journal and its writer in one process."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing

import anyio

from cloudburst.outputs.journal.reader import read_journal
from cloudburst.outputs.journal.writer import open_journal
from support.journal_entries import inline, one_of_each

OTHER_WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    connection.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as exc:
    print(exc)
"""


def test_reading_a_journal_leaves_the_locks_of_its_writer_in_this_process_alone(tmp_path):
    """POSIX drops all locks that a process has on a file when it closes any descriptor of it."""

    async def write():
        async with open_journal(tmp_path, "r1", call=inline) as journal:
            await journal.write(*one_of_each())
        return journal.path

    path = anyio.run(write)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        read_journal(path)
        command = [sys.executable, "-c", OTHER_WRITER, str(path)]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert said.stdout == "database is locked\n"
