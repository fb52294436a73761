"""Writes and deletions in S3 that are finished despite a cancellation, without a network."""

import anyio
import pytest

from cloudburst.aws.s3 import request_waits as uncancelled
from cloudburst.aws.s3.request_waits import finish_delete, finish_write
from cloudburst.errors import (
    AccessDeniedError,
    NoAnswerError,
    ResourceMissingError,
)
from cloudburst.models.locations import S3Object

pytestmark = pytest.mark.anyio

OBJECT = S3Object("bucket", "folder/one.mp4")


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    monkeypatch.setattr(uncancelled, "DELETE_TIMEOUT", 0.1)


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
