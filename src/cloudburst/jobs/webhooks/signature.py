"""Signatures of webhook messages: signing, and verification by receivers. No I/O.

The scheme is ``v1`` of Standard Webhooks 1.0
(https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md, 2026-11).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from cloudburst.errors import ConfigurationError, WebhookVerificationError

SECRET_PREFIX = "whsec_"  # noqa: S105 - it is not secret
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
"""Limits of the length of a secret, in bytes, in the specification."""
MAX_SECRETS = 8
"""Maximum number of secrets of one webhook: during a rotation, there are two."""
MAX_SIGNATURES = 64
"""Maximum number of signatures of one message that are compared."""
TOLERANCE_SECONDS = 300.0
"""Default difference between the clocks of sender and receiver. Older messages are refused, so that
a request that was recorded cannot be repeated later."""

_ID = re.compile(r"[!-\-/-~]{1,256}")
"""Pattern of a message id. A full stop would allow other boundaries between id, time and body."""
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_EXPECTED_SECRET = (
    f"expected {SECRET_PREFIX} and {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes in base64, "
    f'such as the output of: echo "{SECRET_PREFIX}$(openssl rand -base64 32)"'
)


def decode_secrets(secrets: str | Sequence[str]) -> tuple[bytes, ...]:
    """Return the keys in secrets that are written as ``whsec_…``.

    Raises `ConfigurationError` for a secret that is not valid, without showing it.
    """
    listed = [secrets] if isinstance(secrets, str) else list(secrets)
    if not 1 <= len(listed) <= MAX_SECRETS:
        msg = f"{len(listed)} secrets; expected 1 to {MAX_SECRETS} secrets of a webhook"
        raise ConfigurationError(msg)
    return tuple(_decode(secret, number) for number, secret in enumerate(listed, 1))


def signed_headers(
    body: bytes, *, message: str, timestamp: int, keys: Sequence[bytes]
) -> dict[str, str]:
    """Return the headers that identify and sign a message.

    Args:
        body: Body of the request.
        message: Id of the message, which is the same for every attempt.
        timestamp: Time of the attempt, in seconds since the epoch.
        keys: Keys of `decode_secrets`; each makes one signature.
    """
    signatures = [_signature(body, message, str(timestamp), key) for key in keys]
    return {
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def verify_webhook(
    body: bytes,
    headers: Mapping[str, str],
    secrets: str | Sequence[str],
    *,
    tolerance: float = TOLERANCE_SECONDS,
) -> dict[str, Any]:
    """Return the payload of a webhook message, after its signature and its time were checked.

    A message may arrive more than once; the header ``webhook-id`` is then the same.

    Args:
        body: Body of the request, exactly as it was received.
        headers: Headers of the request; upper and lower case do not matter.
        secrets: Secret of the webhook. While secrets are rotated, the list of the old and the new
            one; any of them is accepted.
        tolerance: Maximum difference between the time of the message and now, in seconds.

    Raises:
        WebhookVerificationError: The request is not a valid message: answer it with status 400.
        ConfigurationError: A secret is not valid.
    """
    keys = decode_secrets(secrets)
    lower = {name.lower(): value for name, value in headers.items()}
    message, timestamp, signatures = (
        _header(lower, name) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    )
    if not _ID.fullmatch(message) or not _TIMESTAMP.fullmatch(timestamp):
        raise _refusal("the header webhook-id or webhook-timestamp is not valid")
    age = time.time() - int(timestamp)
    if not -tolerance <= age <= tolerance:
        when = f"{abs(age):.0f} s {'old' if age > 0 else 'in the future'}"
        raise _refusal(f"it is {when}; expected at most {tolerance:g} s. Compare the clocks")
    found = [text.encode("utf-8", "replace") for text in signatures.split(" ", MAX_SIGNATURES)]
    valid = [_signature(body, message, timestamp, key).encode("ascii") for key in keys]
    if not any(hmac.compare_digest(mine, other) for mine in valid for other in found):
        raise _refusal("no signature matches its body and the secret")
    try:
        payload: object = json.loads(body)
    except (ValueError, RecursionError):
        raise _refusal("its body is not valid JSON") from None
    if not isinstance(payload, dict):
        raise _refusal("its body is not a JSON object")
    return cast("dict[str, Any]", payload)


def _decode(secret: object, number: int) -> bytes:
    key = b""
    if isinstance(secret, str) and secret.startswith(SECRET_PREFIX):
        text = secret[len(SECRET_PREFIX) :].rstrip("=")
        try:
            key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except ValueError:
            key = b""
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        msg = f"secret {number} of a webhook is not valid; {_EXPECTED_SECRET}"
        raise ConfigurationError(msg)
    return key


def _signature(body: bytes, message: str, timestamp: str, key: bytes) -> str:
    signed = b".".join((message.encode("ascii"), timestamp.encode("ascii"), body))
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode('ascii')}"


def _header(headers: Mapping[str, object], name: str) -> str:
    value = headers.get(name)
    if not isinstance(value, str):
        raise _refusal(f"the header {name} is missing")
    return value


def _refusal(reason: str) -> WebhookVerificationError:
    return WebhookVerificationError(f"the request is not a valid webhook message: {reason}")
