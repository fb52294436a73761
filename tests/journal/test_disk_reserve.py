"""A disk that fills up, a WAL that is damaged: the last entries of a run are there all the same."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import sys

import pytest

from cloudburst.journal import open_journal, read_journal
from cloudburst.journal.disk_reserve import RESERVED
from support.journal_entries import inline, one_of_each, result, scene
from support.project import TESTS

pytestmark = pytest.mark.anyio

FULL = """
import resource, sys
from pathlib import Path
import anyio
sys.path.insert(0, sys.argv[2])
from support.journal_entries import inline, one_of_each, result, scene
from cloudburst.journal import open_journal

async def main():
    async with open_journal(Path(sys.argv[1]), "r1", call=inline) as journal:
        await journal.write(*one_of_each(), *(scene(f"s{n}") for n in range(12)))
        # No file may become longer than the longest is, which stands for a full disk.
        most = max(path.stat().st_size for path in journal.path.parent.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        for number in range(12):
            await journal.write(result(f"s{number}"))
            assert journal.trouble is None, (number, journal.trouble)

anyio.run(main)
"""


def test_a_full_disk_has_room_for_the_videos_that_are_on_their_way(tmp_path):
    script = [sys.executable, "-c", FULL, str(tmp_path), str(TESTS)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    past = read_journal(tmp_path / ".cloudburst" / "r1.sqlite")
    assert past.results.keys() >= {f"s{n}" for n in range(12)}


async def test_the_room_is_given_back_at_the_end(tmp_path):
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        await journal.write(*one_of_each())
        sizes = [path.stat().st_size for path in journal.path.parent.iterdir()]
        assert max(sizes) == RESERVED
    (left,) = journal.path.parent.iterdir()
    assert left.stat().st_size < RESERVED / 4


async def test_a_small_disk_is_left_to_the_videos(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        await journal.write(*one_of_each())
        wal = journal.path.with_name("r1.sqlite-wal")
        assert wal.stat().st_size < 100_000


@pytest.mark.parametrize("seed", range(10))
async def test_a_damaged_wal_costs_the_last_few_entries_at_most(tmp_path, seed):
    """The process is killed, and a bit of what it has left is flipped."""
    out, rng = tmp_path / "copy", random.Random(seed)
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        await journal.write(*one_of_each(), *(scene(f"s{n}") for n in range(40)))
        for number in range(40):
            await journal.write(result(f"s{number}"))
        shutil.copytree(journal.path.parent, out)
    wal = out / "r1.sqlite-wal"
    contents = bytearray(wal.read_bytes())
    contents[rng.randrange(24 * 4120)] ^= 1 << rng.randrange(8)
    wal.write_bytes(contents)
    past = read_journal(out / "r1.sqlite")
    assert len(past.processes) == 1
    assert past.results.keys() >= {f"s{n}" for n in range(32)}


async def test_nobody_else_may_read_a_journal(tmp_path):
    before = os.umask(0)
    try:
        async with open_journal(tmp_path, "r1", call=inline) as journal:
            await journal.write(*one_of_each())
            await journal.write(result())
            files = sorted(journal.path.parent.iterdir())
            assert [path.suffix for path in files] == [".sqlite", ".sqlite-shm", ".sqlite-wal"]
            assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    finally:
        os.umask(before)
