"""Somebody removes the folder of the journal while its run goes on."""

from __future__ import annotations

import logging
import shutil

import pytest

from cloudburst import Client, Limits, OutputClaimedError, Status
from cloudburst.journal import journal_path, open_journal, read_journal
from cloudburst.models.events import SceneCompleted
from cloudburst.outputs import active_runs, claim_outputs
from cloudburst.testing import FakeCloud
from support.journal_entries import Model, end, inline, launch, one_of_each, same

pytestmark = pytest.mark.anyio


async def test_a_removed_journal_is_written_again_with_all_that_was_in_it(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    more = [launch("later"), end()]
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        await journal.write(*one_of_each())
        shutil.rmtree(journal.path.parent)
        for entry in more:
            await journal.write(entry)
        assert same(read_journal(journal.path), Model().write(*one_of_each(), *more))
    assert same(read_journal(journal.path), Model().write(*one_of_each(), *more))
    (told,) = caplog.messages
    assert told.startswith(f"{journal.path} was removed while its run continues")
    assert journal.path.stat().st_mode & 0o077 == 0


async def test_it_is_not_written_again_with_a_folder_that_is_gone(tmp_path, caplog):
    out = tmp_path / "out"
    async with open_journal(out, "r1", call=inline) as journal:
        await journal.write(*one_of_each())
        shutil.rmtree(out)
        await journal.write(launch("later"))
    assert not list(tmp_path.iterdir())
    assert not caplog.messages


async def test_it_is_not_written_again_once_its_run_has_ended(tmp_path, caplog):
    async with open_journal(tmp_path, "r1", call=inline, reclaim=lambda: False) as journal:
        await journal.write(*one_of_each())
        shutil.rmtree(journal.path.parent)
        await journal.write(launch("later"))
    assert not list(tmp_path.iterdir())
    assert not caplog.messages


@pytest.mark.parametrize("what", ["all", "claim file", "lock"])
async def test_a_claim_whose_files_were_removed_is_made_again(tmp_path, what):
    home = tmp_path / ".cloudburst"
    async with claim_outputs(tmp_path, ["a"], run="r1", overwrite=False) as paths:
        (tmp_path / "a.mp4.part").touch()
        match what:
            case "all":
                shutil.rmtree(home)
            case "claim file":
                (home / "r1.json").unlink()
            case _:
                (home / "r1.lock").unlink()
        assert paths.renew()
        assert active_runs(tmp_path).keys() == {"r1"}
        with pytest.raises(OutputClaimedError):
            async with claim_outputs(tmp_path, ["a"], run="r2", overwrite=True):
                pytest.fail("must not get here")
        assert (tmp_path / "a.mp4.part").exists(), "it is on its way"
    assert not home.exists()
    assert not paths.renew(), "it has ended"
    assert not home.exists()


async def test_a_claim_that_another_run_has_taken_meanwhile_is_told_of(tmp_path, caplog):
    async with claim_outputs(tmp_path, ["a"], run="r1", overwrite=False) as paths:
        shutil.rmtree(tmp_path / ".cloudburst")
        async with claim_outputs(tmp_path, ["a"], run="r2", overwrite=False):
            assert paths.renew()
            (told,) = caplog.messages
            assert "cannot be claimed again (process " in told
            assert active_runs(tmp_path).keys() == {"r2"}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # files are read in threads
async def test_a_run_whose_folder_is_tidied_away_can_still_be_resumed(
    tmp_path, make_scene, caplog, anyio_backend
):
    cloud, out = FakeCloud(), tmp_path / "out"
    cloud.encode = lambda scene: 0 if scene == "a" else 0.3
    scenes = [make_scene(name) for name in "abc"]
    async with (
        Client(cloud.backend, limits=Limits(workers=1)) as client,
        client.stream(scenes, to=out, name="night") as run,
    ):
        async for event in run:
            if isinstance(event, SceneCompleted) and event.scene == "a":
                shutil.rmtree(out / ".cloudburst")
            elif isinstance(event, SceneCompleted) and event.scene == "b":
                assert active_runs(out).keys() == {"night"}
    assert (await run.report()).status is Status.COMPLETE
    past = read_journal(journal_path(out, "night"))
    assert past.results.keys() == set("abc")
    assert past.end.status is Status.COMPLETE
    assert len([told for told in caplog.messages if "was removed" in told]) == 1
