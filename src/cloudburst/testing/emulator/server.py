"""The API over HTTP: who calls, what goes wrong on the way, and who answers."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from anyio import move_on_after, sleep

from cloudburst.errors import ConfigurationError
from cloudburst.testing.emulator.account import Account
from cloudburst.testing.emulator.config import EmulatorConfig
from cloudburst.testing.emulator.facts import Call
from cloudburst.testing.emulator.faults import Fault, Faults
from cloudburst.testing.emulator.launching import check_network
from cloudburst.testing.emulator.network import look_at_network
from cloudburst.testing.emulator.refusal import RefusedError, invalid
from cloudburst.testing.emulator.wire import Asked, answer, read, refusal

LARGEST_BODY = 1 << 30
SECONDS_TO_END = 5.0
SILENT = {"lost", "dropped"}
"""Faults without an answer."""


class Api:
    """Answers requests. For one event loop; calls may be read from anywhere."""

    def __init__(self, config: EmulatorConfig, account: Account, defects: list[Exception]) -> None:
        self.calls: list[Call] = []
        self.faults = Faults()
        self._config = config
        self._account = account
        self._defects = defects

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        body, at = await request.read(), time.time()
        try:
            asked = read(request, body)
        except RefusedError as error:
            return web.Response(text=error.message, status=error.status)
        if self._config.latency:
            await sleep(self._config.latency)
        fault = self.faults.take(asked.service, asked.operation)
        kind = str(fault.kind) if fault else ""
        if fault and kind == "delay":
            await sleep(fault.seconds)
        note, response = kind, web.Response()
        if kind != "dropped":
            try:
                response = await self._answered(request, body, asked, fault)
            except RefusedError as error:
                response, note = refusal(asked, error), error.code
            except Exception as defect:  # noqa: BLE001 - told at the end
                self._defects.append(defect)
                note = "ServerException"
                response = refusal(asked, RefusedError(note, repr(defect), status=500))
        if fault and kind in SILENT:
            await sleep(fault.seconds)
            if request.transport:
                request.transport.abort()
        self.calls.append(
            Call(
                at=at,
                service=asked.service,
                operation=asked.operation,
                status=0 if kind in SILENT else response.status,
                note=note,
                key=asked.key,
            )
        )
        return response

    async def _answered(
        self, request: web.Request, body: bytes, asked: Asked, fault: Fault | None
    ) -> web.Response:
        account, kind = self._account, fault.kind if fault else ""
        if fault and kind == "error":
            raise RefusedError(fault.code, fault.message, status=fault.status)
        account.identity.check(asked.service, asked.operation, asked.key)
        if not account.throttle.allows(asked.operation):
            raise self._throttled(asked)
        failure = fault.reason if fault and kind == "failures" else None
        if kind == "doubled":
            await self._done(request, body, asked, failure)
        return await self._done(request, body, asked, failure)

    async def _done(
        self, request: web.Request, body: bytes, asked: Asked, failure: str | None
    ) -> web.Response:
        account = self._account
        if (asked.service, asked.operation) == ("ecs", "RunTask"):
            network = check_network(asked.parameters)
            subnets = await look_at_network(self._config, network, account.ec2, account.moto)
            return answer(asked, self._run(asked, subnets, failure))
        if (asked.service, asked.operation) == ("sts", "GetCallerIdentity"):
            return answer(asked, account.identity.caller(asked.key))
        operation = account.operation(asked.service, asked.operation)
        if operation:
            return answer(asked, _tried(operation, asked.parameters))
        if account.moto is None:
            raise RefusedError(
                "UnknownOperationException",
                f"{asked.service}:{asked.operation} is not emulated, and moto is not there",
            )
        return await account.moto.forward(request, body)

    def _run(self, asked: Asked, subnets: Any, failure: str | None) -> dict[str, Any]:
        try:
            return _tried(
                lambda p: self._account.launching.run(p, subnets, failure=failure),
                asked.parameters,
            )
        except RefusedError as error:
            if error.code == "ThrottlingException":
                raise self._throttled(asked) from None
            raise

    def _throttled(self, asked: Asked) -> RefusedError:
        if asked.operation == "RunTask" and self._config.wrap_throttling:
            subnet = asked.parameters["networkConfiguration"]["awsvpcConfiguration"]["subnets"][0]
            return invalid(
                f"Error retrieving subnet information for [{subnet}]: Rate exceeded "
                "(ErrorCode: Throttling)"
            )
        code = "RequestLimitExceeded" if asked.service == "ec2" else "ThrottlingException"
        return RefusedError(code, "Rate exceeded")


def _tried(
    operation: Callable[[Mapping[str, Any]], dict[str, Any]], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    try:
        return operation(parameters)
    except KeyError as missing:
        raise invalid(f"{missing} is required.") from missing


@asynccontextmanager
async def serve(api: Api, port: int) -> AsyncGenerator[str]:
    """The base URL at which it answers."""
    app = web.Application(client_max_size=LARGEST_BODY)
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=False, shutdown_timeout=0.1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        except OSError as exc:
            raise ConfigurationError(f"api_port: {port}; {exc.strerror}") from exc
        host, bound = runner.addresses[0][:2]
        yield f"http://{host}:{bound}"
    finally:
        with move_on_after(SECONDS_TO_END, shield=True):
            await runner.cleanup()
