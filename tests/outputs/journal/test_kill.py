"""SIGKILL at any moment: nothing that was acknowledged is lost, and the file is whole."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import anyio
import pytest

from cloudburst.outputs.journal.reader import journal_path, read_journal
from cloudburst.outputs.journal.writer import open_journal
from support.journal_entries import launch
from support.project import TESTS

SEEDS = range(30)

WRITER = """
import os, sys
import anyio
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from support.journal_entries import launch, scene, task
from cloudburst.outputs.journal.writer import open_journal

async def write(journal, name):
    for number in range(100_000):
        token = f"{name}-{number}"
        await journal.write(launch(token), task(f"t{name}", launched_at=float(number)))
        os.write(1, f"{token}\\n".encode())  # whole, however it ends

async def main():
    async with open_journal(Path(sys.argv[1]), "r1") as journal:
        async with anyio.create_task_group() as tasks:
            for name in range(int(sys.argv[3])):
                tasks.start_soon(write, journal, f"{sys.argv[4]}.{name}")

anyio.run(main)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
@pytest.mark.few(1)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_process_loses_nothing_that_it_was_told_is_there(tmp_path, seed):
    rng, told = random.Random(seed), list[str]()
    path = journal_path(tmp_path, "r1")
    for life in range(2):  # each goes on with what the ones before have left
        writers = rng.choice([1, 3, 20])
        script = [sys.executable, "-c", WRITER, str(tmp_path), str(TESTS)]
        with subprocess.Popen([*script, str(writers), str(life)], stdout=subprocess.PIPE) as child:
            assert child.stdout
            told.append(child.stdout.readline().decode().strip())
            time.sleep(rng.uniform(0, 0.4))
            if rng.random() < 0.5:
                read_journal(path)  # while it goes on
            child.kill()
            told += child.stdout.read().decode().split()
        past = read_journal(path)
        assert set(told) <= set(past.launches)
        for token in told:  # the later entry counts
            name, _, number = token.partition("-")
            assert past.tasks[f"t{name}"].launched_at >= float(number)
    assert set(told) < set(anyio.run(go_on, tmp_path).launches)


async def go_on(folder):
    async with open_journal(folder, "r1") as journal:
        await journal.write(launch("after"))
        return await journal.read()
