"""Scenes whose files are in S3 come one after another, and their videos go to S3."""

from __future__ import annotations

import pytest

from cloudburst.errors import InvalidScenesError, OutputExistsError
from cloudburst.events import SceneCompleted

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(60)]


async def source(scenes):
    for scene in scenes:
        yield scene


async def test_a_source_is_resumed_on_another_machine(world, tmp_path, monkeypatch):
    names = ["a", "b", "c"]
    scenes = world.scenes(0, *names)
    missing = scenes[2]["image_path"] + ".missing"
    told = await world.run(source([*scenes[:2], {**scenes[2], "image_path": missing}]))
    assert [*told.errors] == ["c"]
    assert isinstance(told.report.errors[0], InvalidScenesError)
    assert told.report.bytes_checked > 0
    world.hold_clean({"a.mp4", "b.mp4"})

    again = await world.run(source(scenes))
    assert [*again.errors] == ["a", "b"]
    assert isinstance(again.report.errors[0], OutputExistsError)
    assert [video.scene for video in again.report.videos] == ["c"]

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another machine"))
    last = await world.run(source(scenes[:2]), resume=True, name=told.report.run)
    assert [event.skipped for event in last.of(SceneCompleted)] == [True, True]
    world.hold_clean({f"{name}.mp4" for name in names})
