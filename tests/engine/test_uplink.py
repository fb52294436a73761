"""The line from the client to its workers, in virtual time."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.open_run import add_upload_size
from cloudburst.engine.pool_state import Ticket
from cloudburst.engine.scheduler.queue import FairQueue
from cloudburst.engine.uplink import MIN_FILES, STALL_CHECK_SECONDS, STALL_SECONDS, LineSpeed
from cloudburst.errors import UploadError
from cloudburst.events import SceneEncoding, SceneUploaded
from cloudburst.models.file_versions import FileVersion
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.performance import Sample
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from cloudburst.testing.fake import FakeRenderer
from support.harness import checked, engine
from support.lines import SLOW, Line, open_uplink, send_all

pytestmark = pytest.mark.anyio


async def test_files_are_sent_in_the_order_of_need():
    files = [(f"s{number}", 500_000, 100 - number) for number in range(8)]
    started = {}
    async with open_uplink() as uplink:
        arrived = await send_all(uplink, Line(SLOW), files, started)
    order = sorted(started, key=started.__getitem__)
    assert set(order[:2]) == {"s0", "s1"}, "there was room for these when they came"
    times = [started[f"s{number}"] for number in range(7, 1, -1)]
    assert times == sorted(times)
    assert arrived["s0"] < 2 * 2 + 0.5, "two share the line"
    assert max(arrived.values()) < 8 * 2 + 0.5, "the line is never unused"


async def test_many_small_files_fill_a_fast_line():
    files = [(f"s{number}", 20_000, 0) for number in range(500)]
    async with open_uplink() as uplink:
        arrived = await send_all(uplink, Line(10_000_000), files)
    assert max(arrived.values()) < 5, "two at once would take 38 s"


async def test_the_speed_of_the_line_is_that_of_the_last_files():
    speed = LineSpeed()
    assert speed.mean is None
    for rate in (SLOW, 4 * SLOW):
        await anyio.sleep(1000)
        speed.begin(anyio.current_time())
        for _ in range(12):
            await anyio.sleep(5)
            speed.add(5 * rate)
        assert speed.mean == pytest.approx(rate, rel=0.3)


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_an_upload_that_ends_early_frees_its_place(how):
    line = Line(SLOW)

    async def end_early(uplink, needed_at):
        with anyio.move_on_after(3 if how == "cancelled" else 1000):
            async with uplink.place(5_000_000, needed_at=needed_at):
                await anyio.sleep(3 if how == "failed" else 1000)
                raise UploadError("it cannot be read")

    async def ending_early(uplink, needed_at):
        try:
            await end_early(uplink, needed_at)
        except UploadError:
            assert how == "failed"

    async with open_uplink() as uplink, anyio.create_task_group() as tasks:
        for needed_at in range(4):  # two of them wait
            tasks.start_soon(ending_early, uplink, needed_at)
        await anyio.sleep(0.1)
        arrived = await send_all(uplink, line, [("next", 250_000, 0)])
        assert arrived["next"] < 3 + 3 + 1 + 0.5
        assert not uplink._waiting
        await anyio.sleep(10)
        assert not uplink._sending
        assert uplink._bytes_sending == 0


@pytest.mark.parametrize("late_answer", [0, 300], ids=["after a file", "after a late answer"])
async def test_files_that_stall_do_not_hold_up_the_others(late_answer):
    line = Line(SLOW)

    async def stall(uplink):
        async with uplink.place(100_000, needed_at=0):
            await anyio.sleep_forever()

    async with open_uplink() as uplink, anyio.create_task_group() as tasks:
        await send_all(uplink, line, [("measured", 400_000, 0)])
        if late_answer:
            async with uplink.place(1, needed_at=0) as sending:
                await anyio.sleep(late_answer)
                sending.arrived()
        for _ in range(MIN_FILES):
            tasks.start_soon(stall, uplink)
        await anyio.sleep(0.1)
        arrived = await send_all(uplink, line, [(f"s{n}", 400_000, n) for n in range(5)])
        assert max(arrived.values()) < STALL_SECONDS + 13 + 2 * STALL_CHECK_SECONDS + 5 * 1.6 + 2
        tasks.cancel_scope.cancel()


# With workers.


class FarCloud(FakeCloud):
    """Its workers are at the other end of a line."""

    def __init__(self, line, *, size=500_000, **facts):
        super().__init__(**facts)
        self.line, self.size = line, size

    @asynccontextmanager
    async def backend(self, timeouts, tier):
        async with super().backend(timeouts, tier) as backend:
            yield replace(backend, shares_uplink=True)

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets) as renderer:
            yield FarRenderer(self, renderer.task)


class FarRenderer(FakeRenderer):
    async def upload(self, scene, *, turn, **more):
        async with turn(self.cloud.size) as sending:
            await self.cloud.line.send(self.cloud.size, sending)
            sending.arrived()
        return await super().upload(scene, **more)


async def test_four_workers_begin_as_early_as_one():
    cloud = FarCloud(Line(SLOW), boot=1, encode=3, encoders=2)
    async with engine(cloud, limits=Limits(workers=4)) as e:
        began = anyio.current_time()
        async with e.open([f"s{number:02d}" for number in range(12)]) as run:
            events = [event async for event in run]
    report = await run.report()
    assert report.status is Status.COMPLETE
    encoding = [event.at for event in events if isinstance(event, SceneEncoding)]
    assert len({scene.task for scene in report.scenes}) > 1
    assert min(encoding) - events[0].at < 1 + 2 * 2 + 1
    assert anyio.current_time() - began < 1 + 12 * 2.15 + 3 + 2


async def test_scenes_with_a_free_slot_are_sent_before_those_that_wait_for_one():
    cloud = FarCloud(Line(SLOW), size=2_500_000, boot=1, encode=100)
    async with engine(cloud, limits=Limits(workers=5, idle=1000)) as e:
        scenes = [checked(f"s{number}", 10 - number) for number in range(10)]
        async with e.open(scenes) as run:
            events = [event async for event in run]
    order = [(event.scene, event.task) for event in events if isinstance(event, SceneUploaded)]
    assert len({task for _, task in order[:5]}) == 5


async def test_the_wait_for_the_line_has_no_timeout():
    cloud = FarCloud(Line(SLOW), size=5_000_000, boot=1, encode=1)
    timeouts = Timeouts(scene=50)  # two at once take 40 s
    async with engine(cloud, limits=Limits(workers=6, attempts=1), timeouts=timeouts) as e:
        report = await e.render([f"s{number}" for number in range(6)])
    assert report.status is Status.COMPLETE


async def test_an_upload_that_has_its_place_has_a_timeout():
    cloud = FarCloud(Line(SLOW / 100), size=5_000_000, boot=1, encode=1)
    async with engine(cloud, limits=Limits(attempts=1), timeouts=Timeouts(scene=50)) as e:
        began = anyio.current_time()
        report = await e.render(["s0"])
        assert report.status is Status.FAILED
        assert anyio.current_time() - began < 100


# In forecasts.


def with_files(scene, size):
    """A scene whose picture has this size, in bytes."""
    return scene.model_copy(update={"versions": versions_of({scene.scene.image: size})})


def versions_of(sizes):
    return {path: FileVersion(path, size, 0, 0, 0) for path, size in sizes.items()}


@pytest.mark.parametrize(("rate", "later"), [(SLOW, 1), (100 * SLOW, 2)], ids=["thin", "fast"])
async def test_a_later_run_starts_no_task_that_the_line_cannot_feed(rate, later):
    facts = {"boot": 20, "encode": 3, "encoders": 2, "rates": US_EAST_1_RATES, "name": "far"}
    scenes = [with_files(checked(f"s{number:02d}"), 500_000) for number in range(12)]
    limits = Limits(workers=4, hour_usd=Decimal(1))
    measurements, walls, tasks = Measurements(), [], []
    for _ in range(2):
        cloud = FarCloud(Line(rate), **facts)
        async with engine(cloud, measurements=measurements, limits=limits) as e:
            began = anyio.current_time()
            report = await e.render(scenes)
            walls.append(anyio.current_time() - began)
        assert report.status is Status.COMPLETE
        tasks.append(len(cloud.launched))
    assert tasks == [4, later]
    if rate == SLOW:
        assert walls[1] < 1.03 * walls[0], "more tasks would not be faster"
    assert report.predicted.wall_seconds == pytest.approx(walls[1], rel=0.1)


async def first_run_on(rate, *, boot=20.0, **limits):
    """Render 60 scenes on four tasks, and return the cloud, the report and the seconds."""
    scenes = [with_files(checked(f"s{number:02d}"), 500_000) for number in range(60)]
    cloud = FarCloud(Line(rate), boot=boot, encode=1, encoders=2, rates=US_EAST_1_RATES)
    measurements = Measurements()
    for seconds in (20.0, 60.0) * 10:  # so that none is late
        measurements.add(Sample(kind="fake", measure="startup", seconds=seconds))
    limits = Limits(workers=4, **limits)
    async with engine(cloud, limits=limits, measurements=measurements) as e:
        report = await e.render(scenes)
        report = await report.settled()
    assert report.status is Status.COMPLETE
    assert len(cloud.launched) == 4, "what was stopped is not started again"
    return cloud, report


async def test_tasks_that_the_line_cannot_feed_are_stopped_when_it_is_measured():
    _, report = await first_run_on(SLOW)
    assert report.wall_seconds == pytest.approx(20 + 60 * 2, rel=0.1)
    lived = sorted(worker.stopped_at - worker.launched_at for worker in report.workers)
    assert lived[-1] > 140
    assert max(lived[:-1]) < 70
    assert {scene.attempts for scene in report.scenes} == {1}


async def test_a_start_is_cancelled_when_the_line_cannot_feed_it():
    boots = {"fake-1": 20.0, "fake-2": 20.0, "fake-3": 45.0, "fake-4": 45.0}
    _, report = await first_run_on(SLOW, boot=boots.__getitem__)
    assert sum(worker.ready_at is None for worker in report.workers) == 2


@pytest.mark.few(1)
@pytest.mark.parametrize(("rate", "limits"), [(100 * SLOW, {}), (SLOW, {"idle": 30})])
async def test_tasks_are_not_stopped_if_the_line_is_fast_or_they_should_be_kept(rate, limits):
    _, report = await first_run_on(rate, **limits)
    ends = [worker.stopped_at for worker in report.workers if worker.stopped_at is not None]
    assert not ends or min(ends) > 0.7 * report.wall_seconds


async def test_a_line_with_room_is_not_taken_for_a_slow_one():
    async with open_uplink() as uplink:
        for size in (10_000, 80_000):  # the round trip takes most of the time
            for number in range(20):
                await send_all(uplink, Line(100 * SLOW), [(f"s{number}", size, 0)])
            assert uplink.measured_speed(known=math.inf) is None
        assert uplink.measured_speed(known=SLOW) > SLOW, "it is faster now than it was"


async def test_the_speed_of_a_full_line_is_measured():
    files = [(f"s{number}", 500_000, 0) for number in range(12)]
    async with open_uplink() as uplink:
        await send_all(uplink, Line(SLOW), files)
        assert uplink.measured_speed(known=math.inf) == pytest.approx(SLOW, rel=0.2)
        await anyio.sleep(1000)
        await send_all(uplink, Line(SLOW), files[:1])
        assert uplink.measured_speed(known=math.inf) == pytest.approx(SLOW, rel=0.2)


async def test_time_in_which_nothing_is_sent_does_not_count():
    files = [(f"s{number}", 500_000, 0) for number in range(12)]
    async with open_uplink() as uplink:
        await send_all(uplink, Line(SLOW), files)
        with anyio.move_on_after(5):  # two are sent, and others wait
            await send_all(uplink, Line(SLOW), files)
        await anyio.sleep(1000)
        for _ in range(500):  # one after the other, with room for more
            await send_all(uplink, Line(SLOW), [("small", 1000, 0)])
        assert uplink.measured_speed(known=math.inf) == pytest.approx(SLOW, rel=0.3)


async def test_stalled_files_do_not_change_the_measured_speed():
    files = [(f"s{number}", 500_000, number) for number in range(16)]
    async with open_uplink() as uplink, anyio.create_task_group() as tasks:

        async def stall():
            async with uplink.place(500_000, needed_at=anyio.current_time()):
                await anyio.sleep_forever()

        tasks.start_soon(send_all, uplink, Line(SLOW), files)
        await anyio.sleep(9)
        for _ in range(MIN_FILES):
            tasks.start_soon(stall)
        await anyio.sleep(60)
        assert not uplink._waiting
        assert uplink.measured_speed(known=math.inf) == pytest.approx(SLOW, rel=0.3)
        tasks.cancel_scope.cancel()


async def test_scenes_count_until_they_are_sent():
    cloud = FarCloud(Line(SLOW), boot=1, encode=30, encoders=4)
    scenes = [with_files(checked(f"s{number}"), 500_000) for number in range(4)]
    async with engine(cloud, limits=Limits(workers=1)) as e, e.open(scenes) as run:
        estimator = e.pool.scheduler._estimator

        def bytes_to_send():
            estimator.invalidate()
            return estimator.snapshot().load.bytes_to_send

        await anyio.sleep(2)
        assert bytes_to_send() == 2_000_000
        await anyio.sleep(2 * 2 + 1)
        assert bytes_to_send() == 1_000_000
        await anyio.sleep(2 * 2 + 1)
        assert bytes_to_send() == 0
        assert (await run.until_done()).status is Status.COMPLETE


async def test_a_file_of_several_scenes_counts_for_the_one_that_is_sent_first():
    tickets, senders = [], {}
    for name, work, own in (("a", 5.0, 1), ("b", 9.0, 20), ("c", 7.0, 300)):
        ticket = Ticket(run="r", scene=name, language="english", audio_seconds=1.0, work=work)
        files = {Path("shared.png"): 4000, Path(name): own}
        scene = checked(name).model_copy(update={"versions": versions_of(files)})
        add_upload_size(ticket, scene, senders)
        tickets.append(ticket)
    assert [each.bytes_to_send for each in tickets] == [1, 4020, 300]
    queue = FairQueue()
    queue.put(*tickets)
    assert queue.bytes_to_send == 4321
    later = Ticket(run="r", scene="d", language="english", audio_seconds=1.0, work=10**6)
    add_upload_size(later, scene, senders)
    assert (later.bytes_to_send, queue.bytes_to_send) == (0, 4321), "what waits is sent first"
    queue.remove(tickets[1])
    assert queue.bytes_to_send == 301
    queue.remove_all(tickets[2:])
    assert queue.bytes_to_send == 1
    queue.pause("r")
    assert queue.bytes_to_send == 0
