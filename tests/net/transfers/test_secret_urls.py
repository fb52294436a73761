"""Errors of transfers do not keep the query of a presigned URL, not even in tracebacks."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from cloudburst.models.transfers import FetchRequest, PutPart
from cloudburst.net.session import TRUSTED_URLS, open_session
from cloudburst.net.transfers.errors import TransferError
from cloudburst.net.transfers.fetch import fetch
from cloudburst.net.transfers.put import put_part
from cloudburst.net.transfers.requests import TransferPolicy
from support.error_chains import places_of
from support.hostile_servers import (
    answer,
    cut_after_request,
    cut_in_body,
    cut_in_head,
    error,
    no_http,
    serving,
    silent_body,
    silent_head,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

SECRETS = ("the-signature", "the-token")
HASTY = TransferPolicy(connect_timeout=1, answer_timeout=0.3, pace_window=0.3, total_timeout=5)


async def echo(peer):
    """Answer with the first line of the request, which is no HTTP."""
    await peer.send(peer.head.partition(b"\r\n")[0] + b"\r\n\r\n")


ANSWERS = {
    "refused": error(403, "AccessDenied", "no"),
    "cut": cut_after_request,
    "cut in the head": cut_in_head,
    "cut in the body": cut_in_body,
    "no HTTP": no_http,
    "silent": silent_head,
    "silent later": silent_body,
    "echo": echo,
    "no ETag": answer(body=b""),
}


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def read_block(_, size):
    return bytes(size)


async def write(_):
    raise AssertionError("nothing arrives")


def presigned(port):
    return SecretStr(f"http://127.0.0.1:{port}/o?X-Amz-Signature=the-signature&Token=the-token")


async def get(url, client):
    request = FetchRequest(url=url, size=7, max_bytes=10, public_only=False)
    await fetch(request, write, client=client, policy=HASTY)


async def put(url, client):
    part = PutPart(url=url, size=1 << 20)
    await put_part(part, read_block, client=client, progress=lambda _: None, policy=HASTY)


@pytest.mark.parametrize("transfer", [get, put])
@pytest.mark.parametrize("kind", ANSWERS)
async def test_no_error_shows_the_query(kind, transfer):
    async with (
        serving(ANSWERS[kind], None) as server,
        open_session(TRUSTED_URLS) as client,
    ):
        with pytest.raises(TransferError) as caught:
            await transfer(presigned(server.port), client)
    assert b"the-signature" in server.heads[0]
    assert places_of(SECRETS, caught.value) == []


async def test_no_error_shows_the_query_without_a_connection():
    async with open_session(TRUSTED_URLS) as client:
        with pytest.raises(TransferError) as caught:
            await get(presigned(1), client)
    assert places_of(SECRETS, caught.value) == []
