"""Old journals of complete runs go; nothing else does."""

from __future__ import annotations

import os
import shutil

import pytest

from cloudburst.models.report import Status
from cloudburst.outputs.folder import claim_outputs
from cloudburst.outputs.journal import pruning
from cloudburst.outputs.journal.pruning import KEPT_JOURNALS, prune_journals
from cloudburst.outputs.journal.reader import is_completed, journal_paths
from cloudburst.outputs.journal.writer import open_journal
from support.journal_entries import end, inline, process, scene

pytestmark = pytest.mark.anyio


async def ended(folder, run, status=Status.COMPLETE, ended=1.0):
    async with open_journal(folder, run, call=inline) as journal:
        await journal.write(process(run=run), scene())
        await journal.save_file("post-mortem.md", "text")
        if status is not None:
            await journal.write(end(status, ended))
    os.utime(journal.path, (ended, ended))
    return journal.path


def runs(folder):
    return {path.stem for path in journal_paths(folder)}


async def test_complete_ones_go_but_for_the_newest_and_all_others_stay(tmp_path):
    for n, ended_at in enumerate([50.0, 10.0, 40.0, 20.0, 30.0]):
        await ended(tmp_path, f"complete{n}", ended=ended_at)
    for status in set(Status) - {Status.COMPLETE}:
        await ended(tmp_path, str(status), status, ended=0.0)
    await ended(tmp_path, "killed", None, ended=0.0)
    again = await ended(tmp_path, "again", ended=0.0)
    async with open_journal(tmp_path, "again", call=inline) as journal:
        await journal.write(process(9.0))  # another process, which was killed
    os.utime(again, (0, 0))
    broken = await ended(tmp_path, "broken", ended=0.0)
    broken.write_bytes(b"garbage")
    os.utime(broken, (0, 0))
    others = {"killed", "again", "broken", "partial", "failed", "budget", "interrupted"}
    prune_journals(tmp_path, kept=100)
    assert len(runs(tmp_path)) == 12
    prune_journals(tmp_path, kept=3)
    assert runs(tmp_path) == others | {"complete0", "complete2", "complete4"}
    left = {path.name for path in again.parent.iterdir()}
    assert left == {f"{run}.sqlite" for run in runs(tmp_path)} | runs(tmp_path)


async def test_a_complete_run_that_somebody_holds_stays(tmp_path):
    for n in range(3):
        await ended(tmp_path, f"r{n}", ended=float(n))
    async with claim_outputs(tmp_path, ["a"], run="r0", overwrite=False):
        prune_journals(tmp_path, kept=0)
        assert runs(tmp_path) == {"r0"}
        assert (tmp_path / ".cloudburst" / "r0" / "post-mortem.md").exists()
    prune_journals(tmp_path, kept=0)
    assert runs(tmp_path) == set()
    assert not (tmp_path / ".cloudburst").exists()


async def test_nothing_is_removed_while_another_run_looks_at_the_folder(tmp_path):
    from filelock import FileLock

    await ended(tmp_path, "r0")
    with FileLock(tmp_path / ".cloudburst" / "lock", thread_local=False):
        prune_journals(tmp_path, kept=0)
    assert runs(tmp_path) == {"r0"}


async def test_what_sqlite_left_beside_it_goes_too(tmp_path):
    path = await ended(tmp_path, "r0")
    path.with_name("r0.sqlite-journal").touch()
    prune_journals(tmp_path, kept=0)
    assert not path.parent.exists()


async def test_a_new_run_sees_to_it(tmp_path):
    await ended(tmp_path, "first", ended=0.0)
    later = await ended(tmp_path, "later0", ended=2.0)
    for n in range(1, KEPT_JOURNALS - 1):
        shutil.copy(later, later.with_name(f"later{n}.sqlite"))
    async with open_journal(tmp_path, "later0", call=inline):
        assert "first" in runs(tmp_path)  # going on with a run is no reason
    async with open_journal(tmp_path, "new", call=inline):
        assert runs(tmp_path) == {"new", *(f"later{n}" for n in range(KEPT_JOURNALS - 1))}


async def test_few_are_opened_at_once_however_many_failed_runs_there_are(tmp_path, monkeypatch):
    opened = []

    def read(path):
        opened.append(path.stem)
        return is_completed(path)

    monkeypatch.setattr(pruning, "is_completed", read)
    monkeypatch.setattr(pruning, "MAX_OPENED_JOURNALS", 5)
    for n in range(4):
        await ended(tmp_path, f"done{n}", ended=100.0 + n)
    failed = await ended(tmp_path, "failed0", Status.FAILED, ended=0.0)
    for n in range(1, 20):
        shutil.copy(failed, failed.with_name(f"failed{n}.sqlite"))
        os.utime(failed.with_name(f"failed{n}.sqlite"), (0, 0))
    for calls in range(1, 100):
        prune_journals(tmp_path, kept=2)
        assert len(opened) <= 5 * calls
    assert runs(tmp_path) == {"done2", "done3", *(f"failed{n}" for n in range(20))}


async def test_a_link_in_place_of_kept_files_goes_and_what_it_leads_to_stays(tmp_path):
    journal = await ended(tmp_path, "r0")
    shutil.rmtree(journal.with_suffix(""))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    journal.with_suffix("").symlink_to(elsewhere)
    prune_journals(tmp_path, kept=0)
    assert runs(tmp_path) == set()
    assert (elsewhere / "precious").exists()
