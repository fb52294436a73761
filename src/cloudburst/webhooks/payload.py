"""Payloads of webhook messages. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

MAX_PAYLOAD_BYTES = 256 * 1024
"""Maximum size of a payload, in bytes."""


def message_payload(
    *,
    event_type: str,
    time: float,
    job: str,
    event_number: int,
    metadata: Mapping[str, Any],
    state: str,
    cost: Mapping[str, Any] | None,
    links: Mapping[str, str],
    event: Mapping[str, Any],
) -> str:
    """Return the JSON that is sent for an event of a job.

    If it would be too large, ``event`` is null; the receiver can read the event from the job.

    Args:
        event_type: Type of the event.
        time: Time of the event, in seconds since the epoch.
        job: Id of the job.
        event_number: Number of the event within its job.
        metadata: Metadata of the job.
        state: State of the job at the time of the event.
        cost: Bill of the job so far; ``None`` if nothing is billed.
        links: URLs of the job.
        event: Other fields of the event.

    Raises:
        ValueError: A value is no JSON, or the other values are too large already.
    """
    data = {
        "job": job,
        "number": event_number,
        "state": state,
        "metadata": dict(metadata),
        "cost": None if cost is None else dict(cost),
        "links": dict(links),
        "event": dict(event),
    }
    when = datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")
    payload = {"type": event_type, "timestamp": when.replace("+00:00", "Z"), "data": data}
    text = _dump(payload)
    if len(text) > MAX_PAYLOAD_BYTES:
        data["event"] = None
        text = _dump(payload)
    if len(text) > MAX_PAYLOAD_BYTES:
        msg = f"the payload has {len(text)} bytes; expected at most {MAX_PAYLOAD_BYTES}"
        raise ValueError(msg)
    return text


def _dump(payload: Mapping[str, Any]) -> str:
    # ASCII: a text of a caller may contain half of a surrogate pair, which UTF-8 cannot encode.
    return json.dumps(payload, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
