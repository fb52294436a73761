"""The object that users hold, with real files and a fake cloud."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
import traceback
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

import cloudburst
from cloudburst import Client, Limits, Scene, Status, execute_parallel_batches, render_frame
from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.errors import (
    AccessDeniedError,
    ClosedError,
    ConfigurationError,
    InvalidScenesError,
    OutputClaimedError,
    OutputExistsError,
)
from cloudburst.models.performance import UNKNOWN_PERFORMANCE
from cloudburst.outputs.history import read_history
from cloudburst.testing import FakeCloud
from cloudburst.testing.fake import FakeRenderer

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"  # files are read in threads


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


async def test_one_scene(make_scene, out):
    cloud = FakeCloud()
    video = await cloudburst.render(make_scene("场景_001"), to=out, backend=cloud.backend)
    assert video.scene == "场景_001"
    assert video.path == out / "场景_001.mp4"
    assert not cloud.running


async def test_many_scenes_and_then_more(make_scene, out):
    cloud = FakeCloud()
    async with Client(cloud.backend) as client:
        first = await client.render_all([make_scene("a"), make_scene("b")], to=out)
        second = await client.render(make_scene("c"), to=str(out))
    assert first.status is Status.COMPLETE
    assert [video.scene for video in first.videos] == ["a", "b"]
    assert second.scene == "c"
    assert not cloud.running


async def test_a_single_scene_s_error_is_raised_as_itself(make_scene, out):
    cloud = FakeCloud(refuse=[AccessDeniedError("no")])
    async with Client(cloud.backend) as client:
        with pytest.raises(AccessDeniedError):
            await client.render(make_scene(), to=out)


async def test_bad_scenes_start_nothing(make_scene, out):
    cloud = FakeCloud()
    bad = [make_scene("a") | {"image_path": "nowhere.png"}, make_scene("b") | {"audio_path": ""}]
    async with Client(cloud.backend) as client:
        with pytest.raises(InvalidScenesError) as caught:
            await client.render_all([*bad, make_scene("a")], to=out)
    assert [(f.scene, f.field) for f in caught.value.faults] >= [("a", "image_path")]
    assert {f.scene for f in caught.value.faults} == {"a", "b"}
    assert not cloud.launched


async def test_gathered_calls_that_a_scope_cancels_end_soon_and_leave_no_task(make_scene, out):
    """The scope cancels every call in each turn of the event loop until it has ended.

    ``gather`` ends with the first call that has ended; the client waits for the others.
    """
    cloud = FakeCloud(encode=60, stop_takes=0.1)
    scenes = [make_scene(f"s{number}") for number in range(8)]
    began = []

    async def cancel_at_work(scope):
        while len(cloud.running) < 3:  # noqa: ASYNC110 - a fake has no event
            await anyio.sleep(0.01)
        began.extend([time.monotonic(), time.process_time()])
        scope.cancel()

    async with Client(cloud.backend, limits=Limits(workers=3)) as client:
        with anyio.CancelScope() as scope:
            canceller = asyncio.ensure_future(cancel_at_work(scope))
            calls = [asyncio.ensure_future(client.render(scene, to=out)) for scene in scenes]
            await asyncio.gather(*calls)
    assert time.monotonic() - began[0] < 3
    assert time.process_time() - began[1] < 1
    assert canceller.done()
    assert all(call.cancelled() for call in calls)
    assert not cloud.running
    shutil.rmtree(out)


@pytest.mark.parametrize("cancelled", [False, True])
async def test_the_end_of_the_client_waits_for_its_open_calls(cancelled, make_scene, out):
    """They write their journal and remove their claim, and the caller may remove the folder."""
    opened = asyncio.Event()

    async def call():
        async with client.stream([make_scene()], to=out) as run:
            opened.set()
            try:
                await run.until_done()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.2)

    async with Client(FakeCloud(encode=60).backend) as client:
        task = asyncio.ensure_future(call())
        await opened.wait()
        if cancelled:
            task.cancel()
    assert task.done()
    assert task.cancelled() is cancelled
    shutil.rmtree(out)


async def test_a_client_is_opened_and_closed_by_hooks_in_other_tasks(make_scene, out):
    cloud = FakeCloud()
    client = Client(cloud.backend, limits=Limits(idle=60))
    for _ in range(2):
        assert await asyncio.create_task(client.open()) is client
        await client.render(make_scene(), to=out, overwrite=True)
        assert cloud.running  # kept for the next call
        await asyncio.create_task(client.aclose())
        assert not cloud.running
        with pytest.raises(ClosedError):
            await client.render(make_scene(), to=out, overwrite=True)
        await client.aclose()


def test_a_client_that_is_never_closed_leaves_no_task(make_scene, out):
    cloud = FakeCloud(stop_takes=0.1)

    async def program():
        client = await Client(cloud.backend, limits=Limits(idle=60)).open()
        await client.render(make_scene(), to=out)
        assert cloud.running

    asyncio.run(program())
    assert not cloud.running


async def test_a_client_that_cannot_be_opened_raises_the_reason():
    @asynccontextmanager
    async def broken(timeouts, tier):
        raise ConfigurationError("no network")
        yield

    client = Client(broken)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="no network"):
            await client.open()
    await client.aclose()


async def test_a_client_whose_opening_is_cancelled_is_closed():
    opening, closed = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def slow(timeouts, tier):
        try:
            opening.set()
            await asyncio.sleep(60)
            yield
        finally:
            closed.set()

    task = asyncio.create_task(Client(slow).open())
    await opening.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await closed.wait()


async def test_a_mistake_shows_one_traceback(make_scene, out):
    async def program():
        async with Client(FakeCloud().backend) as client:
            await client.render_all([make_scene("a")], to=out)

    out.mkdir()
    (out / "a.mp4").touch()
    with pytest.raises(OutputExistsError) as caught:
        await program()
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("Traceback") == 1
    assert "ExceptionGroup" not in shown


async def make_story():
    yield {}


@pytest.mark.parametrize(
    ("scenes", "message"),
    [
        ("a.json", "scenes: a str; expected a list of scenes; read_scenes(path) reads a file"),
        (Path("a.json"), "Path; expected a list of scenes; read_scenes(path) reads a file"),
        ({"name": "a"}, "scenes: a dict; expected a list of scenes"),
        (Scene(name="a", image="a", audio="a"), "scenes: a Scene; expected a list of scenes"),
        (3, "scenes: an int; expected a list of scenes"),
        (
            make_story,
            "a function; expected a list of scenes or an asynchronous iterable: make_story()",
        ),
        (
            Scene.model_validate,
            "a method; expected a list of scenes or an asynchronous iterable: model_validate()",
        ),
        (None, "scenes: None; expected a list of scenes"),
    ],
)
async def test_what_is_no_list_of_scenes_is_one_clear_error(out, scenes, message):
    async with Client(FakeCloud().backend) as client:
        with pytest.raises(InvalidScenesError) as caught:
            await client.render_all(scenes, to=out)
    assert str(caught.value).endswith(message)
    with pytest.raises(InvalidScenesError, match="expected a list of scenes"):
        await execute_parallel_batches(scenes)


async def test_what_are_no_options_is_one_clear_error(make_scene, out):
    a_dict = r'options: a dict; expected RenderOptions\(size="480x270"\)'
    options = {"size": "480x270"}
    with pytest.raises(ConfigurationError, match=a_dict):
        Client(options=options)
    async with Client(FakeCloud().backend) as client:
        with pytest.raises(ConfigurationError, match=a_dict):
            await client.render_all([make_scene("a")], to=out, options=options)
        with pytest.raises(ConfigurationError, match="options: a str; expected"):
            await client.render(make_scene("a"), to=out, options="720p")
    with pytest.raises(ConfigurationError, match=a_dict):
        await render_frame(make_scene("a"), options=options)
    assert not out.exists()


async def test_an_existing_video_starts_nothing_unless_it_may_be_replaced(make_scene, out):
    out.mkdir()
    (out / "a.mp4").write_text("precious")
    cloud = FakeCloud()
    async with Client(cloud.backend) as client:
        with pytest.raises(OutputExistsError, match=r"a\.mp4"):
            await client.render(make_scene("a"), to=out)
        assert not cloud.launched
        assert (await client.render(make_scene("a"), to=out, overwrite=True)).scene == "a"


async def test_two_runs_never_write_the_same_name(make_scene, out):
    cloud = FakeCloud(encode=5)
    async with (
        Client(cloud.backend) as client,
        client.stream([make_scene("a")], to=out),
    ):
        with pytest.raises(OutputClaimedError, match=r"a\.mp4"):
            await client.render(make_scene("a"), to=out)


async def test_before_and_after(make_scene, out):
    client = Client(FakeCloud().backend)
    with pytest.raises(ClosedError, match="enter the client"):
        await client.render(make_scene(), to=out)
    async with client:
        with pytest.raises(RuntimeError, match="already"):
            async with client:
                pass
    with pytest.raises(ClosedError):
        await client.render(make_scene(), to=out)


async def test_another_loop_is_refused(make_scene, out):
    errors = []

    async with Client(FakeCloud().backend) as client:

        def elsewhere():
            try:
                asyncio.run(client.render(make_scene(), to=out))
            except ClosedError as exc:
                errors.append(exc)

        await anyio.to_thread.run_sync(elsewhere)
    assert "another event loop" in str(errors[0])
    assert threading.active_count() < 10


async def test_a_cancelled_run_s_report_stays_readable(make_scene, out):
    cloud = FakeCloud(encode=lambda name: 0 if name == "a" else 1000)
    scenes = [make_scene("a"), make_scene("b")]
    with anyio.move_on_after(1):
        async with (
            Client(cloud.backend, limits=Limits(workers=1)) as client,
            client.stream(scenes, to=out) as run,
        ):
            await run.until_done()
    assert (await run.report()).status is Status.INTERRUPTED
    assert [video.scene for video in (await run.report()).videos] == ["a"]
    assert not cloud.running


async def test_options_reach_the_worker(make_scene, out):
    seen = []

    class Renderer(FakeRenderer):
        async def upload(self, scene, **more):
            seen.append(scene.options)
            return await super().upload(scene)

    class Cloud(FakeCloud):
        @asynccontextmanager
        async def connect(self, address, *, secrets):
            yield Renderer(self, address)

    cloud = Cloud()
    async with Client(cloud.backend, options=cloudburst.RenderOptions(effects=())) as client:
        await client.render(make_scene("a"), to=out)
        await client.render(
            make_scene("b"), to=out, options=cloudburst.RenderOptions(enable_zoom=True)
        )
    assert [tuple(options.effects) for options in seen] == [(), ("zoom_in", "zoom_out")]


async def test_what_was_measured_is_known_to_the_next_client(make_scene, tmp_path):
    class Kept(FakeCloud):
        @asynccontextmanager
        async def backend(self, timeouts, tier):
            async with super().backend(timeouts, tier) as backend:
                yield replace(backend, kind="fake STANDARD")

    scenes = [make_scene(f"s{number}") for number in range(3)]
    for folder in ("first", "second"):
        async with Client(Kept(encode=0.01).backend) as client:
            await client.render_all(scenes, to=tmp_path / folder)
    measures = [sample.measure for sample in read_history()]
    assert measures.count("encode") == 6
    assert measures.count("startup") >= 2
    assert {sample.kind for sample in read_history()} == {"fake STANDARD"}
    known = Measurements(read_history()).performance("fake STANDARD", UNKNOWN_PERFORMANCE)
    assert {"startup", "encode"} <= known.measured


async def test_figures_of_no_kind_are_not_kept(make_scene, tmp_path):
    async with Client(FakeCloud().backend) as client:
        await client.render_all([make_scene()], to=tmp_path / "out")
    assert read_history() == ()


async def test_wrong_settings_of_aws_without_remote_files_stop_no_run(
    make_scene, tmp_path, monkeypatch
):
    monkeypatch.setenv("CLOUDBURST_LIFETIME", "long")
    async with Client(FakeCloud().backend) as client:
        report = await client.render_all([make_scene()], to=tmp_path / "out")
        assert not report.errors
        with pytest.raises(ConfigurationError, match="CLOUDBURST_LIFETIME"):
            await client.render_all([make_scene("two")], to="s3://bucket/out/")
