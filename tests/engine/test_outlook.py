"""What is foreseen of a queue: pure arithmetic, and what is sent in advance."""

from __future__ import annotations

import pytest
from harness import engine, known, working
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.engine.forecast import Place, forecast
from cloudburst.engine.outlook import LONGEST, Load, _level
from cloudburst.engine.queue import TurnQueue
from cloudburst.engine.slot import Ticket
from cloudburst.models.pace import Pace
from cloudburst.models.policy import Limits
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud

seconds = st.floats(0.1, 500)
works = st.lists(seconds, min_size=1, max_size=40)
places = st.lists(
    st.builds(
        Place,
        free=st.floats(0, 100),
        pace=st.builds(Pace, ratio=st.floats(0.1, 5), moving=st.floats(0, 3)),
    ),
    min_size=1,
    max_size=8,
)


@given(works, places)
def test_without_others_it_is_the_forecast(works, places):
    assert Load(longest=works).on(places) == forecast(works, places)


@given(works, places, st.integers(1, 500), seconds)
def test_more_scenes_never_make_it_earlier(works, places, others, each):
    alone = Load(longest=works).on(places)
    more = Load(longest=works, others=others, others_work=others * each).on(places)
    assert more.seconds >= alone.seconds
    assert all(a >= b for a, b in zip(more.ends, alone.ends, strict=True))


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 50)), min_size=1), st.integers(1, 999))
def test_what_is_poured_is_all_there(pairs, number):
    ends, each = zip(*pairs, strict=True)
    level = _level(ends, each, number)
    done = sum(max(0.0, level - end) / seconds for end, seconds in pairs)
    assert done == pytest.approx(number, rel=1e-6)


@given(st.integers(1, 30), st.floats(1, 20))
def test_pouring_is_close_to_placing_one_by_one(count, ratio):
    """A thousand equal scenes: the same end but for one scene."""
    spots = [Place(free=float(n), pace=Pace(ratio=ratio)) for n in range(count)]
    exact = forecast([2.0] * 1000, spots).seconds
    rest = 1000 - LONGEST
    poured = Load(longest=[2.0] * LONGEST, others=rest, others_work=2.0 * rest).on(spots).seconds
    assert abs(exact - poured) <= 2.0 * ratio + 1e-6


def test_with_no_places_it_is_never_done():
    assert Load(longest=[1.0]).on([]).seconds == float("inf")
    assert Load(longest=[]).on([]).seconds == 0.0


def ticket(name, run, work, **facts):
    return Ticket(
        run=run, scene=name, language="chinese", seconds=work, work=work, begin=print, **facts
    )


@pytest.mark.anyio
async def test_the_queue_knows_its_work_and_its_longest():
    queue = TurnQueue()
    first = [ticket(f"a{n}", "a", float(n), due=50.0) for n in range(5)]
    second = [ticket(f"b{n}", "b", n + 0.5, suspect=n == 3) for n in range(5)]
    queue.put(*first)
    queue.put(*second)
    assert queue.longest(3) == [4.5, 4.0, 3.5]
    assert queue.work == pytest.approx(22.5)
    assert queue.due == 50.0
    assert queue.picky == (second[3],)
    for each in (*first, second[3]):
        queue.remove(each)
    assert queue.work == pytest.approx(0.5 + 1.5 + 2.5 + 4.5)
    assert queue.due == float("inf")
    assert queue.picky == ()


@pytest.mark.anyio
async def test_a_scene_is_not_sent_long_before_it_can_be_encoded():
    """The one that comes next is not stuck behind the longest of all."""
    works = [300, 100, 90, 80, 70, 60, 50]
    cloud = FakeCloud(boot=5, upload=1, encode=lambda name: works[int(name[1:])], download=1)
    scenes = [working(f"s{number}", seconds) for number, seconds in enumerate(works)]
    async with engine(cloud, figures=known(cloud), limits=Limits(workers=3)) as e:
        report = await e.render(scenes)
    assert report.status is Status.COMPLETE
    alone = next(video.task for video in report.videos if video.scene == "s0")
    assert [video.scene for video in report.videos if video.task == alone] == ["s0"]
    assert all(entry.waiting < 15 for entry in report.scenes)
    assert {entry.attempts for entry in report.scenes} == {1}


@pytest.mark.anyio
async def test_each_encoder_slot_has_its_own_next_scene():
    """One slot is free soon and the other one is not: one scene is sent for the two of them."""
    works = [300, 100, 90, 80, 70]
    cloud = FakeCloud(
        boot=5, upload=1, encode=lambda name: works[int(name[1:])], download=1, encoders=2
    )
    scenes = [working(f"s{number}", seconds) for number, seconds in enumerate(works)]
    async with engine(cloud, figures=known(cloud), limits=Limits(workers=1)) as e:
        report = await e.render(scenes)
    assert report.status is Status.COMPLETE
    assert all(entry.waiting < 15 for entry in report.scenes)


@pytest.mark.anyio
async def test_it_is_sent_before_that():
    """The encoder never waits for an upload, though it takes longer than usual."""
    works = [40] * 6
    cloud = FakeCloud(boot=5, upload=8, encode=40, download=2)
    scenes = [working(f"s{number}", seconds) for number, seconds in enumerate(works)]
    async with engine(cloud, figures=known(cloud), limits=Limits(workers=1)) as e:
        report = await e.render(scenes)
    assert report.seconds == pytest.approx(5 + 8 + 6 * 40 + 2, abs=1)
