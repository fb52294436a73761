"""Files from S3 and web servers: whole files as a stream, and ranges of at most 1 MiB."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass

import httpx
from anyio import to_thread

from cloudburst.models.transfers import FetchRequest, TransferProblem
from cloudburst.net.transfers.errors import time_limit, transfer_error
from cloudburst.net.transfers.requests import (
    DEFAULT_POLICY,
    TransferPolicy,
    check_version,
    content_length,
    entity_tag,
    iter_body,
    open_answer,
)

# Number of bytes that are collected before they are hashed in a thread and written.
BLOCK_BYTES = 1024 * 1024
# Largest size of a range, in bytes.
MAX_RANGE_BYTES = 1024 * 1024

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")
_UNSATISFIED_RANGE = re.compile(r"bytes \*/([0-9]{1,19})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Properties of a file that was received completely."""

    size: int
    """Size in bytes."""
    sha256: str
    """SHA-256 in hexadecimal."""
    etag: str | None
    """ETag that the server sent; ``None`` if it sent no valid one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedRange:
    """Range of a file."""

    data: bytes
    """Bytes of the range; fewer than requested at the end of the file."""
    size: int | None
    """Size of the whole file in bytes; ``None`` if the server does not report it."""
    etag: str | None
    """ETag that the server sent; ``None`` if it sent no valid one."""
    modified: str | None
    """``Last-Modified`` as the server sent it; ``None`` if there is none."""
    seekable: bool
    """False if the server ignores ``Range``, so that only the start of the file can be read."""


async def fetch(
    request: FetchRequest,
    write: Callable[[bytes], Awaitable[None]],
    *,
    client: httpx.AsyncClient,
    policy: TransferPolicy = DEFAULT_POLICY,
) -> Fetched:
    """Get a whole file, and pass it on in blocks of at most `BLOCK_BYTES`.

    Raises:
        TransferError: The file was not received completely, or is not the requested one.
    """
    _check_size(request, request.size or 0)
    digest = hashlib.sha256()
    size = 0
    with _in_time(policy):
        async with open_answer(
            client,
            "GET",
            request.url,
            headers=request.headers,
            public_only=request.public_only,
            policy=policy,
        ) as response:
            check_version(response, request.headers)
            announced = content_length(response)
            if announced is not None:
                _check_size(request, announced, complete=True)
            elif request.size is None and "Transfer-Encoding" not in response.headers:
                reason = "the server sends no length, so that the end of the file is not certain"
                raise transfer_error(TransferProblem.INVALID, reason, status=response.status_code)
            block = bytearray()
            async with aclosing(iter_body(response, policy)) as body:
                async for piece in body:
                    size += len(piece)
                    _check_size(request, size)
                    block += piece
                    if len(block) >= BLOCK_BYTES:
                        await _flush(block, digest.update, write)
            await _flush(block, digest.update, write)
    _check_size(request, size, complete=True)
    return Fetched(size=size, sha256=digest.hexdigest(), etag=entity_tag(response))


async def read_range(
    request: FetchRequest,
    start: int,
    end: int,
    *,
    client: httpx.AsyncClient,
    policy: TransferPolicy = DEFAULT_POLICY,
) -> FetchedRange:
    """Return the bytes of a file from ``start`` up to but not including ``end``.

    A server that ignores ranges sends the file from its start: then bytes before ``start`` are
    read and discarded if ``end`` is at most `MAX_RANGE_BYTES`, and the connection is closed.

    Raises:
        TransferError: There is no such range, or the server does not send it.
        ValueError: The range is empty or larger than `MAX_RANGE_BYTES`.
    """
    if not 0 <= start < end <= start + MAX_RANGE_BYTES:
        msg = f"a range from {start} to {end}; expected 1 to {MAX_RANGE_BYTES} bytes"
        raise ValueError(msg)
    with _in_time(policy):
        async with open_answer(
            client,
            "GET",
            request.url,
            headers=request.headers,
            own_headers={"Range": f"bytes={start}-{end - 1}"},
            public_only=request.public_only,
            expected=frozenset({200, 206, 416}),
            policy=policy,
        ) as response:
            seekable = response.status_code != 200
            size: int | None
            if response.status_code == 416:
                size, count, skipped = _empty_file(response, start), 0, 0
            else:
                check_version(response, request.headers)
                if seekable:
                    size, count, skipped = *_sent_range(response, start, end), 0
                else:
                    size, count, skipped = content_length(response), end - start, start
                    if end > MAX_RANGE_BYTES:
                        reason = "the server ignores Range, so that only the start can be read"
                        raise transfer_error(TransferProblem.INVALID, reason, status=200)
                    if size is not None:
                        skipped = min(start, size)
                        count = min(count, size - skipped)
            data = await _read(response, skipped + count, policy)
            if len(data) < skipped + count and (seekable or size is not None):
                reason = f"{len(data) - skipped} bytes; expected {count}"
                raise transfer_error(TransferProblem.INVALID, reason, status=response.status_code)
            modified = response.headers.get("Last-Modified", "")
            # It becomes a header of later requests.
            sendable = 0 < len(modified) <= 64 and modified.isascii() and modified.isprintable()
            return FetchedRange(
                data=data[skipped:],
                size=size,
                etag=entity_tag(response),
                modified=modified if sendable else None,
                seekable=seekable,
            )


def _in_time(policy: TransferPolicy) -> AbstractContextManager[None]:
    return time_limit(policy.total_timeout, f"not received within {policy.total_timeout:g} s")


def _sent_range(response: httpx.Response, start: int, end: int) -> tuple[int | None, int]:
    """Return the size of the file and the number of bytes of the range that a 206 announces."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        reason = "a partial answer without a valid Content-Range"
        raise transfer_error(TransferProblem.INVALID, reason, status=206)
    first, last = int(match[1]), int(match[2])
    size = None if match[3] == "*" else int(match[3])
    whole = end - 1 if size is None else min(end, size) - 1
    if first != start or not start <= last <= end - 1 or (size is not None and last != whole):
        reason = f"another range than bytes {start}-{end - 1}: {match[0]}"
        raise transfer_error(TransferProblem.INVALID, reason, status=206)
    return size, last + 1 - first


def _empty_file(response: httpx.Response, start: int) -> int:
    """Return 0 if a 416 says that the file is empty. Otherwise no byte of it is in the range."""
    match = _UNSATISFIED_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if start == 0 and match is not None and int(match[1]) == 0:
        return 0
    reason = f"the file has no byte {start}"
    raise transfer_error(TransferProblem.CHANGED, reason, status=416)


async def _read(response: httpx.Response, count: int, policy: TransferPolicy) -> bytes:
    data = bytearray()
    if count:
        async with aclosing(iter_body(response, policy)) as body:
            async for piece in body:
                data += piece
                if len(data) >= count:
                    break
    return bytes(data[:count])


async def _flush(
    block: bytearray, hash_block: Callable[[bytes], None], write: Callable[[bytes], Awaitable[None]]
) -> None:
    if block:
        data = bytes(block)
        block.clear()
        await to_thread.run_sync(hash_block, data)
        await write(data)


def _check_size(request: FetchRequest, size: int, *, complete: bool = False) -> None:
    if size > request.max_bytes:
        reason = f"more than {request.max_bytes} bytes"
        raise transfer_error(TransferProblem.TOO_LARGE, reason)
    if request.size is not None and (size > request.size or (complete and size != request.size)):
        raise transfer_error(
            TransferProblem.CHANGED, f"another size than {request.size} bytes: {size}"
        )
