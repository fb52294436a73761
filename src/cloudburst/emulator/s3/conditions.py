"""Conditions of requests to S3: ``If-Match`` and ``If-None-Match``."""

from __future__ import annotations

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.s3.objects import StoredObject
from cloudburst.emulator.s3.requests import S3Request, not_implemented


def check_conditions(request: S3Request, current: StoredObject | None) -> None:
    """Check ``If-None-Match`` and ``If-Match`` of a request that writes or deletes an object.

    Args:
        request: The request.
        current: The current object of the key; ``None`` if there is none.

    Raises:
        ApiError: A condition does not hold.
    """
    wanted, unwanted = (request.headers.get(n) for n in ("if-match", "if-none-match"))
    if unwanted is not None:
        if unwanted != "*":
            raise not_implemented("If-None-Match with an ETag")
        if current is not None:
            raise failed_condition("If-None-Match")
    if wanted is not None:
        if current is None:
            raise ApiError("NoSuchKey", "The specified key does not exist.", status=404)
        if wanted.strip('"') not in {"*", current.etag.strip('"')}:
            raise failed_condition("If-Match")


def failed_condition(name: str) -> ApiError:
    """Return the error for a condition that does not hold."""
    message = "At least one of the pre-conditions you specified did not hold"
    return ApiError("PreconditionFailed", message, status=412, more={"Condition": name})
