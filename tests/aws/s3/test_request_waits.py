"""Waits of a run for a busy S3 and for credentials."""

from __future__ import annotations

from types import SimpleNamespace

import anyio
import pytest

from cloudburst.aws.s3 import request_waits
from cloudburst.aws.s3.request_waits import RequestWaits
from cloudburst.errors import CredentialsError, ThrottledError
from cloudburst.models.limits import Backoff

pytestmark = pytest.mark.anyio

STORE = SimpleNamespace(aws=SimpleNamespace(renews_credentials=True))


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    monkeypatch.setattr(request_waits, "TRANSFER_BACKOFF", Backoff(first=0.01, cap=0.01))
    monkeypatch.setattr(request_waits, "TRANSFER_TIMEOUT", 0.05)


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
