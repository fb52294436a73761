"""HTTP server of the emulated APIs: it authenticates calls, applies faults and dispatches calls."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from aiohttp import web
from anyio import move_on_after, sleep

from cloudburst.emulator.authorization import Authorization
from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.ecr_gateway import EcrGateway
from cloudburst.emulator.errors import ApiError, EmulatorError, invalid_parameter
from cloudburst.emulator.faults import Call, Fault, PendingFaults
from cloudburst.emulator.launch_spec import TaskNetwork
from cloudburst.emulator.network import resolve_network
from cloudburst.emulator.protocols import (
    ApiCall,
    error_response,
    operation_of,
    parse_call,
    success_response,
)
from cloudburst.emulator.s3.handler import S3Handler
from cloudburst.emulator.services import EmulatedAccount
from cloudburst.emulator.signature import SignedRequest, read_signature

# Maximum size of the body of a request to a service other than S3, in bytes. The body is kept in
# memory until the request's signature has been checked.
MAX_CALL_BYTES = 16 << 20
LOOPBACK = "127.0.0.1"
# Names of this machine that are allowed in a `Host` header. Requests from a web page whose domain
# resolves to a loopback address (DNS rebinding) have another name and are rejected.
HOST_NAMES = (LOOPBACK, "localhost", "[::1]")
SHUTDOWN_TIMEOUT = 5.0
# Kinds of faults after which the emulator sends no response.
UNANSWERED_FAULTS = {"lost", "dropped"}


class ApiServer:
    """Handler of API requests.

    Use it on one event loop only; `calls` may be read from any thread.
    """

    def __init__(
        self, config: EmulatorConfig, account: EmulatedAccount, defects: list[Exception]
    ) -> None:
        self.calls: list[Call] = []
        self.faults = PendingFaults()
        self.hosts = frozenset[str]()
        """Allowed values of the ``Host`` header."""
        self._config = config
        self._account = account
        self._authorization = Authorization(config, account)
        self._defects = defects
        images = account.ecr and account.ecr.images
        self._gateway = EcrGateway(images, self.faults) if images else None
        self._s3 = S3Handler(account, self.faults, self.calls, defects, latency=config.latency)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Check the signature of a request and answer the request."""
        if request.headers.get("Host", "").lower() not in self.hosts:
            return web.Response(
                text=f"Host must be one of {', '.join(sorted(self.hosts))}", status=421
            )
        if self._gateway and request.path.startswith("/v2/"):  # no bucket has such a short name
            return await self._gateway.handle(request)
        at, identity = time.time(), self._account.identity
        head = SignedRequest(
            method=request.method,
            target=request.raw_path,
            headers={
                name.lower(): ",".join(request.headers.getall(name)) for name in request.headers
            },
            body=b"",
        )
        call = ApiCall(service="", operation=operation_of(request), parameters={}, key="")
        try:
            signature = read_signature(head)
            call = replace(call, service=signature.service, key=signature.key)
            identity.check_key(signature)
            if call.service == "s3":
                call = replace(call, operation=f"{request.method} {request.path}")
                return await self._s3.handle(request, head, signature, at)
            body = await request.read()
            call = parse_call(request, body, key=signature.key, service=signature.service)
            identity.authenticate(signature, replace(head, body=body))
        except ApiError as error:
            if identity.knows(call.key):  # unauthenticated callers must not fill the memory
                self._note(at, call, error.status, error.code)
            return error_response(call, error)
        return await self._handled(request, body, call, at)

    async def _handled(
        self, request: web.Request, body: bytes, call: ApiCall, at: float
    ) -> web.StreamResponse:
        if self._config.latency:
            await sleep(self._config.latency)
        fault = self.faults.take(call.service, call.operation)
        kind = str(fault.kind) if fault else ""
        if fault and kind == "delay":
            await sleep(fault.seconds)
        note, response = kind, web.Response()
        if kind != "dropped":
            try:
                response = await self._answered(request, body, call, fault)
            except ApiError as error:
                response, note = error_response(call, error), error.code
            except Exception as defect:  # noqa: BLE001 - raised when the emulator ends
                self._defects.append(defect)
                note = "ServerException"
                response = error_response(call, ApiError(note, repr(defect), status=500))
        if fault and kind in UNANSWERED_FAULTS:
            await sleep(fault.seconds)
            if request.transport:
                request.transport.abort()
        self._note(at, call, 0 if kind in UNANSWERED_FAULTS else response.status, note)
        return response

    def _note(self, at: float, call: ApiCall, status: int, note: str) -> None:
        self.calls.append(
            Call(
                at=at,
                service=call.service,
                operation=call.operation,
                status=status,
                note=note,
                key=call.key,
            )
        )

    async def _answered(
        self, request: web.Request, body: bytes, call: ApiCall, fault: Fault | None
    ) -> web.Response:
        account, kind = self._account, fault.kind if fault else ""
        if fault and kind == "error":
            raise ApiError(fault.code, fault.message, status=fault.status)
        await self._authorization.check(call)
        if not account.throttle.allows(call.operation):
            raise self._throttled(call)
        failure = fault.reason if fault and kind == "failures" else None
        if kind == "doubled":
            await self._done(request, body, call, failure)
        response = await self._done(request, body, call, failure)
        self._authorization.record(call, response)
        return response

    async def _done(
        self, request: web.Request, body: bytes, call: ApiCall, failure: str | None
    ) -> web.Response:
        account = self._account
        if (call.service, call.operation) == ("ecs", "RunTask"):
            network = await resolve_network(
                self._config, call.parameters, account.ec2, account.moto
            )
            return success_response(call, self._run(call, network, failure))
        if (call.service, call.operation) == ("sts", "GetCallerIdentity"):
            return success_response(call, account.identity.caller(call.key))
        with _missing_members_reported():
            if call.service == "ecr" and account.ecr:
                answer = await account.ecr.answer(call.operation, call.parameters)
                return success_response(call, answer)
            if operation := account.operation(call.service, call.operation):
                return success_response(call, operation(call.parameters))
        if call.service == "pricing":  # nor has moto
            raise ApiError("UnknownOperationException", "the emulator has no price list")
        if account.moto is None:
            raise ApiError(
                "UnknownOperationException",
                f"{call.service}:{call.operation} is not emulated without moto: where the "
                "emulator runs, install cloudburst-sdk[testing]",
            )
        account.ec2.check_unused(call.operation, call.parameters)
        response = await account.moto.forward(request, body)
        changes = not call.operation.startswith(("Get", "List"))
        if call.service == "iam" and changes and response.status == HTTPStatus.OK:
            details = await account.moto.role_details(call.parameters.get("RoleName", ""))
            account.roles.record_change(call.operation, call.parameters, details)
        return response

    def _run(self, call: ApiCall, network: TaskNetwork, failure: str | None) -> dict[str, Any]:
        try:
            with _missing_members_reported():
                return self._account.launching.run(call.parameters, network, failure=failure)
        except ApiError as error:
            if error.code == "ThrottlingException":
                raise self._throttled(call) from None
            raise

    def _throttled(self, call: ApiCall) -> ApiError:
        if call.operation == "RunTask" and self._config.wrap_throttling:
            subnet = call.parameters["networkConfiguration"]["awsvpcConfiguration"]["subnets"][0]
            return invalid_parameter(
                f"Error retrieving subnet information for [{subnet}]: Rate exceeded "
                "(ErrorCode: Throttling)"
            )
        code = "RequestLimitExceeded" if call.service == "ec2" else "ThrottlingException"
        return ApiError(code, "Rate exceeded")


@contextmanager
def _missing_members_reported() -> Generator[None]:
    try:
        yield
    except KeyError as missing:
        raise invalid_parameter(f"{missing} is required.") from missing


@asynccontextmanager
async def serve_api(api: ApiServer, port: int) -> AsyncGenerator[str]:
    """Serve the API and yield its base URL.

    Raises:
        EmulatorError: the port cannot be used.
    """
    app = web.Application(client_max_size=MAX_CALL_BYTES)
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=False,
        shutdown_timeout=0.1,
        auto_decompress=False,  # the signature covers the compressed body
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, LOOPBACK, port).start()
        except OSError as exc:
            raise EmulatorError(f"api_port: {port}; {exc.strerror}") from exc
        host, bound = runner.addresses[0][:2]
        api.hosts = frozenset(f"{name}:{bound}" for name in HOST_NAMES)
        yield f"http://{host}:{bound}"
    finally:
        with move_on_after(SHUTDOWN_TIMEOUT, shield=True):
            await runner.cleanup()
