"""HTTP handler of the emulated S3: signatures, faults, and bodies that are streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from aiohttp import web
from anyio import sleep

from cloudburst.emulator.api_call import Call
from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.faults import Fault, PendingFaults
from cloudburst.emulator.identity import Identity
from cloudburst.emulator.s3.access import Caller
from cloudburst.emulator.s3.api import S3
from cloudburst.emulator.s3.requests import S3Request, parse_request
from cloudburst.emulator.s3.responses import S3Response, error_response
from cloudburst.emulator.signature import Signature, SignedRequest

BLOCK_BYTES = 1 << 16
SLOW_BLOCKS = 10
"""Number of blocks of a response's body that is sent slowly."""


@dataclass(slots=True)
class _Exchange:
    """Request that is being answered, with the bytes of its bodies counted."""

    http: web.Request
    fault: Fault | None = None
    received: int = 0
    sent: int = 0

    @property
    def kind(self) -> str:
        return str(self.fault.kind) if self.fault else ""

    @property
    def seconds(self) -> float:
        return self.fault.seconds if self.fault else 0.0

    async def blocks(self) -> AsyncGenerator[bytes]:
        """Yield the blocks of the request's body."""
        async for block in self.http.content.iter_chunked(BLOCK_BYTES):
            if not self.received and self.kind == "slow":
                await sleep(self.seconds)
            self.received += len(block)
            yield block

    def abort(self) -> None:
        """Reset the connection."""
        if self.http.transport:
            self.http.transport.abort()


class _ConnectionResetError(Exception):
    """Error that ends the answer to a request whose connection was reset on purpose."""


class S3Handler:
    """Handler of requests to S3."""

    def __init__(
        self,
        identity: Identity,
        s3: S3,
        faults: PendingFaults,
        calls: list[Call],
        defects: list[Exception],
        *,
        latency: float,
    ) -> None:
        self._latency = latency
        self._identity = identity
        self._s3 = s3
        self._faults = faults
        self._calls = calls
        self._defects = defects

    async def handle(
        self, http: web.Request, head: SignedRequest, signature: Signature, at: float
    ) -> web.StreamResponse:
        """Answer a request whose access key and time have been checked.

        The signature is checked before the body is read. If it covers a hash of the body, the hash
        is checked when the body has arrived.
        """
        exchange = _Exchange(http)
        record = self._record(
            Call(
                at=at,
                service="s3",
                operation=f"{head.method} {head.path}",
                status=0,
                key=signature.key,
                presigned=signature.lasts is not None,
            )
        )
        try:
            try:
                self._identity.authenticate(signature, head, "s3")
                request = parse_request(head, signature.region)
                exchange.fault = self._faults.take(
                    "s3", request.operation, presigned=signature.lasts is not None
                )
                resource = f"{request.bucket}/{request.key}".rstrip("/")
                record(operation=request.operation, resource=resource, note=exchange.kind)
                response = await self._answered(request, exchange, signature)
            except ApiError as error:
                response = error_response(error, head=http.method == "HEAD")
                record(note=error.code)
            except _ConnectionResetError:
                raise
            except Exception as defect:  # noqa: BLE001 - raised when the emulator ends
                if not isinstance(defect, OSError):  # the caller has closed the connection
                    self._defects.append(defect)
                failed = ApiError("InternalError", repr(defect), status=500)
                response = error_response(failed, head=http.method == "HEAD")
            try:
                # Recorded before the caller can know the response.
                record(status=response.status)
                return await self._send(exchange, response)
            finally:
                response.close()
        except (_ConnectionResetError, ConnectionResetError):  # by a fault, or by the caller
            record(status=0)
            return web.Response()
        finally:
            record(received=exchange.received, sent=exchange.sent)

    def _record(self, call: Call) -> Callable[..., None]:
        """Add a call to the list, and return a function that changes its members there."""
        index = len(self._calls)
        self._calls.append(call)

        def change(**members: Any) -> None:
            self._calls[index] = replace(self._calls[index], **members)

        return change

    async def _answered(
        self, request: S3Request, exchange: _Exchange, signature: Signature
    ) -> S3Response:
        fault, kind = exchange.fault, exchange.kind
        await sleep(self._latency)
        if kind == "delay":
            await sleep(exchange.seconds)
        elif kind == "dropped":
            await sleep(exchange.seconds)
            exchange.abort()
            raise _ConnectionResetError
        elif fault and kind == "error":
            raise ApiError(fault.code, fault.message, status=fault.status)
        caller = self._caller(signature)
        self._identity.check_expiry(signature.key, "s3", request.operation)
        self._identity.check(signature.key, request.access, "s3")
        self._s3.check_region(request)
        length = exchange.http.content_length or 0
        if kind == "truncated" and length:
            async for _ in exchange.blocks():
                if exchange.received >= length // 2:
                    break
            exchange.abort()
            raise _ConnectionResetError
        body: AsyncIterable[bytes] = exchange.blocks()
        if kind == "doubled":
            kept = [block async for block in body]
            first = await self._s3.answer(request, _replayed(kept), caller=caller)
            first.close()
            body = _replayed(kept)
        response = await self._s3.answer(request, body, caller=caller)
        if kind == "lost":
            response.close()
            await sleep(exchange.seconds)
            exchange.abort()
            raise _ConnectionResetError
        return response

    def _caller(self, signature: Signature) -> Caller:
        found = self._identity.caller(signature.key)
        return Caller(
            arn=found["Arn"],
            account=found["Account"],
            foreign=self._identity.is_foreign(signature.key),
            presigned=signature.lasts is not None,
            permits=partial(self._identity.permits, signature.key),
        )

    async def _send(self, exchange: _Exchange, response: S3Response) -> web.StreamResponse:
        """Send a response, with its fault."""
        headers = {**response.headers, "Content-Length": str(response.length)}
        sent = web.StreamResponse(status=response.status, headers=headers)
        await sent.prepare(exchange.http)
        left = response.length if response.file else len(response.body)
        truncated = exchange.kind == "truncated"
        if truncated:
            left //= 2
        slow = exchange.kind == "slow"
        size = max(1, min(BLOCK_BYTES, left // SLOW_BLOCKS)) if slow else BLOCK_BYTES
        pause = exchange.seconds * size / max(1, left)
        while left > 0:
            start = exchange.sent
            wanted = min(size, left)
            block = (
                response.file.read(wanted)
                if response.file
                else response.body[start : start + wanted]
            )
            if slow:
                await sleep(pause)
            await sent.write(block)
            exchange.sent += len(block)
            left -= len(block)
        if truncated:
            exchange.abort()
            raise _ConnectionResetError
        await sent.write_eof()
        return sent


async def _replayed(blocks: list[bytes]) -> AsyncGenerator[bytes]:
    for block in blocks:
        yield block
