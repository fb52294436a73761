"""Outbox: order within a job, dead letters, replay."""

from __future__ import annotations

import sqlite3
from random import Random

import pytest

from cloudburst.jobs.webhooks import outbox
from cloudburst.jobs.webhooks.outbox import MessageState
from support.outbox import Outbox


@pytest.fixture
def box() -> Outbox:
    return Outbox()


def due_ids(box: Outbox, now: float = 100.0) -> list[str]:
    return [m.id for m in box(outbox.due, now=now, of_each_webhook=8)]


def numbers(box: Outbox, *, of_each_webhook: int) -> list[tuple[str, int]]:
    found = box(outbox.due, now=100.0, of_each_webhook=of_each_webhook)
    return [(message.job, message.number) for message in found]


def test_only_the_first_message_of_a_job_and_webhook_is_due(box: Outbox) -> None:
    first, second = box.add(number=4), box.add(number=9)
    other_hook, other_job = box.add(number=4, webhook="billing"), box.add("job2", number=1)
    assert sorted(due_ids(box)) == sorted([first, other_hook, other_job])
    box(outbox.delivered, first, now=50.0)
    assert second in due_ids(box)
    assert first not in due_ids(box)


def test_a_message_is_not_due_before_its_time(box: Outbox) -> None:
    message = box.add(now=10.0)
    assert due_ids(box, now=9.9) == []
    box(outbox.failed, message, attempts=1, due_at=40.0, error="HTTP 500")
    assert due_ids(box, now=39.9) == []
    (found,) = box(outbox.due, now=40.0, of_each_webhook=1)
    assert (found.id, found.attempts, found.error) == (message, 1, "HTTP 500")
    assert (found.state, found.queued_at, found.due_at) == (MessageState.READY, 10.0, 40.0)


def test_ids_are_the_same_at_each_attempt_and_differ_between_events(box: Outbox) -> None:
    keys = [("a", "h", 1), ("a", "h", 2), ("a", "h.1", 2), ("b", "h", 1), ("a\n1", "h", 1)]
    made = [outbox.message_id(job=job, webhook=hook, number=n) for job, hook, n in keys]
    assert len(set(made)) == len(keys)
    assert all(set(message[4:]) <= set("0123456789abcdef") for message in made)
    assert box.add("a", 1, webhook="h") == made[0]
    with pytest.raises(sqlite3.IntegrityError):  # the same event twice is a defect of the caller
        box.add("a", 1, webhook="h")


def test_a_dead_letter_does_not_hold_up_later_events(box: Outbox) -> None:
    first, second = box.add(number=1), box.add(number=2)
    box(outbox.give_up, first, error="HTTP 404", now=7.0, all_of_job=False)
    assert due_ids(box) == [second]
    (letter,) = box(outbox.dead_letters, limit=5)
    assert (letter.id, letter.attempts, letter.error, letter.ended_at) == (
        *(first, 1, "HTTP 404"),
        7.0,
    )
    assert box(outbox.read_payload, letter) is None
    assert box.add(number=3) not in due_ids(box)


def test_a_webhook_that_is_gone_gives_up_all_messages_of_the_job(box: Outbox) -> None:
    first, _, _ = (box.add(number=number) for number in (1, 2, 3))
    box.add("job2")
    box.add(webhook="billing")
    box(outbox.give_up, first, error="HTTP 410", now=7.0, all_of_job=True)
    assert [row[:3] for row in box.states() if row[3] == "given up"] == [
        ("job1", "main", number) for number in (1, 2, 3)
    ]
    assert len(due_ids(box)) == 2


def test_replayed_messages_keep_their_place_and_id(box: Outbox) -> None:
    ids = [box.add(number=number) for number in range(1, 5)]
    for message in ids[:2]:
        box(outbox.give_up, message, error="HTTP 500", now=5.0, all_of_job=False)
    assert due_ids(box) == [ids[2]]
    assert box(outbox.replay, "msg_unknown", now=50.0) == 0
    assert box(outbox.replay, ids[3], now=50.0) == 0, "it is no dead letter"
    assert box(outbox.replay, ids[1], now=50.0) == 1
    assert due_ids(box, now=49.0) == []
    (found,) = box(outbox.due, now=50.0, of_each_webhook=9)
    assert (found.id, found.attempts, found.error, found.queued_at) == (ids[1], 0, None, 50.0)
    # The attempt of the third message was running meanwhile, and succeeds.
    box(outbox.delivered, ids[2], now=51.0)
    assert due_ids(box) == [ids[1]]
    box(outbox.delivered, ids[1], now=52.0)
    assert due_ids(box) == [ids[3]]
    assert box(outbox.replay, None, now=60.0) == 1
    assert due_ids(box) == [ids[0]]


def test_all_messages_of_a_job_are_replayed(box: Outbox) -> None:
    for job in ("job1", "job2"):
        for webhook in ("main", "billing"):
            first = box.add(job, 1, webhook=webhook)
            box.add(job, 2, webhook=webhook)
            box(outbox.give_up, first, error="HTTP 410", now=5.0, all_of_job=True)
    assert box(outbox.replay, "job1", now=6.0) == 4
    assert [row[1:] for row in box.states() if row[0] == "job1"] == [
        ("billing", 1, "ready"),
        ("billing", 2, "waiting"),
        ("main", 1, "ready"),
        ("main", 2, "waiting"),
    ]
    assert box(outbox.count)[MessageState.GIVEN_UP] == 4


