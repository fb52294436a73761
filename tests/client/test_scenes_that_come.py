"""Scenes that come while others render, with real files, claims and journals, and a fake cloud."""

from __future__ import annotations

import json

import anyio
import pytest

import cloudburst
from cloudburst import Client, Status
from cloudburst.errors import (
    ClosedError,
    ConfigurationError,
    InvalidScenesError,
    OutputClaimedError,
    OutputExistsError,
)
from cloudburst.events import SceneCompleted
from cloudburst.outputs.journal.reader import journal_path, read_journal
from cloudburst.testing import FakeCloud

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"  # files are read in threads


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


async def source(*scenes, pause=0.0):
    for scene in scenes:
        await anyio.sleep(pause)
        yield scene


async def test_an_asynchronous_generator_is_rendered_like_a_list(make_scene, out):
    cloud = FakeCloud()
    scenes = source(*[make_scene(name) for name in "abc"])
    report = await cloudburst.render_all(scenes, to=out, backend=cloud.backend, name="r1")
    assert [video.path for video in report.videos] == [out / f"{name}.mp4" for name in "abc"]
    assert report.status is Status.COMPLETE
    past = read_journal(journal_path(out, "r1"))
    assert [*past.scenes] == [*"abc"]
    assert past.end.status is Status.COMPLETE


async def test_a_later_scene_is_claimed_for_the_run(make_scene, out):
    cloud = FakeCloud(encode=0.2)
    async with (
        Client(cloud.backend) as client,
        client.stream(to=out, name="r1") as run,
        client.stream(to=out, name="r2") as other,
    ):
        assert await run.submit(make_scene("a")) == "a"
        (claim,) = [json.loads(file.read_text()) for file in (out / ".cloudburst").glob("r1.json")]
        assert claim["names"] == ["a"]
        with pytest.raises(OutputClaimedError):
            await other.submit(make_scene("A"))
        await other.submit(make_scene("b"))
        assert len((await run.until_done()).videos) == 1
        assert len((await other.until_done()).videos) == 1


async def test_faults_are_those_of_a_list_and_the_others_go_on(make_scene, out):
    out.mkdir()
    (out / "d.mp4").write_bytes(b"of another run")
    good = make_scene("a")
    bad = [
        {"image": "nowhere.png"},
        {"name": "b", "image": "nowhere.png", "audio": "nowhere.mp3"},
        {**make_scene("A")},
        make_scene("d"),
        5,
    ]
    async with Client(FakeCloud().backend) as client:
        report = await client.render_all(source(good, *bad, make_scene("c")), to=out)
    names = [scene.scene for scene in report.scenes]
    assert names == ["a", "scenes[1]", "b", "scenes[3]", "d", "scenes[5]", "c"]
    assert [video.scene for video in report.videos] == ["a", "c"]
    nameless, missing, again, there, five = report.errors
    assert {fault.field for fault in nameless.faults} == {"name", "image", "audio"}
    assert {fault.field for fault in missing.faults} == {"image", "audio"}
    assert "scenes[3] has the name 'A' and scenes[0] 'a'" in str(again)
    assert isinstance(there, OutputExistsError)
    assert str(five).startswith("scenes[5]: scene: 5")


@pytest.mark.parametrize("scenes", [None, 3, "a.json"])
async def test_what_is_no_source_is_refused(scenes, out):
    async with Client(FakeCloud().backend) as client:
        with pytest.raises(InvalidScenesError):
            await client.render_all(scenes, to=out)
    assert not out.exists()


async def test_options_are_checked_before_a_scene_comes(make_scene, out, tmp_path):
    asked = []

    async def never():
        asked.append(True)
        yield make_scene()

    options = cloudburst.RenderOptions(watermark=tmp_path / "nowhere.png")
    async with Client(FakeCloud().backend, options=options) as client:
        with pytest.raises(InvalidScenesError, match="watermark"):
            await client.render_all(never(), to=out)
    assert not asked


async def test_submitted_scenes_of_many_callers(make_scene, out):
    async with Client(FakeCloud().backend) as client, client.stream(to=out) as run:
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(run.submit, make_scene(f"s{number}"))
        with pytest.raises(InvalidScenesError, match="both have the name"):
            await run.submit(make_scene("s3"))
        with pytest.raises(InvalidScenesError):
            await run.submit({"name": "s11"})
        with pytest.raises(ConfigurationError):
            await run.video("s11")
        assert (await run.video("s4")).path == out / "s4.mp4"
        run.close()
        report = await run.until_done()
        with pytest.raises(ClosedError):
            await run.submit(make_scene("s12"))
    assert report.status is Status.COMPLETE
    assert len(report.videos) == 10


