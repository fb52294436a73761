"""Any order of writes, cuts, ends and kills: what was acknowledged is there."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from cloudburst.models.report import Status
from cloudburst.outputs.journal.file import journal_files
from cloudburst.outputs.journal.reader import read_journal
from cloudburst.outputs.journal.tables import insert
from cloudburst.outputs.journal.writer import open_journal
from support.journal_entries import (
    Model,
    end,
    failure,
    inline,
    launch,
    process,
    result,
    same,
    scene,
    task,
)

MEMORY = Path("/dev/shm")
NAMES = st.sampled_from(["a", "b", "第 1 幕", "d'or"])
NUMBERS = st.integers(0, 3)

ENTRIES = st.one_of(
    st.builds(scene, NAMES, st.sampled_from(["f1", "f2"])),
    st.builds(launch, NUMBERS.map("k{}".format)),
    st.builds(
        task,
        NUMBERS.map("t{}".format),
        settled=st.booleans(),
        stopped_at=st.none() | st.floats(0, 9),
    ),
    st.builds(result, NAMES, st.sampled_from(["f1", "f2"])),
    st.builds(failure, NAMES, NUMBERS),
    st.builds(end, st.sampled_from(Status), st.floats(0, 9)),
    st.builds(process, st.floats(0, 9)),
)
GROUPS = st.lists(ENTRIES, min_size=1, max_size=4)


class Lives(RuleBasedStateMachine):
    """A journal, the processes that write it one after the other, and what it should say."""

    def __init__(self):
        super().__init__()
        base = MEMORY if MEMORY.is_dir() else None
        self.base = Path(tempfile.mkdtemp(prefix="journal-", dir=base))
        self.folders = 0
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.model = Model()
        self.limbo = []  # of writes that were cut: there with the next commit, or never

    def open(self):
        async def enter():
            opened = open_journal(self.folder, "r1", call=inline)
            return await self.stack.enter_async_context(opened)

        self.journal = self.runner.run(enter())

    @property
    def folder(self):
        return self.base / str(self.folders)

    def written(self, *entries):
        self.model.write(*self.limbo, *entries)
        self.limbo = []

    @initialize()
    def begin(self):
        self.open()

    @rule(entries=GROUPS)
    def write(self, entries):
        self.runner.run(self.journal.write(*entries))
        self.written(*entries)

    @rule(groups=st.lists(GROUPS, min_size=2, max_size=5))
    def write_at_once(self, groups):
        async def write():
            await asyncio.gather(*(self.journal.write(*entries) for entries in groups))

        self.runner.run(write())
        self.written(*(entry for entries in groups for entry in entries))

    @rule(entries=GROUPS, steps=st.integers(0, 3), others=st.lists(ENTRIES, max_size=2))
    def write_and_be_cut(self, entries, steps, others):
        """Cut while another's commit is on its way, or before its own; or too late."""

        async def write():
            first = asyncio.ensure_future(self.journal.write(*others)) if others else None
            cut = asyncio.ensure_future(self.journal.write(*entries))
            for _ in range(steps):
                await asyncio.sleep(0)
            begun, done = steps > 0, cut.done()
            cut.cancel()
            await asyncio.wait([cut])
            if first is not None:
                await first
            return begun, done

        begun, done = self.runner.run(write())
        if others:
            # Its commit has either taken the cut one's along or left it for the next.
            self.limbo += [*others, *(entries if begun else ())]
            self.settle()
        elif done:
            self.written(*entries)
        elif begun:
            self.limbo += entries

    def settle(self):
        """Whether it is there is for the journal to say, if all that was acknowledged is."""
        self.runner.run(self.journal.write(launch("k0")))
        self.written(launch("k0"))

    @rule()
    def end_in_order_and_go_on(self):
        self.runner.run(self.stack.aclose())
        self.written()
        self.open()

    @rule(garbage=st.binary(max_size=5000))
    def kill_and_go_on(self, garbage):
        """What a process leaves that is killed, before the head of its next commit is written."""
        self.leave(self.files())
        if garbage:
            (self.folder / ".cloudburst" / "r1.sqlite-journal").write_bytes(garbage)
        self.limbo = []
        self.open()

    @rule(entries=GROUPS)
    def kill_during_a_commit_and_go_on(self, entries):
        """Only a part of a commit has reached the disk."""
        with closing(sqlite3.connect(self.journal.path, isolation_level=None)) as other:
            other.execute("PRAGMA cache_size = 1")
            other.execute("BEGIN IMMEDIATE")
            insert(other, entries)
            left = self.files()
            other.execute("ROLLBACK")
        self.leave(left)
        self.limbo = []
        self.open()

    def files(self):
        return [(part.name, part.read_bytes()) for part in journal_files(self.journal.path)]

    def leave(self, left):
        """Go on elsewhere, with copies of the files."""
        self.runner.run(self.stack.aclose())
        self.folders += 1
        home = self.folder / ".cloudburst"
        home.mkdir(parents=True)
        for name, contents in left:
            (home / name).write_bytes(contents)

    @precondition(lambda self: self.model.processes)
    @rule(data=st.data())
    def a_life_is_told_again(self, data):
        began = data.draw(st.sampled_from(list(self.model.processes)))
        entry = replace(process(began), run=data.draw(st.sampled_from(["r1", "r2"])))
        self.runner.run(self.journal.write(entry))
        self.written(entry)

    @invariant()
    def it_says_what_was_written(self):
        if hasattr(self, "journal"):
            assert same(self.runner.run(self.journal.read()), self.model)

    @invariant()
    def others_read_the_same(self):
        if hasattr(self, "journal"):
            assert same(read_journal(self.journal.path), self.model)

    def teardown(self):
        try:
            self.runner.run(self.stack.aclose())
            self.written()
            if hasattr(self, "journal"):
                assert same(read_journal(self.journal.path), self.model)
        finally:
            self.runner.close()
            shutil.rmtree(self.base)


SETTINGS = settings(max_examples=8, stateful_step_count=20, deadline=None)


class TestLives(Lives.TestCase):
    settings = SETTINGS


@pytest.mark.nightly
@pytest.mark.timeout(300)
class TestLivesAtNight(Lives.TestCase):
    settings = settings(SETTINGS, max_examples=150)
