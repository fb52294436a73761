"""Payloads of messages for webhooks."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from cloudburst.jobs import Job, JobCost, JobEvent, JobState
from cloudburst.jobs.event_log import MAX_PAYLOAD_BYTES, message_payload

TIME = datetime.fromtimestamp(1_790_000_000.25, UTC)


def payload(*, data: dict[str, Any] | None = None, **changes: Any) -> str:
    event = JobEvent(number=7, time=TIME, type="scene.completed", data=data or {"scene": "s1"})
    values: dict[str, Any] = {
        "metadata": {"user": 42},
        "cost": JobCost(usd=Decimal("0.0123"), final=False),
    }
    job = Job(
        id="a" * 32,
        owner="ada",
        state=JobState.RUNNING,
        created_at=TIME,
        scenes=1,
        **values | changes,
    )
    return message_payload(event, job, {"self": "https://api.example/jobs/a"})


def test_what_a_receiver_gets() -> None:
    assert json.loads(payload()) == {
        "type": "scene.completed",
        "timestamp": "2026-09-21T14:13:20.250Z",
        "data": {
            "job": "a" * 32,
            "number": 7,
            "state": "running",
            "open": False,
            "metadata": {"user": 42},
            "cost": {"usd": "0.0123", "final": False},
            "links": {"self": "https://api.example/jobs/a"},
            "event": {"scene": "s1"},
        },
    }
    assert json.loads(payload(cost=None))["data"]["cost"] is None


def test_a_large_event_is_left_out() -> None:
    data = json.loads(payload(data={"message": "x" * MAX_PAYLOAD_BYTES}))["data"]
    assert data["event"] is None
    assert data["metadata"] == {"user": 42}
    assert json.loads(payload(data={"message": "x" * 200_000}))["data"]["event"]


def test_every_text_can_be_sent() -> None:
    text = payload(data={"message": "剧场 \ud83c"})
    assert text.encode("ascii")
    assert json.loads(text)["data"]["event"] == {"message": "剧场 \ud83c"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        payload(data={"progress": float("nan")})
