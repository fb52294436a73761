"""Signatures: the package ``standardwebhooks`` is the oracle in both directions."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudburst.errors import ConfigurationError, WebhookVerificationError
from cloudburst.jobs.webhooks.signature import decode_secrets, signed_headers, verify_webhook

# All characters of UTF-8. Hypothesis would try each of a million to find them: 2 s.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.dictionaries(
    TEXT,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | TEXT,
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=5,
    ),
    max_size=5,
)
KEYS = st.binary(min_size=24, max_size=64)
IDS = st.uuids().map(lambda uuid: f"msg_{uuid.hex}")


def secret_of(key: bytes, prefix: str = "whsec_") -> str:
    return prefix + base64.b64encode(key).decode()


SECRET, OTHER = secret_of(b"1" * 32), secret_of(b"2" * 32)


def signed(
    body: bytes, secrets: str | list[str] = SECRET, *, age: float = 0.0, message: str = "msg_1"
) -> dict[str, str]:
    keys = decode_secrets(secrets)
    return signed_headers(body, message=message, timestamp=int(time.time() - age), keys=keys)


@settings(max_examples=10)
@given(payload=JSON, key=KEYS, message=IDS)
def test_the_oracle_accepts_our_messages(payload: dict[str, Any], key: bytes, message: str) -> None:
    body = json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace")
    headers = signed(body, secret_of(key), message=message)
    assert standardwebhooks.Webhook(secret_of(key)).verify(body, headers) == json.loads(body)


@settings(max_examples=30)
@given(payload=JSON, key=KEYS, message=IDS)
def test_we_accept_messages_of_the_oracle(
    payload: dict[str, Any], key: bytes, message: str
) -> None:
    body = json.dumps(payload)
    now = datetime.now(tz=UTC)
    headers = {
        "Webhook-Id": message,
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": standardwebhooks.Webhook(secret_of(key)).sign(message, now, body),
    }
    assert verify_webhook(body.encode(), headers, secret_of(key)) == payload


def test_the_example_of_the_specification() -> None:
    """The body, id and time of spec/standard-webhooks.md, with its first signature."""
    body = (
        b'{"type":"contact.created","timestamp":"2022-11-03T20:26:10.344522Z",'
        b'"data":{"id":"1f81eb52-5198-4599-803e-771906343485"}}'
    )
    headers = signed_headers(
        body, message="msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", timestamp=1674087231, keys=[b"k" * 24]
    )
    assert list(headers) == ["webhook-id", "webhook-timestamp", "webhook-signature"]
    age = time.time() - 1674087231
    assert verify_webhook(body, headers, secret_of(b"k" * 24), tolerance=age + 60)["data"]


def test_a_rotation_needs_no_moment_at_which_both_sides_change() -> None:
    body = b"{}"
    headers = signed(body, [OTHER, SECRET])
    assert headers["webhook-signature"].count("v1,") == 2
    for accepted in (SECRET, OTHER, [SECRET, OTHER]):
        assert verify_webhook(body, headers, accepted) == {}
        standardwebhooks.Webhook(OTHER).verify(body, headers)
        standardwebhooks.Webhook(SECRET).verify(body, headers)
    assert verify_webhook(body, signed(body, SECRET), [OTHER, SECRET]) == {}


BODY = b'{"type":"job.finished"}'
Change = Mapping[str, str | Callable[[str], str] | None]
"""New values of headers, functions that make them of valid ones, or ``None`` to leave them out."""


@pytest.mark.parametrize(
    ("body", "change", "reason"),
    [
        (BODY + b" ", {}, "no signature matches"),
        (b"", {}, "no signature matches"),
        (BODY, {"webhook-id": "msg_2"}, "no signature matches"),
        (BODY, {"webhook-timestamp": lambda valid: str(int(valid) + 1)}, "no signature matches"),
        (BODY, {"webhook-signature": ""}, "no signature matches"),
        (BODY, {"webhook-signature": "v1,"}, "no signature matches"),
        (BODY, {"webhook-signature": "v1,é\ud800"}, "no signature matches"),
        (BODY, {"webhook-signature": lambda valid: valid[3:]}, "no signature matches"),
        (BODY, {"webhook-signature": lambda valid: "v1a" + valid[2:]}, "no signature"),
        (BODY, {"webhook-signature": " v1,x" * 10_000}, "no signature matches"),
        (BODY, {"webhook-signature": None}, "webhook-signature is missing"),
        (BODY, {"webhook-id": None}, "webhook-id is missing"),
        (BODY, {"webhook-timestamp": None}, "webhook-timestamp is missing"),
        (BODY, {"webhook-id": "msg.1"}, "not valid"),
        (BODY, {"webhook-id": ""}, "not valid"),
        (BODY, {"webhook-timestamp": "1e9"}, "not valid"),
        (BODY, {"webhook-timestamp": "٣"}, "not valid"),
        (BODY, {"webhook-timestamp": "9" * 5000}, "not valid"),
        (BODY, {"webhook-timestamp": "nan"}, "not valid"),
    ],
)
def test_what_is_refused(body: bytes, change: Change, reason: str) -> None:
    headers = signed(BODY)  # now: a signature that was made when tests were collected may be old
    for name, value in change.items():
        if value is None:
            del headers[name]
        else:
            headers[name] = value(headers[name]) if callable(value) else value
    with pytest.raises(WebhookVerificationError, match=reason) as caught:
        verify_webhook(body, headers, SECRET)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("age", "reason"), [(302, r"30\d s old; expected at most 300 s"), (-302, r"s in the future")]
)
def test_old_and_early_messages_are_refused(age: float, reason: str) -> None:
    with pytest.raises(WebhookVerificationError, match=reason):
        verify_webhook(BODY, signed(BODY, age=age), SECRET)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(SECRET).verify(BODY, signed(BODY, age=age))
    assert verify_webhook(BODY, signed(BODY, age=age), SECRET, tolerance=600)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_a_signed_body_that_is_no_object(body: bytes) -> None:
    with pytest.raises(WebhookVerificationError, match="JSON"):
        verify_webhook(body, signed(body), SECRET)


@pytest.mark.parametrize(
    "secrets",
    [
        [],
        "",
        "whsec_",
        "MTExMTExMTExMTExMTExMTExMTExMTEx",
        secret_of(b"1" * 23),
        secret_of(b"1" * 65),
        "whsec_" + "!" * 44,
        SECRET + "\n",
        "whsec_" + "MTEx MTEx" * 5,
        [SECRET, None],
        [SECRET] * 9,
        secret_of(b"1" * 32, "whsk_"),
    ],
)
def test_secrets_that_are_not_valid(secrets: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected") as caught:
        decode_secrets(secrets)
    assert "MTEx" not in str(caught.value)
    with pytest.raises(ConfigurationError):
        verify_webhook(BODY, signed(BODY), secrets)


@pytest.mark.parametrize("size", [24, 25, 26, 64])
def test_secrets_may_lack_the_padding(size: int) -> None:
    key = b"1" * size
    assert decode_secrets(secret_of(key)) == decode_secrets(secret_of(key).rstrip("=")) == (key,)
