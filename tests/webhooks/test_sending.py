"""Sending in virtual time: order, retries, fairness, cancellation, errors of the disk."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import TypeVar

import anyio
import anyio.lowlevel
import httpx
import pytest

from cloudburst.errors import JobStorageError
from cloudburst.jobs.webhooks import outbox
from cloudburst.jobs.webhooks.definitions import Webhooks
from cloudburst.jobs.webhooks.delivery import DEFAULT_POLICY
from cloudburst.testing import VirtualClockLoop
from support.outbox import Outbox
from support.webhook_receiver import (
    SECRET,
    Post,
    Receiver,
    accept,
    response_of,
    sender,
    sending,
    webhook,
)

pytestmark = pytest.mark.anyio

T = TypeVar("T")
COARSE = replace(DEFAULT_POLICY, poll_interval=300.0)
"""Policy for tests that take days: a look at the outbox every five minutes is enough."""


def numbers(posts: list[Post]) -> list[str]:
    """Return the payloads, which tests set to ``job.number``."""
    return [post.body for post in posts]


async def test_messages_of_a_job_arrive_in_order_within_a_second() -> None:
    box, receiver = Outbox(), Receiver()
    async with sending(box, receiver):
        for number in range(1, 21):
            box.add(number=number, payload=f"a.{number}")
        await anyio.sleep(1)
    assert numbers(receiver.posts) == [f"a.{number}" for number in range(1, 21)]
    assert receiver.most_at_once == 1
    assert len({post.id for post in receiver.posts}) == 20
    assert box.states() == []


async def test_a_failing_receiver_is_tried_twelve_times_in_three_days() -> None:
    async def fail(_post: Post) -> int:
        return 500

    box, receiver = Outbox(), Receiver(fail)
    message = box.add(number=1, payload="a.1")
    box.add(number=2, payload="a.2", now=0.0)
    async with sending(box, receiver, policy=COARSE):
        await anyio.sleep(4.5 * 24 * 3600)
    first = [post for post in receiver.posts if post.id == message]
    waits = [after.time - before.time for before, after in pairwise(first)]
    assert len(first) == 12
    for wait, delay in zip(waits, COARSE.delays, strict=True):
        assert 0.8 * delay <= wait <= 1.2 * delay + COARSE.poll_interval
    assert numbers(receiver.posts)[12] == "a.2", "the next event follows a dead letter"
    one, two = box(outbox.dead_letters, limit=9)
    assert (one.number, one.error, one.attempts) == (1, "HTTP 500", 12)
    assert (two.number, two.error) == (2, "HTTP 500")
    assert (two.ended_at or 1e9) < 4.1 * 24 * 3600


async def test_events_arrive_in_order_after_an_outage_of_a_day() -> None:
    async def fail_for_a_day(_post: Post) -> int:
        return 200 if anyio.current_time() > 24 * 3600 else 503

    box, receiver = Outbox(), Receiver(fail_for_a_day)
    for job in "ab":
        for number in range(1, 6):
            box.add(job, number, payload=f"{job}.{number}")
    async with sending(box, receiver, policy=COARSE):
        await anyio.sleep(2 * 24 * 3600)
    for job in "ab":
        accepted = [body for body in numbers(receiver.accepted) if body[0] == job]
        assert accepted == [f"{job}.{number}" for number in range(1, 6)]
    assert box.states() == []


async def test_a_receiver_that_hangs_delays_no_other() -> None:
    async def hang(post: Post) -> int:
        if post.host == "slow.example":
            await anyio.sleep_forever()
        return 200

    box, receiver = Outbox(), Receiver(hang)
    for number in range(200):
        box.add(f"s{number}", webhook="slow")
    async with sending(box, receiver, [webhook("slow"), webhook("fast")]):
        await anyio.sleep(60)
        begin = anyio.current_time()
        for number in range(100):
            box.add(f"f{number}", webhook="fast", now=begin)
        await anyio.sleep(1)
        accepted = [post for post in receiver.accepted if post.host == "fast.example"]
        assert len(accepted) == 100
        assert receiver.at_once <= DEFAULT_POLICY.at_once_for_each
    failed = [m for m, _ in box(outbox.undelivered, limit=999) if m.attempts]
    assert {message.error for message in failed} == {"no answer within 15 s"}


async def test_the_jobs_of_one_owner_delay_those_of_no_other() -> None:
    async def secrets(_owner: str) -> list[str]:
        return [SECRET]

    async def hang(post: Post) -> int:
        if post.host.startswith("trap"):
            await anyio.sleep_forever()
        return 200

    box, receiver = Outbox(), Receiver(hang)
    for number in range(50):  # each with another host
        url = f"https://trap{number}.example/"
        box.add(f"t{number}", webhook="job", url=url, owner="mallory")
    async with sending(box, receiver, Webhooks(job_secrets=secrets)):
        await anyio.sleep(1)
        box.add("b", webhook="job", url="https://bob.example/", owner="bob", now=1.0)
        await anyio.sleep(1)
        assert [post.host for post in receiver.accepted] == ["bob.example"]
        assert len(receiver.posts) == 1 + DEFAULT_POLICY.at_once_for_each


async def test_the_jobs_of_many_owners_leave_room_for_the_webhooks_of_the_application() -> None:
    async def secrets(_owner: str) -> list[str]:
        return [SECRET]

    async def hang(post: Post) -> int:
        if post.host.startswith("trap"):
            await anyio.sleep_forever()
        return 200

    box, receiver = Outbox(), Receiver(hang)
    for number in range(100):
        url = f"https://trap{number}.example/"
        box.add(f"t{number}", webhook="job", url=url, owner=f"mallory{number}")
    async with sending(box, receiver, Webhooks([webhook("main")], job_secrets=secrets)):
        await anyio.sleep(1)
        box.add("a", webhook="main", now=1.0)
        await anyio.sleep(1)
        assert [post.host for post in receiver.accepted] == ["main.example"]
        assert len(receiver.posts) == 1 + DEFAULT_POLICY.at_once // 2


async def test_attempts_at_once_are_limited() -> None:
    async def slowly(_post: Post) -> int:
        await anyio.sleep(1)
        return 200

    box, receiver = Outbox(), Receiver(slowly)
    hooks = [webhook(f"hook{number}") for number in range(10)]
    for hook in hooks:
        box.add(webhook=hook.name)
    async with sending(box, receiver, hooks, policy=replace(DEFAULT_POLICY, at_once=3)):
        await anyio.sleep(6)
    assert len(receiver.accepted) == 10
    assert receiver.most_at_once == 3


@pytest.mark.parametrize(
    ("status", "header", "wait"),
    [
        (429, "120", 120),
        (503, "1000000000", 3600),
        (503, "9" * 4999, 3600),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", 5),
        (500, "120", 5),
    ],
)
async def test_a_receiver_may_ask_to_wait(status: int, header: str, wait: float) -> None:
    async def ask(_post: Post) -> int | httpx.Response:
        if len(receiver.posts) > 1:
            return 204
        return response_of(status, {"Retry-After": header})

    box, receiver = Outbox(), Receiver(ask)
    box.add()
    policy = replace(DEFAULT_POLICY, jitter=0.0, poll_interval=2.0)
    async with sending(box, receiver, policy=policy):
        await anyio.sleep(wait + 5)
    assert receiver.posts[1].time == pytest.approx(wait + 1, abs=1.1)
    assert box.states() == []


async def test_a_webhook_that_is_gone_gets_nothing_more_of_the_job(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def gone(post: Post) -> int:
        return 410 if post.body == "a.1" else 200

    box, receiver = Outbox(), Receiver(gone)
    for number in (1, 2, 3):
        box.add("a", number, payload=f"a.{number}")
    box.add("b", 1, payload="b.1")
    async with sending(box, receiver):
        await anyio.sleep(1)
    assert sorted(numbers(receiver.posts)) == ["a.1", "b.1"]
    assert [letter.error for letter in box(outbox.dead_letters, limit=9)] == ["HTTP 410"] * 3
    assert "event 1 of job a for webhook main was given up: HTTP 410" in caplog.text


async def test_messages_wait_for_a_process_that_knows_their_webhook() -> None:
    """During an update, an old process delivers that does not know a new webhook."""
    box, receiver = Outbox(), Receiver()
    box.add("a", webhook="new")
    box.add("b", webhook="job", url="https://b.example/")
    async with sending(box, receiver, [webhook("old")]):
        await anyio.sleep(3)
    errors = {message.error for message, _ in box(outbox.undelivered, limit=9)}
    assert errors == {"the process that delivers has no webhook of this name"}
    async with sending(box, receiver, [webhook("new")], policy=COARSE):
        await anyio.sleep(1000)
        assert [post.host for post in receiver.accepted] == ["new.example"]
        await anyio.sleep(4 * 24 * 3600)
    (letter,) = box(outbox.dead_letters, limit=9)
    assert (letter.job, letter.attempts) == ("b", 12)


async def test_looks_at_the_outbox_take_less_than_half_of_the_time() -> None:
    class LargeOutbox(Outbox):
        looks = 0

        async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
            self.looks += 1
            await anyio.sleep(1)
            return self(work)

    box, receiver = LargeOutbox(), Receiver()
    async with sending(box, receiver):
        await anyio.sleep(100)
    assert 35 <= box.looks <= 45


async def test_secrets_that_cannot_be_read_are_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def secrets(owner: str) -> list[str]:
        if anyio.current_time() > 10:
            return [SECRET]
        if owner == "slow":
            await anyio.sleep_forever()
        return ["not a secret"] if owner == "wrong" else dict[str, list[str]]()[owner]

    box, receiver = Outbox(), Receiver()
    owners = ("missing", "slow", "wrong")
    for owner in owners:
        box.add(owner, webhook="job", url="https://a.example/", owner=owner)
    async with sending(box, receiver, Webhooks(job_secrets=secrets)):
        await anyio.sleep(5)
        errors = {m.owner: m.error for m, _ in box(outbox.undelivered, limit=9)}
        assert errors["missing"] == "its secrets cannot be read (KeyError)"
        assert "secret 1 of a webhook is not valid" in (errors["wrong"] or "")
        assert "not a secret" not in (errors["wrong"] or "")
        await anyio.sleep(700)
    assert len(receiver.accepted) == 3
    assert "the secrets of webhook job cannot be read" in caplog.text


class FullDisk(Outbox):
    """Outbox that cannot be written for some seconds."""

    def __init__(self, until: float) -> None:
        super().__init__()
        self.until = until

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if anyio.current_time() < self.until:
            raise JobStorageError("jobs.sqlite cannot be used: database or disk is full")
        return self(work)


async def test_nothing_is_sent_again_while_the_disk_is_full(
    caplog: pytest.LogCaptureFixture,
) -> None:
    box, receiver = FullDisk(until=95.0), Receiver()
    box.add(number=1, payload="a.1")
    box.add(number=2, payload="a.2")
    async with sending(box, receiver):
        await anyio.sleep(90)
        assert numbers(receiver.posts) == ["a.1"]
        await anyio.sleep(20)
    assert numbers(receiver.posts) == ["a.1", "a.2"]
    assert box.states() == []
    assert "is not stored: jobs.sqlite cannot be used: database or disk is full" in caplog.text


class UnreadableDisk(Outbox):
    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if anyio.current_time() < 25:
            raise JobStorageError("jobs.sqlite cannot be used: disk I/O error")
        return self(work)


async def test_an_outbox_that_cannot_be_read_is_read_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    box, receiver = UnreadableDisk(), Receiver()
    box.add()
    async with sending(box, receiver):
        await anyio.sleep(40)
    assert len(receiver.accepted) == 1
    assert caplog.text.count("no webhooks are sent: jobs.sqlite cannot be used") == 3


async def test_a_defect_of_a_transport_does_not_end_the_delivery(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def defect(_post: Post) -> int:
        if len(receiver.posts) == 1:
            raise ZeroDivisionError
        return 200

    box, receiver = Outbox(), Receiver(defect)
    box.add()
    async with sending(box, receiver):
        await anyio.sleep(1)
        ((message, _),) = box(outbox.undelivered, limit=2)
        assert message.error == "the request failed (ZeroDivisionError)"
        await anyio.sleep(10)
    assert len(receiver.accepted) == 1
    assert "ZeroDivisionError" in caplog.text


async def test_a_message_is_not_sent_again_after_a_look_before_its_failure() -> None:
    class SlowReads(Outbox):
        async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
            result = self(work)
            await anyio.sleep(2)
            return result

    async def fail_after_a_second(_post: Post) -> int:
        await anyio.sleep(1)
        return 500

    box, receiver = SlowReads(), Receiver(fail_after_a_second)
    box.add()
    async with sending(box, receiver, policy=replace(DEFAULT_POLICY, jitter=0.0)):
        await anyio.sleep(30)
    first, second = (post.time for post in receiver.posts)
    assert second - first >= DEFAULT_POLICY.delays[0]


async def test_a_removed_message_is_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    class Removing(Outbox):
        async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
            result = self(work)
            self.connection.execute("DELETE FROM webhook_messages WHERE job = 'removed'")
            return result

    box, receiver = Removing(), Receiver()
    box.add("removed")
    box.add("kept")
    async with sending(box, receiver):
        await anyio.sleep(1)
    assert len(receiver.posts) == 1
    assert caplog.text == ""


def check_all_arrived(receiver: Receiver, jobs: str, count: int) -> None:
    """Each event arrived in order; a repeated one only with the same id and body."""
    ids, first_seen = defaultdict[str, set[str]](set), list[str]()
    for post in receiver.accepted:
        ids[post.body].add(post.id)
        if post.body not in first_seen:
            first_seen.append(post.body)
    assert all(len(found) == 1 for found in ids.values())
    for job in jobs:
        expected = [f"{job}.{number}" for number in range(1, count + 1)]
        assert [body for body in first_seen if body[0] == job] == expected


class ThreadedOutbox(Outbox):
    """Outbox whose calls let other tasks run, before and after."""

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        await anyio.lowlevel.checkpoint()
        result = self(work)
        await anyio.lowlevel.checkpoint()
        return result

    write = read


async def slow_accept(_post: Post) -> int:
    for _ in range(3):
        await anyio.lowlevel.checkpoint()
    return 200


def six_messages() -> ThreadedOutbox:
    box = ThreadedOutbox()
    for number in (1, 2, 3):
        for job in "ab":
            box.add(job, number, payload=f"{job}.{number}")
    return box


async def check_the_rest_arrives(box: Outbox, receiver: Receiver) -> None:
    # What was accepted and is still in the outbox is sent twice: at most one of each job.
    assert 6 <= len(box.states()) + len(receiver.accepted) <= 6 + 2
    async with sending(box, receiver):
        await anyio.sleep(5)
    assert box.states() == []
    check_all_arrived(receiver, "ab", 3)


LAST_TICK = 45


@pytest.mark.parametrize("ticks", range(LAST_TICK + 1))
async def test_cancelled_anywhere_nothing_is_lost(ticks: int) -> None:
    box, receiver = six_messages(), Receiver(slow_accept)
    async with sending(box, receiver):
        for _ in range(ticks):
            await anyio.lowlevel.checkpoint()
    if ticks == LAST_TICK:
        assert box.states() == [], "the ticks cover the whole delivery"
    await check_the_rest_arrives(box, receiver)


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": VirtualClockLoop})])
@pytest.mark.parametrize("cancellations", [1, 2])
@pytest.mark.parametrize("ticks", range(1, LAST_TICK + 1, 2))
async def test_cancellations_of_asyncio_lose_nothing(ticks: int, cancellations: int) -> None:
    """As ``asyncio.timeout`` and web servers cancel: anyio's shields do not hold them back."""
    box, receiver = six_messages(), Receiver(slow_accept)
    others = asyncio.all_tasks()
    task = asyncio.create_task(sender(box, receiver).run())
    for _ in range(ticks):
        await asyncio.sleep(0)
    for _ in range(cancellations):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == others
    await check_the_rest_arrives(box, receiver)


