"""Requests to S3: waits while it is busy, and writes and deletions despite a cancellation."""

from __future__ import annotations

from types import SimpleNamespace

import anyio
import pytest

from cloudburst.aws.s3 import request_waits
from cloudburst.aws.s3.request_waits import RequestWaits, finish_delete, finish_write
from cloudburst.errors import (
    AccessDeniedError,
    CredentialsError,
    NoAnswerError,
    ResourceMissingError,
    ThrottledError,
)
from cloudburst.models.limits import Backoff
from cloudburst.models.locations import S3Object

pytestmark = pytest.mark.anyio

OBJECT = S3Object("bucket", "folder/one.mp4")
STORE = SimpleNamespace(aws=SimpleNamespace(renews_credentials=True))


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    monkeypatch.setattr(request_waits, "TRANSFER_BACKOFF", Backoff(first=0.01, cap=0.01))
    monkeypatch.setattr(request_waits, "TRANSFER_TIMEOUT", 0.05)
    monkeypatch.setattr(request_waits, "DELETE_TIMEOUT", 0.1)


async def test_a_busy_store_has_its_time_after_a_wait_for_credentials():
    signed_in_at = anyio.current_time() + 0.1
    failures = [ThrottledError("busy")]

    async def call():
        if anyio.current_time() < signed_in_at:
            raise CredentialsError("expired")
        if failures:
            raise failures.pop()
        return "done"

    waits = RequestWaits()
    assert await waits.repeat(STORE, call) == "done"
    assert not waits.refused


async def test_a_store_that_stays_busy_is_given_up():
    async def call():
        raise ThrottledError("busy")

    with anyio.fail_after(30), pytest.raises(ThrottledError):
        await RequestWaits().repeat(STORE, call)


async def warnings_of(error):
    """Return the warnings of a deletion that fails in this way."""
    warnings = []

    async def delete():
        raise error

    await finish_delete(delete, warn=warnings.append)
    return warnings


async def test_a_delete_of_nothing_succeeds():
    assert not await warnings_of(ResourceMissingError("gone"))


async def test_a_refused_deletion_is_reported():
    assert await warnings_of(AccessDeniedError("denied")) == ["denied"]


async def test_a_deletion_without_an_answer_is_given_up():
    warnings = []
    await finish_delete(anyio.sleep_forever, warn=warnings.append)
    assert warnings == ["no answer within 0.1 s"]


async def test_a_deletion_is_finished_in_a_cancelled_scope():
    finished = []

    async def delete():
        await anyio.sleep(0.01)
        finished.append(True)

    with anyio.CancelScope() as scope:
        scope.cancel()
        await finish_delete(delete, warn=pytest.fail)
    assert finished


async def test_a_write_without_an_answer_is_an_error():
    with pytest.raises(NoAnswerError, match=r"s3://bucket/folder/one.mp4: no answer within 0.05 s"):
        await finish_write(anyio.sleep_forever, OBJECT, seconds=0.05)
