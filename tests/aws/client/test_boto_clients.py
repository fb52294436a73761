"""Responses of AWS that break off while they are read, and the hosts of presigned URLs."""

from __future__ import annotations

import anyio
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from cloudburst.aws.client.boto_clients import HTTPSession
from cloudburst.aws.client.client import open_aws
from cloudburst.models.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.real]

CONNECTIONS = 2
WHOLE = b'{"taskArns": []}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Stalling:
    """A server whose answers stop within their body until it is `well`."""

    well = False

    async def answer(self, stream):
        async with stream:
            while True:
                try:
                    await stream.receive()
                    await stream.send(HEAD % len(WHOLE) + (WHOLE if self.well else WHOLE[:5]))
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return


@pytest.mark.parametrize("cut", ["read timeout", "cancelled"])
async def test_a_body_that_stalls_keeps_no_connection(cut):
    server, quick = Stalling(), cut == "read timeout"
    config = AioConfig(
        read_timeout=0.1 if quick else 30,
        max_pool_connections=CONNECTIONS,
        http_session_cls=HTTPSession,
        retries={"mode": "standard", "total_max_attempts": 1},
        proxies={},
    )
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, server.answer)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with get_session().create_client(
            "ecs",
            region_name="eu-central-1",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id="key",
            aws_secret_access_key="a1b2c3d4e5",
            config=config,
        ) as ecs:
            for _ in range(2 * CONNECTIONS):
                with anyio.move_on_after(30 if quick else 0.3) as scope:
                    with pytest.raises(Exception) if quick else anyio.CancelScope():
                        await ecs.list_tasks()
                assert scope.cancelled_caught is not quick
            server.well = True
            with anyio.fail_after(30):
                assert (await ecs.list_tasks())["taskArns"] == []
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("region", "bucket", "where"),
    [
        ("eu-west-1", "films", "films.s3.eu-west-1.amazonaws.com/a"),  # new buckets, too
        (
            "eu-south-1",
            "films",
            "films.s3.eu-south-1.amazonaws.com/a",
        ),  # not at the global endpoint
        ("eu-west-1", "films.example.com", "s3.eu-west-1.amazonaws.com/films.example.com/a"),
        ("cn-north-1", "films", "films.s3.cn-north-1.amazonaws.com.cn/a"),
        ("us-gov-west-1", "films", "films.s3.us-gov-west-1.amazonaws.com/a"),
        ("us-east-1", "ap-x-s3alias", "ap-x-s3alias.s3.amazonaws.com/a"),
    ],
)
async def test_a_url_leads_to_the_region_of_the_bucket(region, bucket, where):
    settings = Settings(access_key_id="key", secret_access_key="a1b2c3d4e5", region="us-east-1")
    async with open_aws(settings) as aws:
        url = await aws.presign(
            "s3", "get_object", in_region=region, max_seconds=60, Bucket=bucket, Key="a"
        )
    assert url.startswith(f"https://{where}?")
    assert f"%2F{region}%2Fs3%2Faws4_request" in url


async def test_a_url_for_another_store_leads_to_its_endpoint():
    settings = Settings(
        access_key_id="key",
        secret_access_key="a1b2c3d4e5",
        region="eu-west-1",
        s3_endpoint_url="https://store.example:9000",
    )
    async with open_aws(settings) as aws:
        url = await aws.presign("s3", "put_object", max_seconds=60, Bucket="films", Key="a")
    assert url.startswith("https://store.example:9000/films/a?")
