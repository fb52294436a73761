"""Writes and deletions in S3 that are finished despite a cancellation, without a network."""

import anyio
import pytest

from cloudburst.aws.s3 import uncancelled
from cloudburst.aws.s3.uncancelled import finish_delete, finish_write
from cloudburst.errors import (
    AccessDeniedError,
    NoAnswerError,
    ResourceMissingError,
    ThrottledError,
)
from cloudburst.models.limits import Backoff
from cloudburst.models.locations import S3Object

pytestmark = pytest.mark.anyio

OBJECT = S3Object("bucket", "folder/one.mp4")


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    monkeypatch.setattr(uncancelled, "DELETE_BACKOFF", Backoff(first=0.001, factor=1.0, cap=0.001))
    monkeypatch.setattr(uncancelled, "DELETE_TIMEOUT", 0.1)


async def warnings_of(*errors):
    """Return the warnings of a deletion whose requests fail in this way, and then succeed."""
    left, warnings = list(errors), []

    async def delete():
        if left:
            raise left.pop(0)

    await finish_delete(delete, OBJECT, warn=warnings.append)
    assert not left
    return warnings


async def test_a_deletion_is_repeated_while_s3_is_busy():
    assert not await warnings_of(ThrottledError("busy"), NoAnswerError("none"))


async def test_nothing_to_delete_is_no_failure():
    assert not await warnings_of(ResourceMissingError("gone"))


async def test_a_refused_deletion_is_reported_and_not_repeated():
    assert await warnings_of(AccessDeniedError("denied")) == ["denied"]


async def test_a_deletion_without_an_answer_is_given_up():
    warnings = []
    await finish_delete(anyio.sleep_forever, OBJECT, warn=warnings.append)
    assert warnings == ["no answer within 0.1 s"]


async def test_a_deletion_is_finished_in_a_cancelled_scope():
    finished = []

    async def delete():
        await anyio.sleep(0.01)
        finished.append(True)

    with anyio.CancelScope() as scope:
        scope.cancel()
        await finish_delete(delete, OBJECT, warn=pytest.fail)
    assert finished


async def test_a_write_without_an_answer_is_an_error():
    with pytest.raises(NoAnswerError, match=r"s3://bucket/folder/one.mp4: no answer within 0.05 s"):
        await finish_write(anyio.sleep_forever, OBJECT, seconds=0.05)
