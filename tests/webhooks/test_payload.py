"""Payloads of messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cloudburst.webhooks.payload import MAX_PAYLOAD_BYTES, message_payload


def payload(**changes: Any) -> str:
    values: dict[str, Any] = {
        "event_type": "scene.completed",
        "time": 1_790_000_000.25,
        "job": "a" * 32,
        "event_number": 7,
        "metadata": {"user": 42},
        "state": "running",
        "cost": {"usd": "0.0123", "final": False},
        "links": {"self": "https://api.example/jobs/a"},
        "event": {"scene": "s1"},
    }
    return message_payload(**values | changes)


def test_what_a_receiver_gets() -> None:
    assert json.loads(payload()) == {
        "type": "scene.completed",
        "timestamp": "2026-09-21T14:13:20.250Z",
        "data": {
            "job": "a" * 32,
            "number": 7,
            "state": "running",
            "metadata": {"user": 42},
            "cost": {"usd": "0.0123", "final": False},
            "links": {"self": "https://api.example/jobs/a"},
            "event": {"scene": "s1"},
        },
    }
    assert json.loads(payload(cost=None))["data"]["cost"] is None


def test_a_large_event_is_left_out() -> None:
    data = json.loads(payload(event={"message": "x" * MAX_PAYLOAD_BYTES}))["data"]
    assert data["event"] is None
    assert data["metadata"] == {"user": 42}
    assert json.loads(payload(event={"message": "x" * 200_000}))["data"]["event"]
    with pytest.raises(ValueError, match="expected at most 262144"):
        payload(metadata={"m": "x" * MAX_PAYLOAD_BYTES})


def test_every_text_can_be_sent() -> None:
    text = payload(event={"message": "剧场 \ud83c"})
    assert text.encode("ascii")
    assert json.loads(text)["data"]["event"] == {"message": "剧场 \ud83c"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        payload(event={"progress": float("nan")})