@pytest.mark.parametrize("delay", [0, 0.002, 0.005, 0.01, 0.02, 0.05])
async def test_a_client_that_is_cancelled_while_scenes_come_leaves_nothing(delay, make_scene, out):
    cloud, scenes, ended = FakeCloud(encode=10), [make_scene(name) for name in "abcd"], []

    async def endless():
        try:
            for scene in scenes:
                yield scene
            await anyio.sleep_forever()
        finally:
            ended.append(True)

    async with Client(cloud.backend) as client:
        with anyio.move_on_after(delay):
            async with client.stream(endless(), to=out, name="r1") as run:
                await run.until_done()
        async with client.stream(to=out, name="r2") as run:
            assert await run.submit(scenes[0]) == "a"
    assert not cloud.running
    assert not list(out.rglob("*.lock"))
    assert not list(out.rglob("*.json"))


async def test_an_iterable_resumes_the_run_of_its_first_scene(make_scene, out):
    cloud, asked = FakeCloud(), []

    async def story():
        for name in "ab":
            asked.append(name)
            yield make_scene(name)

    async with Client(cloud.backend) as client:
        await client.render_all(source(make_scene("a")), to=out, name="story")
        await client.render_all(source(make_scene("z")), to=out, name="other")
        report = await client.render_all(story(), to=out, resume=True)
        assert (report.run, report.status) == ("story", Status.COMPLETE)
        assert asked == ["a", "b"]
        before = read_journal(journal_path(out, "other"))
        for first in (make_scene("new"), {"name": 5}, {"name": "a/b"}, 5):
            report = await client.render_all(source(first), to=out, resume=True)
            assert report.run not in {"story", "other"}
        assert (await client.render_all(source(), to=out, resume=True)).run != "other"
        assert read_journal(journal_path(out, "other")) == before


async def test_a_run_by_submit_resumes_the_newest_run_whose_scenes_came(make_scene, out):
    async with Client(FakeCloud().backend) as client:
        await client.render_all(source(make_scene("a")), to=out, name="came")
        await client.render_all([make_scene("z")], to=out, name="listed")
        async with client.stream(to=out, resume=True) as run:
            await run.submit(make_scene("a"))
            report = await run.until_done()
    assert report.run == "came"


async def test_a_generator_is_closed_if_its_run_cannot_begin(make_scene, out):
    closed = []

    async def story():
        try:
            yield make_scene("a")
        finally:
            await anyio.sleep(0.01)
            closed.append(True)

    async with Client(FakeCloud().backend) as client, client.stream(to=out, name="r1") as run:
        await run.submit(make_scene("a"))
        with pytest.raises(ConfigurationError, match="already has a run with the name 'r1'"):
            await client.render_all(story(), to=out, resume=True)
    assert closed == [True]


async def test_an_error_before_the_first_scene_comes_out_of_a_resumed_run(out):
    error = ExceptionGroup("own", [ValueError(1)])

    async def story():
        raise error
        yield

    async with Client(FakeCloud().backend) as client:
        with pytest.raises(ExceptionGroup) as caught:
            await client.render_all(story(), to=out, resume=True)
    assert caught.value is error


async def test_a_resumed_generator_with_a_task_group_is_left_in_its_own_task(make_scene, out):
    closed = []

    async def story():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            try:
                for name in "ab":
                    yield make_scene(name)
                await anyio.sleep_forever()
            finally:
                closed.append(True)

    cloud = FakeCloud()
    async with Client(cloud.backend) as client:
        async with client.stream(story(), to=out, resume=True) as run:
            async for event in run:
                if isinstance(event, SceneCompleted) and event.scene == "b":
                    break
        assert closed == [True]
    assert not cloud.running


async def test_only_a_source_that_ends_with_all_scenes_accepted_completes_its_run(make_scene, out):
    def ended():
        return read_journal(journal_path(out, "r1")).source_ended

    async def broken():
        raise ValueError
        yield

    how = {"to": out, "name": "r1", "resume": True}
    async with Client(FakeCloud().backend) as client:
        with pytest.raises(ValueError):
            await client.render_all(broken(), **how)
        assert ended() is False
        report = await client.render_all([make_scene("a")], **how)
        assert (report.status, ended()) == (Status.COMPLETE, False)
        await client.render_all(source(make_scene("a"), {"name": "bad"}), **how)
        assert ended() is False
        await client.render_all(source(make_scene("a"), make_scene("b")), **how)
        assert ended() is True
        await client.render_all([make_scene("a")], **how)
        assert ended() is True
        await client.render_all([make_scene("z")], to=out, name="r2")
    assert read_journal(journal_path(out, "r2")).source_ended is None
