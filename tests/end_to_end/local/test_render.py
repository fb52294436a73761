"""From files to videos on two workers, and what a run does when one of them is lost."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import threading
import time
from pathlib import Path

import anyio
import pytest
from PIL import Image

from cloudburst import Client, Limits, RenderOptions, Status, Timeouts, local
from cloudburst.concurrency import poll
from cloudburst.errors import (
    ClosedError,
    OutputClaimedError,
    OutputExistsError,
    PoisonedSceneError,
    RenderFailedError,
)
from cloudburst.models.limits import Backoff
from support.output_files import files_of_client
from support.video_probe import probe

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(90)]

SIZE, FULL = (480, 270), (1920, 1080)
SMALL = RenderOptions(size="480x270")
"""Options of videos that take little CPU time. What happens during an encode needs full HD."""
SOON = Backoff(first=0.02, cap=0.05)
COLOURS = ["teal", "crimson", "gold"]


@pytest.fixture
def scenes(make_scene):
    """Three whose files are all different."""
    return [
        make_scene(colour, seconds=0.6 + 0.2 * number, color=colour)
        for number, colour in enumerate(COLOURS)
    ]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def size_of(scene):
    return sum(Path(scene[field]).stat().st_size for field in ("image_path", "audio_path"))


@pytest.mark.nightly
async def test_a_cover_lies_beside_its_video(scenes, out):
    scenes[1]["options"] = {"cover": True}
    async with Client(local(workers=1), options=SMALL) as client:
        report = await client.render_all(scenes[:2], to=out)
    assert [video.cover for video in report.videos] == [None, out / "crimson.jpg"]
    data = (out / "crimson.jpg").read_bytes()
    assert hashlib.sha256(data).hexdigest() == report.videos[1].cover_sha256
    with Image.open(out / "crimson.jpg") as cover:
        assert cover.size == SIZE
        assert cover.getpixel((240, 135)) == pytest.approx((220, 20, 60), abs=6)
    assert {path.name for path in out.iterdir()} == files_of_client(COLOURS[:2], "crimson")


async def test_all_is_told_and_adds_up(scenes, out, watch):
    async with Client(local(workers=2, encoders=1), options=SMALL) as client:
        began = time.monotonic()
        async with client.stream(scenes, to=out) as run:
            events = [event async for event in run]
        wall = time.monotonic() - began
        assert watch.left_after(3) == {}, "no worker is kept warm unless asked for"
    report = await run.report()
    assert report.status is Status.COMPLETE
    assert [entry.scene for entry in report.scenes] == COLOURS
    assert report.wall_seconds <= wall
    for scene, entry in zip(scenes, report.scenes, strict=True):
        told = [event for event in events if getattr(event, "scene", None) == entry.scene]
        kinds = [event.type.removeprefix("scene.") for event in told]
        # A scene that waits behind an encode is moved to a worker that has nothing to do.
        moved = kinds.count("started") > 1
        stages = (
            entry.queued_seconds,
            entry.upload_seconds,
            entry.slot_wait_seconds,
            entry.encode_seconds,
            entry.download_seconds,
        )
        assert min(stages) >= 0
        assert entry.encode_seconds > 0.1
        assert 0 <= told[-1].at - sum(stages) < 0.2
        assert entry.bytes_sent == size_of(scene) or moved
        assert (entry.attempts, entry.error) == (1, None)
        content = entry.video.path.read_bytes()
        assert entry.bytes_received == entry.video.size == len(content)
        assert entry.video.sha256 == hashlib.sha256(content).hexdigest()
        probe(entry.video.path).check(size=SIZE, seconds=entry.video.seconds)
        assert re.fullmatch(
            "(queued started (uploaded )?)*"
            "queued started uploaded encoding (progress )*encoded completed ",
            "".join(f"{kind} " for kind in kinds),
        ), kinds
        shares = [event.progress for event in told if event.type == "scene.progress"]
        assert shares == sorted(set(shares))
        assert shares
        assert {told[-2].task, entry.video.task} == {entry.task}
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert len(report.workers) == 2
    assert sum(worker.scenes for worker in report.workers) == 3
    for worker in report.workers:
        of_it = [e.type for e in events if e.type.startswith("worker.") and e.task == worker.task]
        assert worker.error is None
        assert (worker.encode_seconds > 0) == (worker.scenes > 0)
        if worker.ready_at is None:  # the other one has rendered all scenes before
            assert worker.scenes == 0
            assert 0 <= worker.launched_at < worker.stopped_at <= report.wall_seconds
            assert of_it == ["worker.launched", "worker.stopped"]
            continue
        assert 0 <= worker.launched_at < worker.ready_at < worker.stopped_at <= report.wall_seconds
        assert worker.encode_seconds < worker.stopped_at - worker.ready_at
        assert of_it == ["worker.launched", "worker.ready", "worker.stopped"]


@pytest.mark.nightly
async def test_a_video_is_replaced_only_if_it_may_be(scenes, out, watch):
    async with Client(local(workers=1), options=SMALL, limits=Limits(idle=30)) as client:
        first = await client.render(scenes[0], to=out)
        with pytest.raises(OutputExistsError, match="teal"):
            await client.render(scenes[0], to=out)
        other = scenes[1] | {"scene_name": "teal"}
        second = await client.render(other, to=out, overwrite=True)
    assert second.path == first.path
    assert second.sha256 != first.sha256
    assert hashlib.sha256(second.path.read_bytes()).hexdigest() == second.sha256
    assert [path.name for path in out.glob("[!.]*")] == ["teal.mp4"]


def kill(pids):
    assert len(pids) == 1, pids
    os.kill(pids[0], signal.SIGKILL)


def services(watch):
    return [pid for pid, line in watch.processes().items() if line.strip().endswith(".service")]


async def gone(look, seconds):
    with anyio.fail_after(seconds):
        await poll(
            lambda: anyio.to_thread.run_sync(lambda: not look() or None), delays=SOON.delays()
        )


async def when_it_encodes(run, do, *, times=1):
    """Iterate to the end; ``do`` something in the midst of the first encodes. All events."""
    events, done = [], set()
    async for event in run:
        events.append(event)
        if event.type == "scene.progress" and len(done) < times and event.task not in done:
            done.add(event.task)
            await anyio.to_thread.run_sync(do)
    assert len(done) == times
    return events


async def test_the_worker_is_killed_and_another_renders(make_scene, out, watch):
    scene = make_scene("long", seconds=4)
    async with (
        Client(local(workers=2, encoders=1)) as client,
        client.stream([scene], to=out) as run,
    ):
        events = await when_it_encodes(run, lambda: kill(services(watch)))
    (retried,) = [event for event in events if event.type == "scene.retried"]
    assert retried.kind == "WorkerStoppedError"
    assert "killed by SIGKILL" in retried.message
    (entry,) = (await run.report()).scenes
    assert ((await run.report()).status, entry.attempts) == (Status.COMPLETE, 2)
    assert entry.task != retried.task
    assert entry.bytes_sent == 2 * size_of(scene)
    lost, used = (await run.report()).workers
    assert lost.task == retried.task
    assert "killed by SIGKILL" in lost.error
    assert (lost.scenes, used.scenes) == (0, 1)
    probe(entry.video.path).check(size=FULL, seconds=4)


@pytest.mark.nightly
async def test_a_worker_that_is_killed_each_time_ends_the_scene_with_the_reason(
    make_scene, out, watch
):
    scenes = [make_scene("long", seconds=6)]
    async with (
        Client(local(workers=1), limits=Limits(attempts=2)) as client,
        client.stream(scenes, to=out) as run,
    ):
        await when_it_encodes(run, lambda: kill(services(watch)), times=2)
    (error,) = (await run.report()).errors
    assert isinstance(error, PoisonedSceneError)
    assert "it exited by itself (killed by SIGKILL)" in str(error)
    assert not list(out.glob("[!.]*"))
    assert not watch.left_after(4), "a render process ends when its service was killed"


async def test_a_render_process_is_killed_and_the_scene_is_rendered_again(make_scene, out, watch):
    scenes = [make_scene("long", seconds=4)]
    async with Client(local(workers=2, encoders=1)) as client:
        async with client.stream(scenes, to=out) as run:
            events = await when_it_encodes(run, lambda: kill(watch.find("render_process")))
        (retried,) = [event for event in events if event.type == "scene.retried"]
        assert retried.kind == "RenderFailedError"
        assert (await run.report()).status is Status.COMPLETE
        probe(out / "long.mp4").check(size=FULL, seconds=4)


@pytest.mark.nightly
async def test_a_render_process_that_is_killed_twice_fails_its_scene(make_scene, out, watch):
    scenes = [make_scene("longer", seconds=30)]  # so that it is not done when it is killed
    async with (
        Client(local(workers=2, encoders=1), limits=Limits(attempts=2)) as client,
        client.stream(scenes, to=out) as run,
    ):
        await when_it_encodes(run, lambda: kill(watch.find("render_process")), times=2)
    (error,) = (await run.report()).errors
    assert isinstance(error, RenderFailedError)
    assert "the render failed (exit -9: no error output)" in str(error)


async def test_a_scene_that_takes_too_long_ends_and_leaves_nothing(make_scene, out, watch):
    scenes = [make_scene("long", seconds=60)]
    timeouts, limits = Timeouts(scene=0.1), Limits(attempts=1, idle=30)
    async with Client(local(workers=1), timeouts=timeouts, limits=limits) as client:
        report = await client.render_all(scenes, to=out)
        assert report.status is Status.FAILED
        assert "0.1" in str(report.errors[0])
        await gone(lambda: watch.find("render_process"), 3)
        assert len(services(watch)) == 1, "the worker itself is well"
    assert not list(out.glob("[!.]*"))


@pytest.mark.nightly
async def test_two_clients_side_by_side(scenes, out, watch):
    async with (
        Client(local(workers=1), options=SMALL) as one,
        Client(local(workers=1), options=SMALL) as two,
        one.stream(scenes[:1], to=out) as first,
    ):
        with pytest.raises(OutputClaimedError, match="teal"):
            await two.render(scenes[0], to=out)
        async with two.stream(scenes[1:], to=out) as second:
            await second.until_done()
        await first.until_done()
    assert {path.stem for path in out.glob("[!.]*")} == set(COLOURS)
    tasks = [{worker.task for worker in (await run.report()).workers} for run in (first, second)]
    assert tasks[0].isdisjoint(tasks[1])


async def test_a_thread_has_no_part_in_a_client(scenes, out, watch):
    errors = []

    def elsewhere():
        try:
            anyio.run(lambda: client.render(scenes[0], to=out))
        except ClosedError as exc:
            errors.append(exc)

    async with Client(local(workers=1), options=SMALL) as client:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        await anyio.to_thread.run_sync(thread.join)
        assert "another event loop" in str(errors[0])
        assert not watch.processes()


@pytest.mark.nightly
async def test_a_warm_worker_is_used_again_and_then_let_go(scenes, out, watch):
    async with Client(local(workers=1), options=SMALL, limits=Limits(idle=2)) as client:
        first = await client.render_all(scenes[:1], to=out)
        (warm,) = services(watch)
        await anyio.sleep(0.5)
        second = await client.render_all(scenes[1:], to=out)
        assert services(watch) == [warm]
        ((before,), (after,)) = first.workers, second.workers
        assert before.task == after.task
        assert after.launched_at < after.ready_at < 0
        assert (before.stopped_at, after.stopped_at) == (None, None)
        assert max(entry.queued_seconds for entry in second.scenes if entry.queued_seconds) < 2.5
        idle = time.monotonic()
        await gone(lambda: services(watch), 6)
        assert time.monotonic() - idle > 1.5


@pytest.mark.nightly
async def test_library_that_cannot_be_loaded_ends_the_run_after_a_few_workers(
    make_scene, out, tmp_path, monkeypatch
):
    (tmp_path / "av.py").write_text("raise ImportError('libavcodec.so.62: no such file')")
    scenes = [make_scene(f"scene {number}", seconds=0.1) for number in range(20)]
    limits = Limits(attempts=2)
    async with Client(local(workers=1, encoders=2), options=SMALL, limits=limits) as client:
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # of the workers
        async with client.stream(scenes, to=out) as run:
            begun = [event.scene async for event in run if event.type == "scene.encoding"]
        report = await run.report()
    assert report.status is Status.FAILED
    assert len(report.errors) == 20
    assert all("ImportError: libavcodec.so.62: no such file" in str(e) for e in report.errors)
    assert len(report.workers) == 2
    assert len(begun) <= 8
    assert report.problem
    assert report.problem.startswith("WorkerUnfitError")