def test_the_wait_after_a_failure_survives_a_replay_of_an_earlier_message(box: Outbox) -> None:
    first, second = box.add(number=1), box.add(number=2)
    box(outbox.give_up, first, error="HTTP 500", now=5.0, all_of_job=False)
    box(outbox.replay, None, now=6.0)
    box(outbox.failed, second, attempts=1, due_at=900.0, error="HTTP 500")  # it was being sent
    box(outbox.delivered, first, now=7.0)
    assert due_ids(box, now=899.0) == []
    assert due_ids(box, now=900.0) == [second]


def test_purge_removes_old_dead_letters_only(box: Outbox) -> None:
    for job in ("a", "b", "c"):
        box.add(job)
    old, new = (box(outbox.due, now=1.0, of_each_webhook=9)[n].id for n in (0, 1))
    box(outbox.give_up, old, error="", now=10.0, all_of_job=False)
    box(outbox.give_up, new, error="", now=20.0, all_of_job=False)
    assert box(outbox.purge, before=20.0) == 1
    assert [letter.id for letter in box(outbox.dead_letters, limit=9)] == [new]
    assert len(due_ids(box)) == 1
    assert list(box(outbox.count).values()) == [1, 0, 1]


def test_one_webhook_does_not_crowd_out_the_others(box: Outbox) -> None:
    for number in range(50):
        box.add(f"slow{number}", webhook="slow", now=float(number))
        box.add(f"mine{number}", webhook="job", url="https://a.example/", owner="mallory")
    retried = box.add("retried", webhook="steady", now=0.0)
    box(outbox.failed, retried, attempts=1, due_at=1.0, error="HTTP 500")
    box.add("late", webhook="fast", now=99.0)
    box.add("bob's", webhook="job", url="https://b.example/", owner="bob", now=99.0)
    found = numbers(box, of_each_webhook=2)
    assert len(found) == 7
    assert {("late", 1), ("bob's", 1)} <= set(found)
    assert ("retried", 1) in found


def test_messages_behind_a_ready_one_are_counted(box: Outbox) -> None:
    for number in range(1, 4):
        box.add(number=number)
    box.add("job2", now=9.0)
    listed = box(outbox.undelivered, limit=5)
    assert [(message.job, behind) for message, behind in listed] == [("job1", 2), ("job2", 0)]
    assert len(box(outbox.undelivered, limit=1)) == 1


def test_the_newest_dead_letters_are_listed(box: Outbox) -> None:
    ids = [box.add(number=number) for number in range(5)]
    for time_, message in enumerate(ids):
        box(outbox.give_up, message, error="x" * 9000, now=float(time_), all_of_job=False)
    letters = box(outbox.dead_letters, limit=2)
    assert [letter.id for letter in letters] == ids[3:]
    assert len(letters[0].error or "") == 500


def test_looking_for_due_messages_is_cheap_in_a_large_outbox(box: Outbox) -> None:
    """A webhook that is down for days leaves tens of thousands of messages."""
    box.connection.execute("BEGIN")
    for job in range(20):
        for number in range(300):
            outbox.enqueue(
                box.connection,
                job=f"job{job}",
                webhook="main",
                url=None,
                owner="",
                event_number=number,
                event_type="scene.completed",
                payload="x" * 5000,
                now=0.0,
            )
    box.connection.execute("COMMIT")
    steps = list[None]()
    box.connection.set_progress_handler(lambda: steps.append(None), 100)
    assert len(box(outbox.due, now=1.0, of_each_webhook=8)) == 8
    assert len(steps) < 60, f"{len(steps)} hundred instructions of SQLite"


@pytest.mark.parametrize("seed", range(8))
def test_messages_of_a_job_keep_their_order_through_any_fault(box: Outbox, seed: int) -> None:
    """Random calls: at most one message of a job and webhook is ready, and it is the first one."""
    random, now, last = Random(seed), 0.0, dict[str, int]()
    for _ in range(150):
        now += 1.0
        job = random.choice("ab")
        ready = {m.job: m for m in box(outbox.due, now=1e9, of_each_webhook=99)}
        match random.randrange(6):
            case 0 | 1:
                last[job] = last.get(job, 0) + 1
                box.add(job, last[job], now=now)
            case 2 if job in ready:
                box(outbox.delivered, ready[job].id, now=now)
            case 3 if job in ready:
                box(outbox.failed, ready[job].id, attempts=1, due_at=now + 9, error="e")
            case 4 if job in ready:
                gone = random.random() < 0.3
                box(outbox.give_up, ready[job].id, error="e", now=now, all_of_job=gone)
            case 5:
                letters = box(outbox.dead_letters, limit=99)
                for letter in letters:
                    if random.random() < 0.5:
                        box(outbox.replay, letter.id, now=now)
        for name in "ab":
            states = [row[3] for row in box.states() if row[0] == name and row[3] != "given up"]
            assert states == ["ready", *["waiting"] * (len(states) - 1)][: len(states)]