async def test_an_outcome_is_noted_although_the_process_ends() -> None:
    class SlowDisk(Outbox):
        async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
            await anyio.sleep(1)
            return self(work)

    box, receiver = SlowDisk(), Receiver()
    box.add()
    async with sending(box, receiver):
        await anyio.sleep(0.5)
        assert len(receiver.accepted) == 1
    assert box.states() == []


@pytest.mark.parametrize("seed", range(3))
async def test_a_moody_receiver_gets_everything_in_order(seed: int) -> None:
    random = Random(seed)

    async def moody(_post: Post) -> int:
        await anyio.sleep(random.random())
        if random.random() < 0.1:
            await anyio.sleep_forever()
        return random.choice([200, 200, 500, 302, 429])

    policy = replace(DEFAULT_POLICY, delays=(1.0,) * 200)
    box, receiver = Outbox(), Receiver(moody)
    for job in "abcdef":
        for number in range(1, 9):
            box.add(job, number, payload=f"{job}.{number}")
    for _ in range(20):  # processes that end after half a minute
        async with sending(box, receiver, policy=policy):
            await anyio.sleep(30)
    assert box.states() == []
    check_all_arrived(receiver, "abcdef", 8)


async def test_successes_are_no_news(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cloudburst")
    box, receiver = Outbox(), Receiver(accept)
    box.add()
    async with sending(box, receiver):
        await anyio.sleep(1)
    assert caplog.text == ""
