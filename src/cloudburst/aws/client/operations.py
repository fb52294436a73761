"""Operations of AWS that a client may repeat after a call without an answer."""

from __future__ import annotations

MAX_ATTEMPTS = 4
"""Maximum number of times that one call is sent, if it may be repeated."""

_SENT_ONCE = frozenset({"run_task", "stop_task"})
"""Operations that the client sends only once, because their callers repeat them with deadlines of
their own."""
_READ_ONLY = ("assume_role", "describe_", "filter_", "get_", "head_", "list_", "simulate_")
"""Prefixes of the names of operations that change nothing, so that they may be repeated even if AWS
has already carried them out."""
_IDEMPOTENT = frozenset({"abort_multipart_upload", "delete_object", "put_object"})
"""Operations that change the same if AWS carries them out twice. With a condition such as
``If-None-Match``, the second request is refused although the first one has succeeded: the caller
has to read the object then."""


def max_attempts(operation: str) -> int:
    """Return the maximum number of times that a call of an operation is sent."""
    return 1 if operation in _SENT_ONCE else MAX_ATTEMPTS


def is_repeatable(operation: str) -> bool:
    """Return whether a call without an answer may be sent again."""
    return operation.startswith(_READ_ONLY) or operation in _IDEMPOTENT
