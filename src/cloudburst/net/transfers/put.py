"""Files that are written to S3."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import httpx

from cloudburst.models.transfers import PutPart, TransferProblem
from cloudburst.net.transfers.errors import time_limit, transfer_error
from cloudburst.net.transfers.requests import (
    DEFAULT_POLICY,
    TransferPolicy,
    entity_tag,
    open_answer,
)

# Number of bytes that are read and sent at a time. Each block must be sent within the pace_window
# of the policy, which is 9 kB per second by default.
BLOCK_BYTES = 256 * 1024


async def put_part(
    part: PutPart,
    read_block: Callable[[int, int], Awaitable[bytes]],
    *,
    client: httpx.AsyncClient,
    progress: Callable[[int], None],
    policy: TransferPolicy = DEFAULT_POLICY,
) -> str:
    """Write a part of a file to S3 and return its ETag.

    S3 verifies the content by the checksum that is among the signed headers, or by its MD5: a part
    of a multipart upload is signed before its checksum is known. Errors of ``read_block``
    are raised as they are.

    Raises:
        TransferError: The part was not written, or it is not certain that it was.
    """
    blocks = _blocks(part, read_block, progress)
    etag: str | None = None
    headers = {"Content-Length": str(part.size), **await _content_md5(part, read_block)}
    with time_limit(policy.total_timeout, f"not sent within {policy.total_timeout:g} s"):
        async with (
            aclosing(blocks),
            open_answer(
                client,
                "PUT",
                part.url,
                headers=part.headers,
                own_headers=headers,
                public_only=False,
                content=blocks,
                policy=policy,
            ) as response,
        ):
            etag = entity_tag(response)
    if etag is None:
        raise transfer_error(TransferProblem.INVALID, "the server sends no ETag", status=200)
    return etag


async def _content_md5(
    part: PutPart, read_block: Callable[[int, int], Awaitable[bytes]]
) -> dict[str, str]:
    """Return the header with the MD5 of a part, unless its headers have a checksum."""
    if any(name.lower().startswith("x-amz-checksum-") for name in part.headers):
        return {}
    md5 = hashlib.md5(usedforsecurity=False)
    for start in range(0, part.size, BLOCK_BYTES):
        count = min(BLOCK_BYTES, part.size - start)
        md5.update(await read_block(part.offset + start, count))
    return {"Content-MD5": base64.b64encode(md5.digest()).decode()}


async def _blocks(
    part: PutPart,
    read_block: Callable[[int, int], Awaitable[bytes]],
    progress: Callable[[int], None],
) -> AsyncGenerator[bytes]:
    sent = 0
    while sent < part.size:
        count = min(BLOCK_BYTES, part.size - sent)
        yield await read_block(part.offset + sent, count)
        sent += count
        progress(sent)
