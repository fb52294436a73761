"""The state of a run that its events make, and the progress with bill and time left."""

from __future__ import annotations

import random
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from cloudburst.engine.failure_groups import failures_progress
from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.run_view import RunView, SceneStage
from cloudburst.events import (
    Event,
    FilmCompleted,
    FilmFailed,
    FilmProgress,
    SceneCompleted,
    SceneCopied,
    SceneEncoded,
    SceneEncoding,
    SceneFailed,
    SceneProgress,
    SceneQueued,
    SceneRetried,
    SceneStarted,
    SceneUploaded,
    WorkerFailed,
    WorkerLaunched,
    WorkerReady,
    WorkerStopped,
)
from cloudburst.models.limits import Limits
from cloudburst.models.performance import Sample
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.run_progress import RunProgress
from cloudburst.models.scene import Video
from cloudburst.models.tier import Tier
from cloudburst.testing import FakeCloud
from support.harness import checked, engine, known, working
from support.interrupted_runs import MemoryJournal, killed

pytestmark = pytest.mark.anyio


def video(scene: str) -> Video:
    path = Path(f"/films/{scene}.mp4")
    return Video(scene=scene, path=path, task="t1", size=1_234_567, sha256="0", seconds=6.2)


def folded(names: Iterable[str], *events: Event) -> RunView:
    view = RunView()
    for name in names:
        view.add(name)
    for event in events:
        view.apply(event)
    return view


def launched(*tasks: str) -> list[Event]:
    return [WorkerLaunched(at=1, task=task, backend="local", place="machine") for task in tasks]


def test_a_scene_goes_through_its_stages() -> None:
    view = folded(["a", "b"], *launched("t1"))
    steps: list[tuple[Event, SceneStage]] = [
        (SceneQueued(at=1, scene="a", attempt=1), SceneStage.QUEUED),
        (SceneStarted(at=1, scene="a", task="t1", attempt=1), SceneStage.UPLOADING),
        (SceneUploaded(at=1, scene="a", task="t1", bytes_sent=1), SceneStage.WAITING),
        (SceneEncoding(at=1, scene="a", task="t1"), SceneStage.ENCODING),
        (SceneProgress(at=1, scene="a", task="t1", progress=0.5), SceneStage.ENCODING),
        (SceneEncoded(at=1, scene="a", task="t1"), SceneStage.DOWNLOADING),
        (SceneCompleted(at=1, scene="a", video=video("a")), SceneStage.DONE),
    ]
    shares = [0.0]
    for event, stage in steps:
        view.apply(event)
        assert view.scenes["a"].stage is stage
        shares.append(view.share)
    assert shares == sorted(shares)
    assert view.share == 0.5
    assert (view.done, view.failed) == (1, 0)
    view.apply(SceneFailed(at=2, scene="b", kind="K", message="m", retryable=False))
    assert (view.share, view.done, view.failed) == (1.0, 1, 1)


def test_counts_and_shares_are_those_of_the_scenes() -> None:
    """They are kept up to date event by event, because a view of 20,000 scenes is shown often."""
    chance = random.Random(7)
    view = folded(map(str, range(30)), *launched("t0", "t1", "t2"))
    for at in range(600):
        scene, task = str(chance.randrange(30)), f"t{chance.randrange(3)}"
        failed = SceneFailed(at=at, scene=scene, kind="K", message="m", retryable=False)
        view.apply(
            chance.choice(
                [
                    SceneStarted(at=at, scene=scene, task=task, attempt=1),
                    SceneEncoding(at=at, scene=scene, task=task),
                    SceneProgress(at=at, scene=scene, task=task, progress=chance.random()),
                    SceneEncoded(at=at, scene=scene, task=task),
                    SceneRetried(at=at, scene=scene, task=task, kind="K", message="m"),
                    SceneCompleted(at=at, scene=scene, video=video(scene)),
                    failed,
                ]
            )
        )
        scenes = view.scenes.values()
        assert view.share == pytest.approx(sum(one.share for one in scenes) / 30)
        assert view.done == sum(one.stage is SceneStage.DONE for one in scenes)
        assert view.failed == sum(one.stage is SceneStage.FAILED for one in scenes)
        for name in ("t0", "t1", "t2"):
            on_task = {one.name for one in scenes if one.task == name}
            assert {one.name for one in view.scenes_on(name)} == on_task


