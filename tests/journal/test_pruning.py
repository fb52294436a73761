"""Old journals of complete runs go; nothing else does."""

from __future__ import annotations

import shutil

import pytest

from cloudburst.journal import journal_paths, open_journal, pruning
from cloudburst.journal.pruning import MAX_COMPLETE_JOURNALS, prune_journals
from cloudburst.journal.reader import completed_at
from cloudburst.models.report import Status
from cloudburst.outputs import claim_outputs
from support.journal_entries import end, inline, one_of_each, process, scene

pytestmark = pytest.mark.anyio


async def ended(folder, run, status=Status.COMPLETE, ended=1.0):
    async with open_journal(folder, run, call=inline) as journal:
        await journal.write(process(run=run), scene())
        await journal.save_file("post-mortem.md", "text")
        if status is not None:
            await journal.write(end(status, ended))
    return journal.path


def runs(folder):
    return {path.stem for path in journal_paths(folder)}


async def test_the_newest_complete_ones_stay_and_all_others(tmp_path):
    for n, ended_at in enumerate([50.0, 10.0, 40.0, 20.0, 30.0]):
        await ended(tmp_path, f"complete{n}", ended=ended_at)
    for status in set(Status) - {Status.COMPLETE}:
        await ended(tmp_path, str(status), status, ended=0.0)
    await ended(tmp_path, "killed", None)
    again = await ended(tmp_path, "again", ended=0.0)
    async with open_journal(tmp_path, "again", call=inline) as journal:
        await journal.write(process(9.0))  # another process, which was killed
    broken = await ended(tmp_path, "broken", ended=0.0)
    broken.write_bytes(b"garbage")
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


async def test_what_a_killed_process_left_beside_it_goes_too(tmp_path):
    async with open_journal(tmp_path / "alive", "r0", call=inline) as journal:
        await journal.write(*one_of_each())
        shutil.copytree(journal.path.parent, tmp_path / "dead" / ".cloudburst")
    home = tmp_path / "dead" / ".cloudburst"
    assert {path.suffix for path in home.iterdir()} == {".sqlite", ".sqlite-wal", ".sqlite-shm"}
    prune_journals(tmp_path / "dead", kept=0)
    assert not home.exists()


async def test_a_new_run_sees_to_it(tmp_path):
    await ended(tmp_path, "first", ended=0.0)
    later = await ended(tmp_path, "later0", ended=2.0)
    for n in range(1, MAX_COMPLETE_JOURNALS):
        shutil.copy(later, later.with_name(f"later{n}.sqlite"))
    async with open_journal(tmp_path, "later0", call=inline):
        assert "first" in runs(tmp_path)  # going on with a run is no reason
    async with open_journal(tmp_path, "new", call=inline):
        assert runs(tmp_path) == {"new", *(f"later{n}" for n in range(MAX_COMPLETE_JOURNALS))}


async def test_what_cannot_go_is_opened_once_and_again_only_when_it_has_changed(
    tmp_path, monkeypatch
):
    opened = []

    def read(path):
        opened.append(path.stem)
        return completed_at(path)

    monkeypatch.setattr(pruning, "completed_at", read)
    await ended(tmp_path, "done", ended=1.0)
    await ended(tmp_path, "failed", Status.FAILED)
    for _ in range(3):
        async with open_journal(tmp_path, "new", call=inline) as journal:
            pass
        journal.path.unlink()
        prune_journals(tmp_path, kept=1)
    assert sorted(opened) == ["done", "failed"]
    async with open_journal(tmp_path, "failed", call=inline) as journal:
        await journal.write(process(9.0), end(ended=9.0))
    prune_journals(tmp_path, kept=1)
    assert sorted(opened) == ["done", "failed", "failed"]
    assert runs(tmp_path) == {"failed"}


async def test_few_are_opened_at_once_however_many_failed_runs_there_are(tmp_path, monkeypatch):
    opened = []

    def read(path):
        opened.append(path.stem)
        return completed_at(path)

    monkeypatch.setattr(pruning, "completed_at", read)
    monkeypatch.setattr(pruning, "MAX_OPENED_JOURNALS", 5)
    for n in range(4):
        await ended(tmp_path, f"done{n}", ended=float(n))
    failed = await ended(tmp_path, "failed0", Status.FAILED)
    for n in range(1, 20):
        shutil.copy(failed, failed.with_name(f"failed{n}.sqlite"))
    for calls in range(1, 6):
        prune_journals(tmp_path, kept=2)
        assert len(opened) <= 5 * calls
        assert {"done2", "done3"} <= runs(tmp_path)
    assert runs(tmp_path) == {"done2", "done3", *(f"failed{n}" for n in range(20))}
    assert sorted(opened) == sorted(set(opened))


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
