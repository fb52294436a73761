"""Runs whose scenes come one after another, from a source or by `Run.submit`, in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from cloudburst.errors import (
    BudgetError,
    ClosedError,
    ConfigurationError,
    EncodeError,
    InvalidScenesError,
    OutputExistsError,
    SceneFault,
)
from cloudburst.events import SceneCompleted, SceneFailed, SceneQueued
from cloudburst.models.journal_entries import SCENES_ARE_MISSING, ProcessEntry, SceneEntry
from cloudburst.models.limits import Limits
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from support.harness import Intake, checked, engine, known
from support.interrupted_runs import MemoryJournal, Plug, killed
from support.journal_entries import process

pytestmark = pytest.mark.anyio


async def slow(names, seconds, *, came=None):
    """A source that needs so many seconds for each scene."""
    for name in names:
        await anyio.sleep(seconds)
        if came is not None:
            came.append((name, anyio.current_time()))
        yield name


async def first_video(run):
    """Return the event of the first video; trio reports generators that are not used up."""
    async for event in run:
        if isinstance(event, SceneCompleted):
            return event
    raise AssertionError("the run has no video")


@asynccontextmanager
async def rendering(cloud, source=None, limits=None, **more):
    async with (
        engine(cloud, limits=limits or Limits(workers=2), measurements=known(cloud)) as e,
        e.open_source(source, **more) as run,
    ):
        yield run


async def test_the_first_video_is_done_before_the_last_scene_has_come():
    cloud, came = FakeCloud(boot=30, encode=5), []
    async with rendering(cloud, slow("abcdef", 20, came=came)) as run:
        first = (await first_video(run)).at
        assert (await run.report()).status is Status.INTERRUPTED
        report = await run.until_done()
    assert first < came[-1][1]
    assert run.scenes == [*"abcdef"]
    assert report.status is Status.COMPLETE
    assert report.predicted is None
    assert report.wall_seconds < 6 * 20 + 20
    assert len(cloud.launched) == 1, "the worker is kept between the scenes"


async def test_a_fast_source_waits_while_scenes_wait_for_a_worker():
    cloud, most = FakeCloud(boot=10, encode=5), 0

    async def source():
        nonlocal most
        for number in range(30):
            most = max(
                most, number - len(cloud.encoding) - sum(r.video is not None for r in run.records)
            )
            yield f"s{number}"

    limits = Limits(workers=1, queued_scenes=3)
    async with rendering(cloud, source(), limits) as run:
        report = await run.until_done()
    assert len(report.videos) == 30
    assert most == 3 + 1  # and the one that is uploaded ahead


@pytest.mark.parametrize("queued", [1, None])
async def test_a_source_that_needs_the_result_of_an_earlier_scene_goes_on(queued):
    async def source():
        for name in "abc":
            yield name
            assert (await run.video(name)).scene == name

    limits = Limits(workers=2, queued_scenes=queued)
    async with rendering(FakeCloud(), source(), limits) as run:
        report = await run.until_done()
    assert report.status is Status.COMPLETE


async def test_the_error_of_a_source_comes_out_unchanged_and_finished_videos_stay():
    cloud, error, closed = FakeCloud(boot=1, encode=50), ExceptionGroup("own", [ValueError(1)]), []

    async def source():
        try:
            yield "a"
            await run.video("a")
            yield "b"
            await anyio.sleep(20)
            raise error
        finally:
            closed.append(True)

    body = None
    async with engine(cloud) as e:
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
            async with e.open_source(source()) as run:
                try:
                    await anyio.sleep_forever()
                except anyio.get_cancelled_exc_class():
                    body = "cancelled"
                    raise
        assert not cloud.running
    assert caught.value is error
    assert (body, closed) == ("cancelled", [True])
    report = await run.report()
    assert [video.scene for video in report.videos] == ["a"]
    assert report.status is Status.INTERRUPTED


@pytest.mark.parametrize("waits", ["in the source", "for room"])
async def test_a_run_that_is_left_early_closes_its_generator(waits):
    cloud, ends = FakeCloud(encode=1000), []

    async def source():
        try:
            yield "a"
            if waits == "in the source":
                await anyio.sleep_forever()
            yield "b"
            yield "c"
        finally:
            ends.append("began")
            if waits == "for room":  # closed, not cancelled: it may wait
                await anyio.sleep(5)
                ends.append("waited")

    limits = Limits(workers=1, queued_scenes=1)
    async with engine(cloud, limits=limits) as e, e.open_source(source()) as run:
        await anyio.sleep(95)  # between two periodic decisions, after which the source is asked
    assert ends == (["began"] if waits == "in the source" else ["began", "waited"])
    assert not cloud.running
    assert (await run.report()).status is Status.INTERRUPTED


async def test_a_generator_that_does_not_end_delays_the_end_of_the_run_for_ten_seconds():
    async def source():
        try:
            yield "a"
            yield "b"
        finally:
            await anyio.sleep(1000)

    async with engine(FakeCloud(), limits=Limits(queued_scenes=1)) as e:
        async with e.open_source(source()):
            await anyio.sleep(0.5)
            began = anyio.current_time()
        assert anyio.current_time() - began < 20


async def test_bad_scenes_of_a_source_fail_and_the_others_go_on():
    nameless = InvalidScenesError(faults=[SceneFault("scenes[1]", "name", "nothing", "a name")])
    there = OutputExistsError("videos already exist: d.mp4")

    async with rendering(FakeCloud(), slow(["a", nameless, "a", "b"], 1)) as run:
        events = [event async for event in run]
        report = await run.report()
    failed = {event.scene: event.kind for event in events if isinstance(event, SceneFailed)}
    assert failed == {"scenes[1]": "InvalidScenesError", "scenes[2]": "InvalidScenesError"}
    assert run.scenes == ["a", "scenes[1]", "scenes[2]", "b"]
    assert [video.scene for video in report.videos] == ["a", "b"]
    assert report.errors[0] is nameless
    assert "used before" in str(report.errors[1])
    assert report.status is Status.PARTIAL
    assert there


class Taken(Intake):
    """Claims of a folder in which the video ``b`` exists."""

    async def claim(self, scene):
        if scene.scene.name == "b":
            raise OutputExistsError("videos already exist: b.mp4")
        return await super().claim(scene)


async def test_a_scene_whose_video_may_not_be_replaced_fails_under_its_name():
    async with rendering(FakeCloud(), slow("abcb", 1), intake=Taken()) as run:
        report = await run.until_done()
        with pytest.raises(OutputExistsError):
            await run.video("b")
    assert run.scenes == ["a", "b", "c", "scenes[3]"]
    assert [type(error) for error in report.errors] == [OutputExistsError, InvalidScenesError]


async def test_submitted_scenes_are_rendered_and_a_bad_one_raises_to_its_caller():
    bad = InvalidScenesError(faults=[SceneFault("x", "image", "nothing", "a picture")])
    cloud = FakeCloud(broken_scenes={"b"})
    async with rendering(cloud) as run:
        assert [await run.submit(name) for name in "ab"] == ["a", "b"]
        for refused in (bad, "a"):
            with pytest.raises(InvalidScenesError):
                await run.submit(refused)
        assert run.scenes == ["a", "b"]
        video = await run.video("a")
        with pytest.raises(EncodeError):
            await run.video("b")
        with pytest.raises(ConfigurationError, match="has no scene 'x'"):
            await run.video("x")
        await run.submit("c")
        report = await run.until_done()
        with pytest.raises(ClosedError, match="takes no further scenes"):
            await run.submit("d")
    assert video in report.videos
    assert [video.scene for video in report.videos] == ["a", "c"]
    assert report.status is Status.PARTIAL


async def test_a_source_whose_budget_is_used_up_is_asked_for_no_further_scene():
    asked, journal, first = list[tuple[str, float]](), MemoryJournal(), process(source_ended=False)
    cloud = FakeCloud(encode=20, rates=US_EAST_1_RATES)
    limits = Limits(workers=1, max_usd=Decimal("0.005"))
    source = slow("abcdefghij", 40, came=asked)
    async with rendering(cloud, source, limits, journal=journal, process=first) as run:
        report = await run.until_done()
    assert [name for name, _ in asked] == run.scenes
    assert 1 < len(run.scenes) < 10
    assert [video.scene for video in report.videos] == run.scenes[:-2]
    assert [type(error) for error in report.errors] == [BudgetError] * 2  # the last was asked for
    assert report.status is Status.BUDGET
    assert journal.of(ProcessEntry) == [first]


async def test_submit_raises_once_the_budget_is_used_up():
    cloud = FakeCloud(rates=US_EAST_1_RATES)
    async with rendering(cloud, limits=Limits(max_usd=Decimal("0.00001"))) as run:
        for name in "ab":  # for the second one, the source has been asked already
            await run.submit(name)
            with pytest.raises(BudgetError):
                await run.video(name)
        with pytest.raises(ClosedError):
            await run.submit("c")
        assert (await run.until_done()).status is Status.BUDGET


async def test_submit_waits_while_scenes_wait_and_many_callers_keep_their_order():
    cloud = FakeCloud(boot=10, encode=5)
    async with rendering(cloud, limits=Limits(workers=1, queued_scenes=2)) as run:
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(run.submit, f"s{number}")
            await anyio.sleep(5)
            assert len(run.scenes) == 2
            run.close()  # scenes whose submission has begun still come
            run.close()
        report = await run.until_done()
    assert len(report.videos) == 8


async def test_submissions_of_a_run_that_ends_raise():
    async with engine(FakeCloud(boot=100), limits=Limits(queued_scenes=1)) as e:
        errors = []

        async def submit(name):
            try:
                await run.submit(name)
            except ClosedError as exc:
                errors.append(str(exc))

        async with anyio.create_task_group() as tasks:
            async with e.open_source() as run:
                await run.submit("a")
                tasks.start_soon(submit, "b")
                await anyio.sleep(1)
            with pytest.raises(ClosedError, match="has ended before"):
                await run.video("a")
        assert errors == ["the run has ended"]
        await submit("c")
    assert len(errors) == 2


@pytest.mark.parametrize("source", [["a"], None], ids=["list", "iterable"])
async def test_a_run_whose_scenes_come_from_elsewhere_takes_none_by_submit(source):
    async with engine(FakeCloud()) as e:
        opened = e.open(source) if source else e.open_source(slow("a", 1))
        async with opened as run:
            with pytest.raises(ClosedError):
                await run.submit("b")
            run.close()
            assert len((await run.until_done()).videos) == 1
            assert (await run.video("a")).scene == "a"


async def test_a_run_without_scenes_is_complete_and_starts_no_worker():
    cloud = FakeCloud()
    async with rendering(cloud, slow("", 1)) as run:
        report = await run.until_done()
    assert report.status is Status.COMPLETE
    assert not cloud.launched
    assert report.film is None
    assert report.film_error is None


async def test_two_open_runs_share_the_workers_of_a_client():
    cloud = FakeCloud(boot=30, encode=5)
    async with engine(cloud, limits=Limits(workers=1), measurements=known(cloud)) as e:
        reports = {}

        async def one(name, seconds):
            source = slow([f"{name}{n}" for n in range(5)], seconds)
            async with e.open_source(source, name) as run:
                reports[name] = await run.until_done()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, "a", 10)
            tasks.start_soon(one, "b", 15)
    assert all(len(report.videos) == 5 for report in reports.values())
    assert len(cloud.launched) == 1
    assert not cloud.running


async def test_a_source_gets_no_busy_error_but_a_list_beside_it_does():
    async with rendering(FakeCloud(boot=50), slow("abcdef", 0), Limits(queued_scenes=2)) as run:
        await anyio.sleep(10)
        assert len(run.scenes) == 2
        assert len((await run.until_done()).videos) == 6


async def test_the_end_of_the_client_ends_an_open_run():
    cloud = FakeCloud()
    with pytest.raises(ClosedError, match="the client was left"):  # noqa: PT012
        async with engine(cloud) as e, anyio.create_task_group() as tasks:

            async def left_open():
                async with e.open_source() as run:
                    await run.submit("a")
                    async for _ in run:
                        pass

            tasks.start_soon(left_open)
            await anyio.sleep(1000)
            e.pool.close()
    assert not cloud.running


@pytest.mark.parametrize(("pause", "tasks", "idle"), [(30, 1, 4 * 25), (100, 4, 0)])
async def test_workers_are_kept_while_that_is_cheaper_than_a_new_start(pause, tasks, idle):
    """The first scene shows how long the pauses are; if they are too long, tasks stop at once."""
    cloud = FakeCloud(boot=40, encode=5, rates=US_EAST_1_RATES)
    async with rendering(cloud, slow("abcd", pause)) as run:
        report = await run.until_done()
    assert report.status is Status.COMPLETE
    assert not cloud.running
    assert len(cloud.launched) == tasks
    assert sum(w.stopped_at - w.ready_at - 5 * w.scenes for w in report.workers) <= idle + 5


async def test_workers_are_stopped_at_once_when_the_source_has_ended():
    cloud = FakeCloud(boot=40, encode=5)

    async def source():
        yield "a"
        yield "b"
        await anyio.sleep(60)

    async with rendering(cloud, source()) as run:
        report = await run.until_done()
    assert report.wall_seconds == pytest.approx(60, abs=3)
    assert not cloud.running


async def test_scenes_of_a_source_are_in_the_journal_when_they_are_queued():
    journal = MemoryJournal()
    async with rendering(FakeCloud(), slow("abc", 1), journal=journal) as run:
        async for event in run:
            if isinstance(event, SceneQueued):
                assert event.scene in {entry.scene.name for entry in journal.of(SceneEntry)}
    assert [entry.scene.name for entry in journal.of(SceneEntry)] == [*"abc"]
    assert journal.end.status is Status.COMPLETE


async def test_a_resumed_source_uses_the_task_that_was_left_running():
    cloud, journal = FakeCloud(boot=40, encode=20, rates=US_EAST_1_RATES), MemoryJournal()
    await killed(cloud, journal, [checked("a")], seconds=70, linger=20)
    await killed(cloud, journal, [checked("b")], seconds=50)
    tasks = len(cloud.launched)
    plug, earlier = Plug(cloud, journal), journal.earlier()
    async with (
        engine(plug, measurements=known(cloud)) as e,
        e.open_source(slow("abc", 5), journal=plug, earlier=earlier) as run,
    ):
        report = await run.until_done()
    assert report.status is Status.COMPLETE
    assert report.skipped == ("a",)
    assert len(cloud.launched) == tasks, "no task is started"
    assert not cloud.running


@pytest.mark.parametrize("ends", ["left", "an error of the block"])
async def test_a_generator_that_waits_for_room_within_a_task_group_is_closed(ends):
    cloud, closed = FakeCloud(encode=1000), []

    async def source():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            try:
                for name in "abcde":
                    yield name
            finally:
                closed.append(True)

    async def use():
        limits = Limits(workers=1, queued_scenes=1)
        async with engine(cloud, limits=limits) as e, e.open_source(source()):
            await anyio.sleep(100)
            if ends == "an error of the block":
                raise KeyError("block")

    if ends == "left":
        await use()
    else:
        with pytest.raises(KeyError) as caught:
            await use()
        assert caught.value.args == ("block",)
    assert closed == [True]
    assert not cloud.running


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_source_that_waits_for_a_cancelled_task_ends_the_run_with_an_error():
    async def source():
        yield "a"
        waits = asyncio.ensure_future(asyncio.sleep(1000))
        waits.cancel()
        await waits

    cloud = FakeCloud(encode=1000)
    with pytest.raises(ClosedError, match="source of the scenes waited for was cancelled"):
        async with rendering(cloud, source()) as run:
            await run.until_done()
    assert not cloud.running


async def test_an_unforeseen_error_of_a_submitted_scene_raises_to_its_caller_only():
    class Broken(Intake):
        async def check(self, scene, labels):
            if scene == "b":
                raise ZeroDivisionError
            return await super().check(scene, labels)

    async with rendering(FakeCloud(), intake=Broken()) as run:
        await run.submit("a")
        with pytest.raises(ZeroDivisionError):
            await run.submit("b")
        await run.submit("c")
        report = await run.until_done()
    assert [video.scene for video in report.videos] == ["a", "c"]
    assert report.status is Status.COMPLETE


async def test_every_reader_of_the_events_of_a_run_ends_with_it():
    events = list[object]()
    async with rendering(FakeCloud()) as run, anyio.create_task_group() as tasks:

        async def read():
            events.extend([event async for event in run])

        tasks.start_soon(read)
        tasks.start_soon(read)
        await anyio.sleep(1)
        await run.submit("a")
        await run.until_done()
    assert any(isinstance(event, SceneQueued) for event in events)


@dataclass
class Maker:
    """Makes a film of nothing."""

    needs_worker: bool = False
    made: list[list[str]] = field(default_factory=list)

    async def make(self, videos, on_progress, on_worker):
        self.made.append([video.scene for video in videos])
        return Path("story.mp4"), False


REFUSED = InvalidScenesError(faults=[SceneFault("bad", "image", "nothing", "a picture")])


@pytest.mark.parametrize(
    ("scenes", "ended", "error"),
    [
        (["a", "b"], True, None),
        (["a", REFUSED], False, "no video: bad; fix them and run the program again with resume="),
        ([], True, "no film was made, because no scene came"),
    ],
)
async def test_the_journal_knows_whether_the_source_has_given_all_of_its_scenes(
    scenes, ended, error
):
    journal, maker, first = MemoryJournal(), Maker(), process(source_ended=False)
    source = slow(scenes, 1)
    async with rendering(FakeCloud(), source, journal=journal, process=first, film=maker) as run:
        report = await run.until_done()
    assert journal.of(ProcessEntry)[-1] == replace(first, source_ended=ended)
    assert maker.made == ([] if error else [scenes])
    assert (report.film_error is None) if error is None else (error in report.film_error)


async def test_a_run_left_before_its_end_says_why_it_has_no_film():
    journal, maker, first = MemoryJournal(), Maker(), process(source_ended=False)
    more = {"journal": journal, "process": first, "film": maker}
    async with rendering(FakeCloud(), slow("abc", 10), **more) as run:
        await first_video(run)
    report = await run.report()
    assert report.film_error == "no film was made, because the run was left before its end"
    assert journal.of(ProcessEntry) == [first]
    async with engine(FakeCloud()) as e, e.open(["a"], film=Maker()) as run:
        pass
    assert "left before its end" in (await run.report()).film_error


@pytest.mark.parametrize("ended", [None, False, True])
async def test_a_list_makes_the_film_of_a_source_only_if_no_scene_is_missing(ended):
    maker, first = Maker(), process(source_ended=ended)
    async with (
        engine(FakeCloud()) as e,
        e.open(["a"], journal=MemoryJournal(), process=first, film=maker) as run,
    ):
        report = await run.until_done()
    assert report.status is Status.COMPLETE
    assert maker.made == ([] if ended is False else [["a"]])
    assert report.film_error == (
        f"no film was made: {SCENES_ARE_MISSING}" if ended is False else None
    )