def test_a_scene_that_is_tried_again_begins_anew() -> None:
    view = folded(
        ["a"],
        *launched("t1"),
        SceneEncoding(at=1, scene="a", task="t1"),
        SceneProgress(at=1, scene="a", task="t1", progress=0.9),
        SceneRetried(at=2, scene="a", task="t1", kind="K", message="m"),
    )
    assert view.scenes_on("t1") == []
    view.apply(SceneEncoding(at=3, scene="a", task="t2"))
    assert view.scenes["a"].progress == 0


def test_workers_are_numbered_by_their_launch_and_vanish_when_they_end() -> None:
    view = folded(
        ["a"], *launched("t1", "t2"), WorkerReady(at=2, task="t2", backend="local", place="machine")
    )
    view.apply(WorkerStopped(at=3, task="t1", backend="local", reason="done"))
    view.apply(WorkerFailed(at=3, task="", backend="local", kind="K", message="m"))
    for event in launched("t3"):
        view.apply(event)
    assert [(w.number, w.ready) for w in view.workers.values()] == [(2, True), (3, False)]
    assert (view.worker_name("t1"), view.worker_name("")) == ("worker 1", "a worker")


def test_a_warm_worker_is_ready_without_a_launch() -> None:
    view = folded(["a"], WorkerReady(at=0, task="old", backend="local", place="machine"))
    assert view.workers["old"].ready


def test_a_worker_with_a_copy_has_the_scene_until_one_of_both_has_encoded_it() -> None:
    view = folded(
        ["a", "b"],
        *launched("t1", "t2"),
        SceneEncoding(at=1, scene="a", task="t1"),
        SceneProgress(at=1, scene="a", task="t1", progress=0.5),
    )
    share = view.share
    view.apply(SceneCopied(at=2, scene="a", task="t2"))
    assert [scene.name for scene in view.scenes_on("t2")] == ["a"]
    assert view.share == share
    view.apply(SceneEncoding(at=3, scene="b", task="t2"))
    assert [scene.name for scene in view.scenes_on("t2")] == ["b", "a"]
    view.apply(SceneEncoded(at=4, scene="a", task="t2"))
    assert view.scenes_on("t1") == []
    assert [scene.task for scene in view.scenes_on("t2")] == ["t2", "t2"]
    view.apply(SceneCopied(at=5, scene="b", task="t1"))
    view.apply(SceneCopied(at=6, scene="b", task="t3"))
    view.apply(SceneCompleted(at=7, scene="b", video=video("b")))
    assert [view.scenes_on(task) for task in ("t1", "t3")] == [[], []]


def test_the_share_of_the_film_stays_until_it_fails() -> None:
    view = folded(["a"], FilmProgress(at=1, progress=0.25))
    assert view.film == 0.25
    view.apply(FilmCompleted(at=2, path=Path("/films/film.mp4")))
    assert view.film == 1.0
    view.apply(FilmFailed(at=2, kind="FilmError", message="m"))
    assert view.film is None


def test_failures_with_the_same_cause_are_one_with_what_to_do() -> None:
    view = folded(
        ["a", "b", "c"],
        WorkerFailed(at=1, task="t1", backend="b", kind="LaunchError", message="no room"),
        SceneRetried(at=2, scene="a", task="t2", kind="EncodeError", message="scene a is bad"),
        SceneFailed(at=3, scene="b", kind="EncodeError", message="scene b is bad", retryable=False),
        SceneFailed(at=4, scene="a", kind="EncodeError", message="scene a is bad", retryable=False),
    )
    encode, launch = failures_progress(view.failures.values())
    assert (encode.code, encode.message) == ("encode", "scene a is bad")
    assert (encode.scenes, encode.count) == (("b", "a"), 2)
    assert encode.fix == "correct the file that the message names, and resume"
    assert (launch.code, launch.scenes, launch.count) == ("launch", (), 0)
    assert launch.fix == "cloudburst doctor"


