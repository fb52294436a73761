"""Order, work and pauses of the queue."""

from __future__ import annotations

import time

import pytest

from cloudburst.engine.pool_state import Ticket
from cloudburst.engine.scheduler.queue import FairQueue


def ticket(name, run, work, **facts):
    return Ticket(run=run, scene=name, language="chinese", audio_seconds=work, work=work, **facts)


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
    assert [*queue.restricted] == [second[3]]
    for each in (*first, second[3]):
        queue.remove(each)
    assert queue.total_work == pytest.approx(0.5 + 1.5 + 2.5 + 4.5)
    assert queue.earliest_deadline == float("inf")
    assert not queue.restricted


@pytest.mark.anyio
async def test_the_scene_with_the_most_work_comes_first():
    """A still picture with long audio has less work than a moving one with shorter audio."""
    queue = FairQueue()
    still, moving = ticket("still", "a", 5.0), ticket("moving", "a", 8.0)
    still.audio_seconds, moving.audio_seconds = 30.0, 10.0
    queue.put(still, moving)
    assert queue.longest_works(1) == [8.0]
    assert queue.shortest().work == 5.0
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


@pytest.mark.anyio
@pytest.mark.parametrize("paused", [False, True])
async def test_many_tickets_leave_as_one_by_one(paused):
    def filled():
        queue = FairQueue()
        first = [ticket(f"a{n}", "a", float(n), suspect=n == 4) for n in range(9)]
        second = [ticket(f"b{n}", "b", n + 0.5) for n in range(3)]
        queue.put(*first)
        queue.put(*second)
        if paused:
            queue.pause("a")
        return queue, first, second

    (one, first, _), (other, same, second) = filled(), filled()
    for each in (*first[2:7], first[3]):
        one.remove(each)
    other.remove_all([*same[2:7], same[3]])
    other.remove_all(same[2:7])
    assert [t.scene for t in one.tickets_of("a")] == [t.scene for t in other.tickets_of("a")]
    assert other.tickets_of("b") == tuple(reversed(second))
    assert not any(each.queued for each in same[2:7])
    for queue in (one, other):
        queue.resume_all()
        assert (len(queue), queue.restricted) == (7, {})
        assert queue.total_work == pytest.approx(0 + 1 + 7 + 8 + 0.5 + 1.5 + 2.5)
    other.remove_all([*same, *second])
    assert (len(other), other.total_work) == (0, 0)


@pytest.mark.anyio
async def test_twenty_thousand_tickets_leave_in_milliseconds():
    """One by one, each would be searched for: 0.8 s."""
    queue = FairQueue()
    tickets = [ticket(str(n), "a", float(n * 7919 % 20_000)) for n in range(20_000)]
    queue.put(*tickets)
    began = time.thread_time()
    queue.remove_all(tickets)
    assert time.thread_time() - began < 0.2
    assert len(queue) == 0
