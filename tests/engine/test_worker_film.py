"""The film of a run that a worker makes: which worker, its attempts, its cost, and its end."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import anyio
import pytest

from cloudburst.engine.report import rebuild_report
from cloudburst.errors import FilmError, InvalidScenesError
from cloudburst.events import FilmCompleted, FilmFailed, FilmProgress
from cloudburst.models.film import FilmPart, FilmRequest, WorkerFilm
from cloudburst.models.limits import Limits
from cloudburst.models.locations import S3Object, S3Prefix
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from support.harness import checked, engine
from support.interrupted_runs import MemoryJournal
from support.journal_entries import Model, process

pytestmark = pytest.mark.anyio

FILM = S3Object("videos", "out/film.mp4")


@dataclass
class Maker:
    """A maker of a film in S3, without S3."""

    cloud: FakeCloud
    seconds: float = 10.0
    running: list[int] = field(default_factory=list[int])
    """Number of tasks when the videos were finished."""
    needs_worker: bool = True

    async def make(self, videos, on_progress, on_worker):
        self.running.append(len(self.cloud.running))
        parts = [
            FilmPart(name=v.scene, title="", video=v.path, sha256=v.sha256, subtitle=None)
            for v in videos
        ]
        film = WorkerFilm(
            path=FILM,
            request=FilmRequest(path=FILM),
            parts=tuple(parts),
            seconds=self.seconds,
        )
        await on_worker(film, object(), on_progress)
        return FILM, False


class PublicImage(FakeCloud):
    """A cloud whose workers do not write to S3."""

    @asynccontextmanager
    async def backend(self, timeouts, tier):
        async with super().backend(timeouts, tier) as backend:
            yield replace(backend, uses_s3=False)


@asynccontextmanager
async def running(e, maker, names):
    scenes = [checked(name) for name in names]
    to = S3Prefix("videos", "out/").object
    async with e.open(scenes, to=lambda name: to(f"{name}.mp4"), film=maker) as run:
        yield run


async def finished(cloud, maker, names="ab", **limits: Any):
    async with (
        engine(cloud, limits=Limits(workers=1, **limits)) as e,
        running(e, maker, names) as run,
    ):
        assert run.progress().film == 0
        events = [event async for event in run]
    assert run.progress().film == (FilmCompleted in map(type, events))
    return await run.report(), events


async def test_the_last_worker_of_the_run_makes_the_film():
    cloud = FakeCloud(boot=1.0, rates=US_EAST_1_RATES)
    maker = Maker(cloud)
    report, events = await finished(cloud, maker)
    assert (report.status, report.film, report.film_error) == (Status.COMPLETE, FILM, None)
    assert (maker.running, len(cloud.launched), len(cloud.running)) == ([1], 1, 0)
    assert [worker.scenes for worker in report.workers] == [2], "a film is no scene"
    assert isinstance(events[-1], FilmCompleted) or FilmCompleted in map(type, events)
    assert [e.progress for e in events if isinstance(e, FilmProgress)][-1] == 1.0
    assert [line for line in cloud.log if "encoded" in line][-1].startswith(f"encoded {FILM}")
    assert sum(scene.usd or 0 for scene in report.scenes) < report.cost.usd, "the film costs"


async def test_report_from_the_journal_has_the_cost_and_time_of_the_film():
    cloud = FakeCloud(boot=1.0, upload=1, encode=30, ends_after=5, rates=US_EAST_1_RATES)
    journal, to = MemoryJournal(), S3Prefix("videos", "out/").object
    more = {"to": lambda name: to(f"{name}.mp4"), "film": Maker(cloud)}
    async with engine(cloud, limits=Limits(workers=1)) as e:
        entry = process(journal.now(), run="run")
        async with e.open(["a", "b"], journal=journal, process=entry, **more) as run:
            await run.until_done()
        report = await run.settled()
        await e.pool.supervisors.writers.done()
    rebuilt = await rebuild_report("run", Model().write(*journal.entries).past)
    assert (rebuilt.cost, rebuilt.film) == (report.cost, FILM)
    assert [scene.usd for scene in rebuilt.scenes] == [scene.usd for scene in report.scenes]
    times = rebuilt.film_started_at, rebuilt.film_finished_at
    assert times == (report.film_started_at, report.film_finished_at)
    assert None not in times


async def test_the_film_of_a_source_is_made_when_it_has_ended_and_no_worker_waits_for_it_before():
    cloud = FakeCloud(boot=10.0, rates=US_EAST_1_RATES)
    maker, to = Maker(cloud), S3Prefix("videos", "out/").object

    async def source():
        yield "b"
        await anyio.sleep(500)
        assert not cloud.running
        yield "a"

    more = {"to": lambda name: to(f"{name}.mp4"), "film": maker}
    async with engine(cloud) as e, e.open_source(source(), **more) as run:
        report = await run.until_done()
    assert (report.film, maker.running, len(cloud.launched)) == (FILM, [1], 2)
    assert run.scenes == ["b", "a"]


async def test_a_film_is_made_on_another_worker_if_its_worker_ends():
    cloud = FakeCloud(boot=1.0, crashing_tasks={"fake-1": 5.0})
    cloud.encode = lambda name: 1.0 if len(name) == 1 else 10.0
    report, _ = await finished(cloud, Maker(cloud))
    assert (report.film, len(cloud.launched)) == (FILM, 2)


async def test_a_film_that_no_worker_can_make_fails_and_the_videos_stay():
    cloud = FakeCloud(broken_scenes={str(FILM)})
    report, events = await finished(cloud, Maker(cloud))
    assert (report.status, report.film) == (Status.COMPLETE, None)
    assert report.film_error == "no film was made: the encoder said no"
    assert FilmFailed in map(type, events)
    with pytest.raises(FilmError):
        report.raise_for_failures()
    assert not cloud.running


async def test_a_film_counts_against_the_budget():
    cloud = FakeCloud(boot=1.0, encode=0.5, rates=US_EAST_1_RATES)
    report, _ = await finished(cloud, Maker(cloud, seconds=10**6), max_usd=Decimal("0.01"))
    assert report.status is Status.COMPLETE
    assert report.film_error is not None
    assert "Limits.max_usd" in report.film_error


async def test_a_film_waits_in_a_full_queue():
    """Its run was admitted: that other runs fill the queue is no reason to refuse the film."""
    cloud = FakeCloud(boot=1.0, encode=10.0)
    maker = Maker(cloud)

    async with (
        engine(cloud, limits=Limits(workers=1, queued_scenes=2)) as e,
        anyio.create_task_group() as tasks,
    ):

        async def make(videos, on_progress, on_worker):
            others = iter("cdefg")
            while len(e.pool.scheduler.queue) < 2:
                scene = next(others)
                tasks.start_soon(e.render, scene, f"run of {scene}")
                await anyio.sleep(1)
            return await Maker.make(maker, videos, on_progress, on_worker)

        maker.make = make
        async with running(e, maker, "ab") as run:
            report = await run.until_done()
    assert (report.film_error, report.film) == (None, FILM)


async def test_no_worker_is_kept_for_a_film_without_all_videos():
    cloud = FakeCloud(broken_scenes={"a"})
    maker = Maker(cloud)
    report, _ = await finished(cloud, maker)
    assert report.film_error is not None
    assert "scenes have no video: a" in report.film_error
    assert not maker.running
    assert not cloud.running


async def test_a_run_that_is_left_while_the_film_is_made_leaves_no_task():
    cloud = FakeCloud(boot=1.0, encode=lambda name: 1.0 if len(name) == 1 else 1000.0)
    maker = Maker(cloud)
    async with engine(cloud, limits=Limits(workers=1)) as e:
        async with running(e, maker, "ab") as run:
            async for event in run:
                if isinstance(event, FilmProgress):
                    break
        await e.pool.stop_all()
        assert ((await run.report()).film, len(cloud.running)) == (None, 0)
        assert not any(cloud.encoding.values())


async def test_a_film_that_no_worker_can_make_is_an_error_before_anything_starts():
    cloud = PublicImage(encode=10)
    async with engine(cloud) as e:
        with pytest.raises(InvalidScenesError, match="write nothing to S3") as caught:
            async with running(e, Maker(cloud), "ab"):
                pass
    assert [fault.field for fault in caught.value.faults] == ["to"]
    assert not cloud.launched
