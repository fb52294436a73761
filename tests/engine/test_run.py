"""Runs as a whole: every scene ends in a video or an error, and no task runs on."""

from __future__ import annotations

import math

import anyio
import pytest

from cloudburst.errors import (
    AccessDeniedError,
    BusyError,
    CapacityError,
    ClosedError,
    EncodeError,
    SceneTimeoutError,
    WorkerNotReadyError,
)
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from support.harness import checked, engine

pytestmark = pytest.mark.anyio


async def test_all_scenes_become_videos_and_every_task_is_stopped():
    cloud = FakeCloud(boot=30, upload=1, encode=10, download=1)
    async with engine(cloud, limits=Limits(workers=3)) as eng:
        report = await eng.render(["a", "b", "c", "d", "e", "f", "g"])
        assert not cloud.running, "nothing is kept warm by default"
    assert report.status is Status.COMPLETE
    assert [video.scene for video in report.videos] == list("abcdefg")
    assert cloud.max_running == 3
    assert {w.task for w in report.workers} == {"fake-1", "fake-2", "fake-3"}
    assert sum(w.scenes for w in report.workers) == 7
    for entry in report.scenes:
        assert (entry.attempts, entry.error) == (1, None)
        assert entry.upload_seconds == pytest.approx(1)
        assert entry.encode_seconds == pytest.approx(10)
        assert entry.download_seconds == pytest.approx(1)
        assert entry.queued_seconds >= 30


async def test_the_report_says_when_each_phase_of_the_last_attempt_began():
    cloud = FakeCloud(upload=2, encode=10, download=3, crashing_tasks={"fake-1": 5})
    async with engine(cloud, limits=Limits(workers=1)) as eng, eng.open(["a"]) as run:
        await anyio.sleep(10)
        early = (await run.report()).scenes[0]
        whole = (await run.until_done()).scenes[0]
    assert early.started_at == 0
    assert 5 <= early.upload_at < early.encode_at < 10
    assert (early.encode_seconds, early.download_at, early.finished_at) == (0.0, None, None)
    assert (whole.attempts, whole.started_at) == (2, 0)
    assert (whole.upload_at, whole.encode_at) == (early.upload_at, early.encode_at)
    assert whole.encode_at == pytest.approx(whole.upload_at + 2)
    assert whole.download_at == pytest.approx(whole.encode_at + 10)
    assert whole.finished_at == pytest.approx(whole.download_at + 3)


async def test_a_scene_that_fails_has_finished_and_one_that_is_cancelled_has_not():
    cloud = FakeCloud(upload=2, encode=10, broken_scenes={"a"})
    async with engine(cloud, limits=Limits(workers=1)) as eng:
        async with eng.open(["a", "b"]) as run:
            await anyio.sleep(8)
        failed, cancelled = (await run.report()).scenes
    assert failed.started_at < failed.encode_at <= failed.finished_at <= 8
    assert (failed.download_at, cancelled.finished_at) == (None, None)
    assert cancelled.encode_at <= 8 == pytest.approx(cancelled.encode_at + cancelled.encode_seconds)


async def test_wall_time_is_that_of_an_ideal_pipeline():
    """30 s start, then 6 encodes of 10 s on 2 workers; only one upload and download show."""
    cloud = FakeCloud(boot=30, upload=4, encode=10, download=4)
    async with engine(cloud, limits=Limits(workers=2)) as eng:
        report = await eng.render(["a", "b", "c", "d", "e", "f"])
    ideal = 30 + 4 + 3 * 10 + 4
    assert ideal <= report.wall_seconds <= ideal + 1


async def test_a_scene_that_fails_stops_no_other():
    cloud = FakeCloud(encode=1, broken_scenes={"b"})
    async with engine(cloud) as eng:
        report = await eng.render(["a", "b", "c"])
    assert report.status is Status.PARTIAL
    assert [v.scene for v in report.videos] == ["a", "c"]
    assert report.scenes[1].error == "EncodeError: the encoder said no"
    assert report.scenes[1].attempts == 1, "no other worker would do better"
    with pytest.raises(ExceptionGroup, match="1 scenes failed") as caught:
        report.raise_for_failures()
    assert isinstance(caught.value.exceptions[0], EncodeError)


async def test_longest_sound_first():
    cloud = FakeCloud(encode=1)
    scenes = [checked("short", 1), checked("long", 9), checked("middle", 5)]
    async with engine(cloud, limits=Limits(workers=1)) as eng:
        await eng.render(scenes)
    assert [line for line in cloud.log if line.startswith("encoded")] == [
        "encoded long on fake-1",
        "encoded middle on fake-1",
        "encoded short on fake-1",
    ]