def test_a_thousand_failures_stay_small() -> None:
    names = [f"{number:04}" * 50 for number in range(1000)]
    cause = "the encoder stopped " * 200
    view = folded(names)
    for number, name in enumerate(names):
        message = f"{'x' * (number % 30)}: {cause}"
        fails = SceneFailed(at=1, scene=name, kind="E", message=message, retryable=True)
        view.apply(fails)
    failures = [*failures_progress(view.failures.values())]
    assert [len(each.scenes) for each in failures] == [5] * 20
    assert failures[0].count == 34
    assert sum(len(each.model_dump_json()) for each in failures) < 48_000


async def test_the_time_left_is_what_the_run_then_takes_and_the_bill_grows():
    cloud = FakeCloud(boot=30, upload=1, encode=20, download=1, rates=US_EAST_1_RATES)
    scenes = [working(f"scene-{number}", 20) for number in range(8)]
    limits, seen = Limits(workers=2, max_usd=Decimal(1)), []
    async with engine(cloud, limits=limits, measurements=known(cloud)) as eng:
        async with eng.open(scenes) as run:
            async for _ in run:
                seen.append(run.progress())
                await anyio.sleep(0.5)
        report = await run.report()
    ends = [each.at + each.seconds_left for each in seen if each.seconds_left is not None]
    assert len(ends) > 20
    assert max(abs(end - report.wall_seconds) for end in ends) < 4
    bills = [each.usd for each in seen]
    assert bills == sorted(bills)
    assert Decimal() < bills[-1] <= report.cost.usd
    assert {each.max_usd for each in seen} == {1}
    assert [each.share for each in seen] == sorted(each.share for each in seen)
    states = {worker.state for each in seen for worker in each.workers}
    assert states >= {"starting", "uploading", "encoding", "downloading"}
    facts = {(w.number, w.place, w.size) for each in seen for w in each.workers}
    assert facts == {(1, "fargate", "2 vCPU, 4 GB"), (2, "fargate", "2 vCPU, 4 GB")}
    last = run.progress()
    assert (last.done, last.failed, last.share, last.workers) == (8, 0, 1.0, ())
    assert (last.at, last.film) == (report.wall_seconds, None)


@pytest.mark.nightly
async def test_most_runs_take_a_time_within_the_range_of_the_time_left():
    inside = list[bool]()
    for seed in range(4):
        chance = random.Random(seed)
        works = {f"scene-{number}": chance.choice([8, 20, 40]) for number in range(20)}
        encodes = {name: work * chance.gauss(1, 0.1) for name, work in works.items()}
        boots = [30 * chance.gauss(1, 0.12) for _ in range(20)]
        cloud = FakeCloud(
            boot=lambda task, boots=boots: boots[int(task[5:])], encode=encodes.__getitem__
        )
        measured = Measurements()
        for boot in boots:
            measured.add(Sample(kind=cloud.name, measure="startup", seconds=boot))
            for work in (5, 10, 20, 60):
                seconds = work * chance.gauss(1, 0.1)
                measured.add(Sample(kind=cloud.name, measure="encode", seconds=seconds, work=work))
        seen = list[RunProgress]()
        scenes = [working(*scene) for scene in works.items()]
        async with (
            engine(cloud, limits=Limits(workers=4), measurements=measured) as eng,
            eng.open(scenes) as run,
        ):
            async for _ in run:
                seen.append(run.progress())
            end = (await run.report()).wall_seconds
        for each in seen:
            if each.seconds_left is not None:
                low, high = each.seconds_left_low, each.seconds_left_high
                assert low <= each.seconds_left <= high < 2 * each.seconds_left + 1
                inside.append(low <= end - each.at <= high)
    assert len(inside) > 200
    assert sum(inside) / len(inside) > 0.8


