"""Times of further attempts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudburst.jobs.webhooks import outbox
from cloudburst.jobs.webhooks.delivery import DEFAULT_POLICY
from cloudburst.jobs.webhooks.outbox import Message
from support.outbox import Outbox

RANDOM = st.floats(0, 1)


def message(attempts: int) -> Message:
    box = Outbox()
    box(outbox.failed, box.add(), attempts=attempts, due_at=0.0, error="")
    (found,) = box(outbox.due, now=1.0, of_each_webhook=1)
    return found


FAILED = [message(attempts) for attempts in range(len(DEFAULT_POLICY.delays) + 1)]


@settings(max_examples=25)
@given(random=st.lists(RANDOM, min_size=len(FAILED) - 1, max_size=len(FAILED) - 1))
def test_all_attempts_are_made_before_a_message_is_too_old(random: list[float]) -> None:
    now = 0.0
    for attempts, one in enumerate(random):
        due_at = DEFAULT_POLICY.next_attempt(FAILED[attempts], now=now, retry_after=0, random=one)
        assert due_at is not None
        assert due_at - now == pytest.approx(DEFAULT_POLICY.delays[attempts], rel=0.2001)
        now = due_at
    after = DEFAULT_POLICY.next_attempt(FAILED[-1], now=now, retry_after=0, random=0.5)
    assert after is None


def test_a_message_that_failed_twice_holds_back_the_others_of_its_job_for_half_a_minute() -> None:
    due_at = DEFAULT_POLICY.next_attempt(FAILED[1], now=100, retry_after=0, random=0.5)
    assert due_at == 130


@pytest.mark.parametrize(("wait", "expected"), [(0, 5), (3, 5), (60, 60)])
def test_a_receiver_may_ask_for_a_longer_wait_only(wait: float, expected: float) -> None:
    due_at = DEFAULT_POLICY.next_attempt(FAILED[0], now=100, retry_after=wait, random=0.5)
    assert due_at == 100 + expected


def test_a_message_that_waited_for_days_behind_others_is_tried_once() -> None:
    old = DEFAULT_POLICY.max_age
    assert DEFAULT_POLICY.next_attempt(FAILED[0], now=old, retry_after=0, random=0.5) is None
    assert DEFAULT_POLICY.next_attempt(FAILED[0], now=old - 9, retry_after=0, random=0.5)
