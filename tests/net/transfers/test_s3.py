"""Transfers with signed URLs of an emulated S3, which checks signatures and conditions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cloudburst.aws.s3.remote_files import S3RemoteFiles
from cloudburst.models.transfers import FetchRequest, PutPart
from cloudburst.net.session import TRUSTED_URLS, open_session
from cloudburst.net.transfers.errors import TransferError
from cloudburst.net.transfers.fetch import Fetched, fetch
from cloudburst.net.transfers.put import put_part
from cloudburst.net.transfers.requests import TransferPolicy
from cloudburst.testing import FargateEmulator, s3_fault
from support.s3_account import account, content, obj, open_store, put, sha256

pytestmark = pytest.mark.anyio

VIDEO = bytes(range(256)) * 2000
POLICY = TransferPolicy(connect_timeout=2.0, answer_timeout=2.0, pace_window=1.0)
IN, OUT = obj("in/a b+ä&=%2F.png"), obj("out/ä b+c.mp4")


@pytest.fixture(scope="module")
def emulator() -> Generator[FargateEmulator]:
    with account() as running:
        yield running


class Worker:
    """Makes transfers as the service does."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def fetch(self, request: FetchRequest) -> tuple[Fetched, bytes]:
        received = bytearray()

        async def write(block: bytes) -> None:
            received.extend(block)

        found = await fetch(request, write, client=self._client, policy=POLICY)
        return found, bytes(received)

    async def put(self, part: PutPart) -> str:
        async def read_block(offset: int, size: int) -> bytes:
            return VIDEO[offset : offset + size]

        def ignore(_: int) -> None:
            pass

        return await put_part(part, read_block, client=self._client, progress=ignore, policy=POLICY)


@asynccontextmanager
async def at_work(emulator: FargateEmulator) -> AsyncGenerator[tuple[Worker, S3RemoteFiles]]:
    put(emulator, IN, VIDEO)
    async with open_store(emulator) as store, open_session(TRUSTED_URLS) as client:
        inputs = {IN: (await store.head(IN)).remote_file(IN)}
        remote = S3RemoteFiles(store, run="r", inputs=inputs)
        yield Worker(client), remote


async def problem(call: Callable[[], Any]) -> str:
    with pytest.raises(TransferError) as caught:
        await call()
    assert "X-Amz" not in caught.value.failure.reason
    return caught.value.failure.problem


async def test_an_object_is_received_in_the_version_that_was_checked(
    emulator: FargateEmulator,
) -> None:
    async with at_work(emulator) as (worker, remote):
        request = await remote.fetch_request(IN)
        found, received = await worker.fetch(request)
        assert (found.size, found.sha256, received) == (len(VIDEO), sha256(VIDEO), VIDEO)
        put(emulator, IN, bytes(len(VIDEO)))
        assert await problem(lambda: worker.fetch(request)) == "changed"


async def test_a_video_is_written_once_with_its_checksum(emulator: FargateEmulator) -> None:
    async with (
        at_work(emulator) as (worker, remote),
        remote.delivery(
            "s", OUT, size=len(VIDEO), sha256=sha256(VIDEO), content_type="video/mp4"
        ) as delivery,
    ):
        [part] = await delivery.parts()
        wrong = part.model_copy(update={"offset": 1, "size": len(VIDEO) - 1})
        assert await problem(lambda: worker.put(wrong)) == "invalid", "another checksum"
        await delivery.finish([await worker.put(part)])
        assert content(emulator, OUT) == VIDEO
        assert await problem(lambda: worker.put(part)) == "exists"


@pytest.mark.few(4, spread=True)
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("access denied", "refused"),
        ("no such key", "missing"),
        ("slow down", "busy"),
        ("internal error", "busy"),
        ("token expired", "expired"),
        ("url expired", "expired"),
        ("url not valid yet", "expired"),
        ("wrong region", "forbidden address"),
        ("clock skew", "expired"),
        ("truncated", "unreachable"),
        ("lost", "unreachable"),
        ("dropped", "unreachable"),
    ],
)
async def test_faults_of_s3(fault: str, expected: str, emulator: FargateEmulator) -> None:
    async with at_work(emulator) as (worker, remote):
        request = await remote.fetch_request(IN)
        emulator.add_fault(s3_fault(fault, "GetObject"))
        assert await problem(lambda: worker.fetch(request)) == expected
        assert (await worker.fetch(request))[1] == VIDEO