async def test_runs_take_turns():
    """Two scenes that come later do not wait for the hundred that came before."""
    cloud = FakeCloud(encode=1)
    ends = {}
    async with engine(cloud, limits=Limits(workers=1)) as eng:

        async def go(name, count):
            await eng.render([f"{name}{i}" for i in range(count)], name)
            ends[name] = anyio.current_time()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go, "large", 100)
            await anyio.sleep(10.5)
            began = anyio.current_time()
            tasks.start_soon(go, "small", 2)
    assert ends["small"] - began < 8
    assert ends["large"] > ends["small"]


class Full(FakeCloud):
    """There is room for one task, and others are waited for in vain."""

    first = ""

    async def launch(self, request):
        self.first = self.first or request.token
        if request.token != self.first:
            raise CapacityError("no room")
        return await super().launch(request)


async def test_a_small_run_is_not_left_to_a_worker_that_never_comes():
    reports = {}

    async def one(eng, name, scenes):
        reports[name] = await eng.render([f"{name}{number}" for number in range(scenes)], name)

    async with (
        engine(Full(boot=1, encode=20), limits=Limits(workers=2)) as eng,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(one, eng, "large", 50)
        await anyio.sleep(45)
        tasks.start_soon(one, eng, "small", 1)
    assert {report.status for report in reports.values()} == {Status.COMPLETE}
    assert reports["small"].wall_seconds < 4 * 20


async def test_a_dead_worker_is_replaced():
    cloud = FakeCloud(encode=5, crashing_tasks={"fake-1": 3})
    async with engine(cloud, limits=Limits(workers=1)) as eng:
        report = await eng.render(["a"])
    assert report.status is Status.COMPLETE
    assert report.videos[0].task == "fake-2"
    assert report.scenes[0].attempts == 2
    lost = next(w for w in report.workers if w.task == "fake-1")
    assert "exit code 137" in lost.error, "the backend's own reason, not just a broken line"


async def test_a_worker_that_dies_while_it_is_silent_is_noticed():
    """The line does not break (a machine that vanished): the backend's word is enough."""
    cloud = FakeCloud(encode=lambda _: 10_000 if "fake-1" in cloud.running else 5)
    cloud.crashing_tasks = {"fake-1": 7}
    async with engine(cloud, limits=Limits(workers=1)) as eng:
        report = await eng.render(["a"])
    assert report.status is Status.COMPLETE
    assert report.wall_seconds < 30
    lost = next(w for w in report.workers if w.task == "fake-1")
    assert "exit code 137" in lost.error


async def test_attempts_are_bounded():
    cloud = FakeCloud(encode=lambda _: 10_000, progress_every=math.inf)
    async with engine(
        cloud, timeouts=Timeouts(scene=60), limits=Limits(workers=1, attempts=3)
    ) as eng:
        report = await eng.render(["a"])
    assert report.status is Status.FAILED
    assert isinstance(report.errors[0], SceneTimeoutError)
    assert report.scenes[0].attempts == 3
    assert not cloud.running


async def test_a_scene_that_takes_too_long_is_tried_elsewhere():
    slow = iter([10_000])
    cloud = FakeCloud(encode=lambda _: next(slow, 5), progress_every=math.inf)
    async with engine(cloud, timeouts=Timeouts(scene=60), limits=Limits(workers=2)) as eng:
        report = await eng.render(["a"])
    assert report.status is Status.COMPLETE
    assert report.scenes[0].attempts == 2
    assert report.videos[0].task == "fake-2"


async def test_a_wait_for_others_costs_a_scene_no_time():
    """As long as nothing was measured, the next scene is sent to a worker that encodes."""
    cloud = FakeCloud(boot=1, encode=600)
    async with engine(cloud, limits=Limits(workers=1, attempts=1)) as eng:
        report = await eng.render("abc")
    assert report.status is Status.COMPLETE
    assert max(scene.slot_wait_seconds for scene in report.scenes) > 500
    assert report.wall_seconds < 1 + 3 * 600 + 1


async def test_permission_denied_ends_the_run_at_once():
    cloud = FakeCloud(refuse=[AccessDeniedError("no")] * 50)
    async with engine(cloud) as eng:
        report = await eng.render(list("abcde"))
        assert report.status is Status.FAILED
        assert {type(e) for e in report.errors} == {AccessDeniedError}
        assert len(cloud.refuse) >= 46, "at most one refusal for each worker"
        cloud.refuse.clear()
        assert (await eng.render(["a"])).status is Status.COMPLETE, "mended: the client works"


async def test_no_capacity_is_asked_for_again():
    cloud = FakeCloud(refuse=[CapacityError("full")] * 3)
    async with engine(cloud) as eng:
        report = await eng.render(["a"])
    assert report.status is Status.COMPLETE
    assert len(cloud.launched) == 1


async def test_a_lost_answer_starts_no_second_task():
    cloud = FakeCloud(stalls=2)
    async with engine(cloud, timeouts=Timeouts(call=5)) as eng:
        assert (await eng.render(["a"])).status is Status.COMPLETE
    assert cloud.log == ["launch fake-1", "encoded a on fake-1", "stop fake-1"]


async def test_never_ready():
    cloud = FakeCloud(silent_tasks={f"fake-{i}" for i in range(1, 20)})
    async with engine(
        cloud, timeouts=Timeouts(ready=300, reach=None), limits=Limits(workers=2)
    ) as eng:
        report = await eng.render(["a", "b", "c"])
    assert {type(e) for e in report.errors} == {WorkerNotReadyError}
    assert len(cloud.launched) <= 4, "bounded tries"
    assert not cloud.running
    assert 300 <= report.wall_seconds < 1000


async def test_one_worker_that_never_answers_costs_no_scene():
    cloud = FakeCloud(boot=30, encode=10, silent_tasks={"fake-1"})
    async with engine(cloud, limits=Limits(workers=2)) as eng:
        report = await eng.render(list("abcdef"))
    assert report.status is Status.COMPLETE
    assert report.wall_seconds < 100, "the others do not wait for the one"
    assert not cloud.running


async def test_a_worker_that_nobody_needs_any_more_is_not_waited_for():
    cloud = FakeCloud(boot=10, encode=lambda _: 1)
    second = FakeCloud(name="slow", boot=10_000)
    cloud.capacity = 1
    async with engine(cloud, second, limits=Limits(workers=2)) as eng:
        report = await eng.render(["a", "b"])
    assert report.status is Status.COMPLETE
    assert report.wall_seconds < 20
    assert not second.running


async def test_workers_that_other_runs_return_are_not_waited_for():
    """There is a run every other second, and a stop takes longer than that."""
    cloud, seconds = FakeCloud(boot=1, encode=1, stop_takes=5), []

    async def one(eng, number):
        seconds.append((await eng.render([f"s{number}"], f"run{number}")).wall_seconds)

    async with (
        engine(cloud, limits=Limits(workers=10)) as eng,
        anyio.create_task_group() as tasks,
    ):
        for number in range(20):
            tasks.start_soon(one, eng, number)
            await anyio.sleep(2)
    # Two seconds and a stop, and at most as long again for what is being stopped then.
    assert max(seconds) < 2 + 5 + 5 + 1


class Uneven(FakeCloud):
    """The second task takes long to start."""

    async def describe(self, task, *, refresh=False):
        self.boot = 200 if task == "fake-2" else 1
        return await super().describe(task, refresh=refresh)


async def test_a_start_for_other_runs_is_not_waited_for():
    cloud, reports = Uneven(encode=20), {}

    async def one(eng, name, scenes):
        reports[name] = await eng.render([f"{name}{number}" for number in range(scenes)], name)

    async with (
        engine(cloud, limits=Limits(workers=2)) as eng,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(one, eng, "small", 2)
        await anyio.sleep(5)
        tasks.start_soon(one, eng, "large", 16)
    assert {report.status for report in reports.values()} == {Status.COMPLETE}
    assert reports["small"].wall_seconds < 70
    assert [worker.scenes for worker in reports["large"].workers if worker.task == "fake-2"] > [2]
    assert not cloud.running


async def test_idle_workers_are_kept_for_as_long_as_asked():
    cloud = FakeCloud(boot=40, encode=90)
    async with engine(cloud, limits=Limits(idle=120)) as eng:
        await eng.render(["a"])
        await anyio.sleep(119)
        assert cloud.running
        report = await eng.render(["b"], "second")
        assert len(cloud.launched) == 1
        assert report.workers[0].launched_at < 0, "it was warm when this run began"
        await anyio.sleep(121)
        assert not cloud.running


async def test_backends_are_used_in_order():
    near, far = FakeCloud(name="near", capacity=1, encode=10), FakeCloud(name="far", encode=10)
    async with engine(near, far, limits=Limits(workers=3)) as eng:
        report = await eng.render(list("abcdef"))
    assert (len(near.launched), len(far.launched)) == (1, 2)
    assert {w.backend for w in report.workers} == {"near", "far"}


async def test_a_backend_that_refuses_leaves_the_work_to_the_other():
    denied = FakeCloud(name="denied", refuse=[AccessDeniedError("no")] * 9)
    near = FakeCloud(name="near", encode=10)
    async with engine(denied, near) as eng:
        assert (await eng.render(list("abcd"))).status is Status.COMPLETE
    assert not denied.launched


async def test_a_waiting_scene_moves_to_a_worker_that_is_free():
    """One worker has a long scene and another behind it; the second is done first."""
    lengths = {"long": 100.0, "short": 10.0, "next": 9.0, "last": 8.0}
    cloud = FakeCloud(upload=1, encode=lambda scene: lengths[scene])
    scenes = [checked(name, seconds) for name, seconds in lengths.items()]
    async with engine(cloud, limits=Limits(workers=2)) as eng, eng.open(scenes) as run:
        done = {e.scene: e.at async for e in run if e.type == "scene.completed"}
    report = await run.report()
    assert report.status is Status.COMPLETE
    assert report.wall_seconds < 110
    for entry in report.scenes:
        waits = entry.queued_seconds + entry.slot_wait_seconds
        spent = waits + entry.upload_seconds + entry.encode_seconds + entry.download_seconds
        assert spent == pytest.approx(done[entry.scene], abs=0.01), "no second is lost by a move"
    tasks = {video.scene: video.task for video in report.videos}
    assert tasks["long"] not in (tasks["short"], tasks["next"], tasks["last"])
    assert all(entry.attempts == 1 for entry in report.scenes), "moving is not failing"


async def test_encoder_slots_are_used_all_and_never_exceeded():
    cloud = FakeCloud(encoders=4, upload=1, encode=10)
    async with engine(cloud, limits=Limits(workers=1)) as eng:
        report = await eng.render([f"s{i}" for i in range(8)])
    assert report.wall_seconds == pytest.approx(1 + 10 + 10, abs=1.5)


async def test_the_queue_is_bounded_if_asked():
    cloud = FakeCloud(encode=10)
    async with engine(cloud, limits=Limits(workers=1, queued_scenes=3)) as eng:
        with pytest.raises(BusyError, match=r"Limits\.queued_scenes=3"):
            await eng.render(list("abcd"))
        assert not cloud.launched
        assert (await eng.render(list("abc"))).status is Status.COMPLETE


async def test_leaving_early_cancels_the_rest_and_keeps_the_report():
    cloud = FakeCloud(encode=10)
    async with engine(cloud, limits=Limits(workers=1)) as eng:
        async with eng.open(["a", "b", "c"]) as run:
            async for event in run:
                if event.type == "scene.completed":
                    break
        assert not cloud.running
    assert (await run.report()).status is Status.INTERRUPTED
    assert [v.scene for v in (await run.report()).videos] == ["a"]


async def test_workers_that_are_stopped_because_the_run_is_cancelled_have_not_failed():
    cloud = FakeCloud(encode=10)
    with anyio.CancelScope() as scope:
        async with engine(cloud, limits=Limits(workers=4)) as eng, eng.open(list("abcd")) as run:
            async for event in run:
                if event.type == "scene.encoding":
                    scope.cancel()
    report = await run.report()
    assert report.status is Status.INTERRUPTED
    assert {worker.error for worker in report.workers} == {None}


async def test_the_body_s_error_is_not_wrapped():
    cloud = FakeCloud(encode=10)
    with pytest.raises(KeyError):
        async with engine(cloud) as eng, eng.open(["a"]):
            raise KeyError("mine")
    assert not cloud.running


async def test_closing_the_client_under_a_run_fails_its_scenes():
    cloud = FakeCloud(encode=1000, stop_takes=1)  # the run waits for the stop
    reports = []

    async def user(eng):
        reports.append(await eng.render(["a", "b"]))

    async with (
        anyio.create_task_group() as tasks,
        engine(cloud, limits=Limits(workers=1)) as eng,
    ):
        tasks.start_soon(user, eng)
        await anyio.sleep(10)
    assert {type(e) for e in reports[0].errors} == {ClosedError}
    assert not cloud.running


async def test_events_tell_the_whole_story_in_order():
    cloud = FakeCloud(boot=5, upload=1, encode=10, download=1)
    async with engine(cloud) as eng, eng.open(["a"]) as run:
        events = [event async for event in run]
    assert [event.type for event in events if event.type != "scene.progress"] == [
        "scene.queued",
        "worker.launched",
        "worker.ready",
        "scene.started",
        "scene.uploaded",
        "scene.encoding",
        "scene.encoded",
        "scene.completed",
        "worker.stopped",
    ]
    shares = [event.progress for event in events if event.type == "scene.progress"]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert [event.at for event in events] == sorted(event.at for event in events)


async def test_progress_coalesces_for_a_slow_reader_and_nothing_else_is_dropped():
    cloud = FakeCloud(encode=10)
    async with engine(cloud) as eng, eng.open(["a", "b"]) as run:
        await anyio.sleep(60)
        events = [event async for event in run]
    kinds = [event.type for event in events]
    assert kinds.count("scene.progress") == 2
    assert kinds.count("scene.completed") == 2
    assert all(event.progress == 1 for event in events if event.type == "scene.progress")
