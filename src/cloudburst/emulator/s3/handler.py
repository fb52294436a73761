"""HTTP handler of the emulated S3: signatures, faults, and bodies that are streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

from aiohttp import web
from anyio import sleep

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.faults import Call, Fault, PendingFaults
from cloudburst.emulator.s3.access import Caller
from cloudburst.emulator.s3.requests import S3Request, parse_request
from cloudburst.emulator.s3.responses import S3Response, error_response
from cloudburst.emulator.services import EmulatedAccount
from cloudburst.emulator.signature import Signature, SignedRequest

BLOCK_BYTES = 1 << 16
# Number of blocks of a response's body that is sent slowly.
SLOW_BLOCKS = 10
NO_FAULT = Fault(kind="delay")


class _Exchange:
    def __init__(self, http: web.Request, calls: list[Call], call: Call) -> None:
        self.http = http
        self.fault = NO_FAULT
        self._calls, self._index = calls, len(calls)
        calls.append(call)

    @property
    def call(self) -> Call:
        return self._calls[self._index]

    def record(self, **members: Any) -> None:
        self._calls[self._index] = replace(self.call, **members)

    async def blocks(self) -> AsyncGenerator[bytes]:
        async for block in self.http.content.iter_chunked(BLOCK_BYTES):
            if not self.call.received and self.fault.kind == "slow":
                await sleep(self.fault.seconds)
            self.record(received=self.call.received + len(block))
            yield block

    def reset(self) -> NoReturn:
        if self.http.transport:
            self.http.transport.abort()
        raise ConnectionResetError


class S3Handler:
    """Handler of requests to S3."""

    def __init__(
        self,
        account: EmulatedAccount,
        faults: PendingFaults,
        calls: list[Call],
        defects: list[Exception],
        *,
        latency: float,
    ) -> None:
        self._latency = latency
        self._identity, self._s3 = account.identity, account.s3
        self._faults = faults
        self._calls = calls
        self._defects = defects

    async def handle(
        self, http: web.Request, head: SignedRequest, signature: Signature, at: float
    ) -> web.StreamResponse:
        """Answer a request whose key and time are checked; read its body after its signature."""
        presigned, key = signature.lasts is not None, signature.key
        operation = f"{head.method} {head.path}"
        call = Call(at=at, service="s3", operation=operation, status=0, key=key)
        exchange = _Exchange(http, self._calls, replace(call, presigned=presigned))
        try:
            try:
                self._identity.authenticate(signature, head)
                request = parse_request(head)
                fault = self._faults.take("s3", request.operation, presigned=presigned)
                exchange.fault = fault or NO_FAULT
                resource = f"{request.bucket}/{request.key}".rstrip("/")
                exchange.record(
                    operation=request.operation,
                    resource=resource,
                    note=str(fault.kind) if fault else "",
                )
                response = await self._answered(request, exchange, signature)
            except ApiError as error:
                response = error_response(error)
                exchange.record(note=error.code)
            except OSError:
                raise
            except Exception as defect:  # noqa: BLE001 - raised when the emulator ends
                self._defects.append(defect)
                response = error_response(ApiError("InternalError", repr(defect), status=500))
            # Recorded before the caller can know the response.
            exchange.record(status=response.status)
            with response.content:
                return await self._send(exchange, response)
        except OSError:  # the connection was reset, by a fault or by the caller
            exchange.record(status=0)
            return web.Response()

    async def _answered(
        self, request: S3Request, exchange: _Exchange, signature: Signature
    ) -> S3Response:
        fault = exchange.fault
        await sleep(self._latency)
        if fault.kind in {"delay", "dropped"}:
            await sleep(fault.seconds)
        if fault.kind == "dropped":
            exchange.reset()
        if fault.kind == "error":
            raise ApiError(fault.code, fault.message, status=fault.status)
        self._identity.check_expiry(signature.key, "s3", request.operation)
        self._identity.check(signature.key, request.access, "s3")
        self._s3.check_region(request, signature.region)
        length = exchange.http.content_length or 0
        if fault.kind == "truncated" and length:
            async for _ in exchange.blocks():
                if exchange.call.received >= length // 2:
                    break
            exchange.reset()
        caller = self._caller(signature)
        body: AsyncIterable[bytes] = exchange.blocks()
        if fault.kind == "doubled":
            kept = [block async for block in body]
            first = await self._s3.answer(request, _replayed(kept), caller=caller)
            first.content.close()
            body = _replayed(kept)
        response = await self._s3.answer(request, body, caller=caller)
        if fault.kind == "lost":
            response.content.close()
            await sleep(fault.seconds)
            exchange.reset()
        return response

    def _caller(self, signature: Signature) -> Caller:
        found = self._identity.caller(signature.key)
        return Caller(
            arn=found["Arn"],
            account=found["Account"],
            presigned=signature.lasts is not None,
            permits=partial(self._identity.permits, signature.key),
        )

    async def _send(self, exchange: _Exchange, response: S3Response) -> web.StreamResponse:
        headers = {**response.headers, "Content-Length": str(response.size)}
        sent = web.StreamResponse(status=response.status, headers=headers)
        await sent.prepare(exchange.http)
        fault, size, pause = exchange.fault, BLOCK_BYTES, 0.0
        left = 0 if exchange.http.method == "HEAD" else response.size
        if fault.kind == "truncated":
            left //= 2
        if fault.kind == "slow" and left:
            size = max(1, min(BLOCK_BYTES, left // SLOW_BLOCKS))
            pause = fault.seconds * size / left
        while block := response.content.read(min(size, left)):
            await sleep(pause)
            await sent.write(block)
            exchange.record(sent=exchange.call.sent + len(block))
            left -= len(block)
        if fault.kind == "truncated":
            exchange.reset()
        await sent.write_eof()
        return sent


async def _replayed(blocks: list[bytes]) -> AsyncGenerator[bytes]:
    for block in blocks:
        yield block
