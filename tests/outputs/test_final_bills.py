"""Final bills are written only into journals that no other process has touched meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from cloudburst.models.journal_entries import TaskEntry
from cloudburst.models.settings import Settings
from cloudburst.models.task import Usage
from cloudburst.outputs import final_bills
from cloudburst.outputs.final_bills import JournaledRun, complete_bills
from cloudburst.outputs.folder import claim_outputs
from cloudburst.outputs.journal.reader import journal_path, read_journal
from cloudburst.outputs.journal.writer import open_journal
from support.journal_entries import end, inline, process, scene, task

ARN = "arn:aws:ecs:eu-west-3:123456789012:task/films/0123456789abcdef"
RUN = "a" * 12


def known() -> Usage:
    usage = task().usage
    assert usage is not None
    now = time.time()
    return replace(usage, created_at=now - 99, pull_started_at=now - 90, last_seen_at=now - 20)


@pytest.fixture
def run(tmp_path: Path) -> JournaledRun:
    """An ended run with a task that had not stopped yet."""
    unsettled = replace(task(ARN), usage=known(), stopped_at=time.time() - 60)

    async def write() -> None:
        async with open_journal(tmp_path, RUN, call=inline) as journal:
            await journal.write(process(run=RUN), scene("s0"), unsettled, end())

    anyio.run(write)
    return JournaledRun(tmp_path, RUN, read_journal(journal_path(tmp_path, RUN)))


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], Usage]:
    """Let AWS answer with a final usage, after something else has happened."""

    def prepare(meanwhile: Callable[[], object] = lambda: None) -> Usage:
        final = replace(known(), stopped_at=time.time() - 10)

        def find(_settings: Settings, _usages: object) -> dict[str, Usage]:
            meanwhile()
            return {ARN: final}

        monkeypatch.setattr(final_bills, "_find_final_usages", find)
        return final

    return prepare


def in_journal(run: JournaledRun) -> TaskEntry:
    return read_journal(journal_path(run.folder, run.name)).tasks[ARN]


def test_a_final_bill_is_written_down(run: JournaledRun, answer) -> None:
    final = answer()
    (state,) = complete_bills([run], Settings())
    assert state.tasks[ARN] == in_journal(run)
    assert (in_journal(run).settled, in_journal(run).usage) == (True, final)


def test_a_run_on_which_a_process_works_again_is_left_to_it(run: JournaledRun, answer) -> None:
    answer()
    before = in_journal(run)

    async def resumed() -> None:
        async with claim_outputs(run.folder, ["s0"], run=RUN, overwrite=True):
            await anyio.to_thread.run_sync(complete_bills, [run], Settings())

    anyio.run(resumed)
    assert in_journal(run) == before
    assert not before.settled


def test_what_another_process_has_written_meanwhile_is_kept(run: JournaledRun, answer) -> None:
    newer = replace(in_journal(run), settled=True, usage=replace(known(), stopped_at=time.time()))

    async def write() -> None:
        async with open_journal(run.folder, RUN, call=inline) as journal:
            await journal.write(newer)

    answer(lambda: anyio.run(write))
    complete_bills([run], Settings())
    assert in_journal(run) == newer


def test_a_journal_that_was_removed_meanwhile_is_not_made_again(run: JournaledRun, answer) -> None:
    path = journal_path(run.folder, RUN)
    answer(path.unlink)
    complete_bills([run], Settings())
    assert not path.exists()
