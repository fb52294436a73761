"""Order, work and pauses of the queue."""

from __future__ import annotations

import pytest

from cloudburst.engine.pool_state import Ticket
from cloudburst.engine.scheduler.queue import FairQueue


def ticket(name, run, work, **facts):
    return Ticket(
        run=run, scene=name, language="chinese", audio_seconds=work, work=work, start=print, **facts
    )


@pytest.mark.anyio
async def test_the_queue_knows_its_work_and_its_longest():
    queue = FairQueue()
    first = [ticket(f"a{n}", "a", float(n), deadline=50.0) for n in range(5)]
    second = [ticket(f"b{n}", "b", n + 0.5, suspect=n == 3) for n in range(5)]
    queue.put(*first)
    queue.put(*second)
    assert queue.longest_works(3) == [4.5, 4.0, 3.5]
    assert queue.total_work == pytest.approx(22.5)
    assert queue.earliest_deadline == 50.0
    assert queue.restricted == (second[3],)
    for each in (*first, second[3]):
        queue.remove(each)
    assert queue.total_work == pytest.approx(0.5 + 1.5 + 2.5 + 4.5)
    assert queue.earliest_deadline == float("inf")
    assert queue.restricted == ()


@pytest.mark.anyio
async def test_the_scene_with_the_most_work_comes_first():
    """A still picture with long audio has less work than a moving one with shorter audio."""
    queue = FairQueue()
    still, moving = ticket("still", "a", 5.0), ticket("moving", "a", 8.0)
    still.audio_seconds, moving.audio_seconds = 30.0, 10.0
    queue.put(still, moving)
    assert queue.longest_works(1) == [8.0]
    assert queue.shortest_work() == 5.0
    assert queue.take(lambda _: True) is moving
    queue.put(moving)
    assert queue.tickets_of("a") == (moving, still)


@pytest.mark.anyio
async def test_a_run_that_is_paused_twice_keeps_its_tickets():
    queue = FairQueue()
    first, second = ticket("a", "a", 1.0), ticket("b", "a", 2.0)
    queue.put(first)
    queue.pause("a")
    queue.put(second)
    queue.pause("a")
    assert len(queue) == 0
    queue.resume("a")
    assert len(queue) == 2
    assert queue.tickets_of("a") == (second, first)