async def test_the_film_of_this_machine_has_its_times_and_its_time_left():
    class Maker:
        needs_worker = False

        async def make(self, videos, on_progress, _on_worker):
            for progress in (0.0, 0.05, 0.5):
                on_progress(progress)
                await anyio.sleep(10)
            return Path(f"{len(videos)}.mp4"), False

    cloud, left = FakeCloud(encode=10), []
    async with engine(cloud) as eng, eng.open(["a"], film=Maker()) as run:
        async for event in run:
            if event.type == "film.progress":
                await anyio.sleep(5)
                now = run.progress()
                left.append((now.seconds_left, now.seconds_left_high))
        report = await run.report()
    assert left == [(None, None), (None, None), (pytest.approx(25), None)]
    assert report.film_started_at == pytest.approx(10)
    assert report.film_finished_at == pytest.approx(40) == report.wall_seconds


async def test_without_measured_encodes_the_time_left_is_unknown_and_nothing_has_a_bill():
    cloud = FakeCloud(encode=10)
    async with (
        engine(cloud, limits=Limits(workers=1, max_usd=Decimal(1))) as eng,
        eng.open(["a", "b", "c"]) as run,
    ):
        known_after = [
            run.progress().seconds_left async for event in run if event.type == "scene.queued"
        ]
        assert known_after == [None] * 3
    assert run.progress().seconds_left is None
    async with engine(cloud, limits=Limits(workers=1)) as eng, eng.open(["a", "b", "c"]) as run:
        await anyio.sleep(15)
        now = run.progress()
    assert now.done == 1
    assert 10 < now.seconds_left < 20


async def test_an_open_run_counts_the_scenes_that_have_come():
    cloud = FakeCloud(encode=10)
    async with engine(cloud) as eng, eng.open_source() as run:
        assert (run.progress().scenes, run.progress().share) == (0, 0.0)
        await run.submit(checked("a"))
        await anyio.sleep(60)
        await run.submit(checked("b"))
        now = run.progress()
        assert (now.scenes, now.done, now.share) == (2, 1, 0.5)
        await run.until_done()


async def test_a_worker_that_is_being_stopped_says_so():
    cloud = FakeCloud(encode=10, stop_takes=20)
    async with engine(cloud) as eng, eng.open(["a"]) as run:
        await anyio.sleep(15)
        (worker,) = run.progress().workers
    assert (worker.state, worker.scenes) == ("stopping", ())


async def test_a_run_on_a_warm_worker_knows_its_place():
    cloud = FakeCloud(encode=10, rates=US_EAST_1_RATES)
    async with engine(cloud, limits=Limits(workers=1, idle=100)) as eng:
        await eng.render(["a"], "first")
        async with eng.open(["b"], "second") as run:
            await anyio.sleep(5)
            now = run.progress()
    (worker,) = now.workers
    assert (worker.place, worker.size, worker.state) == ("fargate", "2 vCPU, 4 GB", "encoding")
    assert now.usd == 0, "the task is on the bill of the first run"


async def test_a_resumed_run_counts_the_videos_and_the_bill_of_the_killed_process():
    cloud = FakeCloud(boot=40, encode=20, ends_after=15, rates=US_EAST_1_RATES)
    scenes, journal = [checked(name) for name in "abcd"], MemoryJournal()
    await killed(cloud, journal, scenes, seconds=70, limits=Limits(workers=1))
    async with (
        engine(cloud, limits=Limits(workers=1)) as eng,
        eng.open(scenes, journal=journal, earlier=journal.earlier()) as run,
    ):
        await anyio.sleep(1)
        now, report = run.progress(), await run.report()
    (skipped,) = (scene for scene in report.scenes if scene.skipped)
    assert -70 < skipped.started_at <= skipped.encode_at < skipped.finished_at < 0
    assert skipped.finished_at == pytest.approx(skipped.download_at + skipped.download_seconds)
    assert (now.scenes, now.done, now.share >= 0.25) == (4, 1, True)
    assert now.usd > cloud.rates.task_usd_per_second(Tier.STANDARD, public_ipv4=False) * 60
