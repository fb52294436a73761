"""Stores with the API of S3 that answer what S3 never answers."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import pytest

from cloudburst.aws.client import client
from cloudburst.aws.client.client import open_aws
from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.errors import NoAnswerError
from cloudburst.models.locations import S3Object, S3Prefix
from cloudburst.models.settings import Settings
from support.hostile_servers import Peer, serving
from support.short_waits import repeat_quickly

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

OBJECT, FOLDER = S3Object("bucket", "out/one"), S3Prefix("bucket", "out/")
HEAD = b"HTTP/1.1 200 OK\r\nDate: Fri, 27 Nov 2026 01:00:00 GMT\r\n"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def quick_repeats(monkeypatch):
    repeat_quickly(monkeypatch)


def is_about_bucket(peer: Peer) -> bool:
    return peer.head.startswith(b"HEAD /bucket HTTP")


@asynccontextmanager
async def odd_store(answer):
    """Yield access to a store whose answer to each request, except for HEAD bucket, is made."""

    async def handle(peer):
        if is_about_bucket(peer):
            await peer.send(HEAD + b"Content-Length: 0\r\n\r\n")
        else:
            await answer(peer)

    async with serving(handle, None) as server:
        settings = Settings(
            AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE",
            AWS_SECRET_ACCESS_KEY="a1b2c3d4e5",
            AWS_REGION="us-east-1",
            AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{server.port}",
        )
        async with open_aws(settings) as aws:
            yield ObjectStore(aws, settings)


async def test_a_store_that_never_says_continue(monkeypatch):
    """The client sends the body at once."""
    monkeypatch.setattr(client, "CALL_TIMEOUT", 5.0)
    bodies = []

    async def answer(peer):
        bodies.append(await peer.read_body())
        await peer.send(HEAD + b'ETag: "e"\r\nContent-Length: 0\r\n\r\n')

    async with odd_store(answer) as store:
        with anyio.fail_after(30):
            await store.put_small(OBJECT, b"data")
    assert bodies == [b"data"]


COMPLETE = "<IsTruncated>false</IsTruncated>"


def listing(*keys, rest=COMPLETE):
    entries = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys)
    return f"<ListBucketResult>{rest}{entries}</ListBucketResult>"


NO_LISTS = {
    "nothing": "",
    "a page without a type": "<html><body>sign in</body></html>",
    "no end": listing("out/one", rest=""),
    "entries without keys": listing().replace(
        "</List", "<Contents><Size>1</Size></Contents></List"
    ),
}


@pytest.mark.parametrize("kind", NO_LISTS)
async def test_what_is_not_the_list_that_was_asked_for(kind):
    """An incomplete list would hide videos of other runs."""

    async def answer(peer):
        body = NO_LISTS[kind].encode()
        await peer.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async with odd_store(answer) as store:
        with pytest.raises(NoAnswerError):
            await store.list_folder(FOLDER)


async def test_a_list_that_is_complete():
    async def answer(peer):
        body = listing("out/one", "out/two").encode()
        await peer.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async with odd_store(answer) as store:
        found = await store.list_folder(FOLDER)
    assert [one.key for one in found] == ["out/one", "out/two"]
