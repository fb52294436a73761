"""Errors of AWS keep neither signatures nor tokens, not even in the tracebacks of their causes."""

from __future__ import annotations

import pytest

from cloudburst.aws.client import client
from cloudburst.aws.client.client import open_aws
from cloudburst.errors import CloudburstError
from cloudburst.models.settings import Settings
from support.error_chains import places_of
from support.hostile_servers import Peer, answer, cut_after_request, error, serving, silent_head

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

KEY = {
    "AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "the-secret-access-key",
    "AWS_SESSION_TOKEN": "the-session-token",
}
SECRETS = ("the-secret-access-key", "the-session-token", "Signature=")


async def cut_after_head(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<Error>")
    peer.reset()


ANSWERS = {
    "denied": error(403, "AccessDenied", "no"),
    "busy": error(503, "SlowDown", "no"),
    "cut": cut_after_request,
    "cut in the body": cut_after_head,
    "silent": silent_head,
    "no HTTP": answer(b"no HTTP\r\n", b""),
    "no XML": answer(body=b"<"),
    "wrong values": answer(body=b"<R><IsTruncated>true</IsTruncated><KeyCount>many</KeyCount></R>"),
}


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.parametrize("kind", ANSWERS)
async def test_errors_of_calls(kind, monkeypatch):
    monkeypatch.setattr(client, "MAX_ATTEMPTS", 1)
    monkeypatch.setattr(client, "CALL_TIMEOUT", 1.0)
    async with serving(ANSWERS[kind], None) as server:
        settings = Settings(
            **KEY, AWS_REGION="us-east-1", AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{server.port}"
        )
        async with open_aws(settings) as aws:
            with pytest.raises(CloudburstError) as caught:
                await aws.call("s3", "list_objects_v2", Bucket="bucket")
    assert b"the-session-token" in server.heads[0]
    assert caught.value.__cause__ is not None
    assert places_of(SECRETS, caught.value) == []


async def test_errors_of_credentials():
    settings = Settings(**{**KEY, "AWS_ACCESS_KEY_ID": ""}, AWS_REGION="us-east-1")
    with pytest.raises(CloudburstError) as caught:
        async with open_aws(settings):
            pass
    assert places_of(SECRETS, caught.value) == []
