"""Somebody removes the folder of the journal while its run goes on."""

from __future__ import annotations

import shutil

import pytest

from cloudburst import Client, Limits, Status
from cloudburst.events import SceneCompleted
from cloudburst.testing import FakeCloud


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # files are read in threads
@pytest.mark.anyio
async def test_a_run_goes_on_without_a_journal_that_is_removed(
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
    assert (await run.report()).status is Status.COMPLETE
    assert len([told for told in caplog.messages if str(out / ".cloudburst") in told]) == 1
