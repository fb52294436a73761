"""HTTP API of the account's ECR registry: the rules of ECR before the registry on this machine."""

from __future__ import annotations

import re
from typing import NoReturn

from aiohttp import ClientError, ClientSession, web

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.faults import Fault, PendingFaults
from cloudburst.emulator.image_store import ImageStore
from cloudburst.emulator.local_registry import SIGNATURE
from cloudburst.emulator.local_servers import forward

PATH = re.compile(r"/v2/(.+)/(blobs/uploads|blobs|manifests)/[^/]*")


class EcrGateway:
    """Handler of requests to the registry.

    Faults apply to operations such as ``PUT blobs/uploads``: an ``error``, or a connection that is
    reset after half of the request's body.
    """

    def __init__(self, images: ImageStore, faults: PendingFaults) -> None:
        self._images = images
        self._registry = images.registry
        self._login = f"Basic {self._registry.token}"
        self._faults = faults

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request."""
        login = request.headers.get("Authorization")
        signed = (request.method, request.query.get(SIGNATURE)) == ("GET", self._registry.secret)
        if login != self._login and not (signed and login is None):
            realm = f'Basic realm="{self._registry.url}/",service="ecr.amazonaws.com"'
            return web.Response(status=401, headers={"WWW-Authenticate": realm})
        try:
            return await self._answer(request, signed=signed)
        except ApiError as error:
            entry = {"code": error.code, "message": error.message}
            return web.json_response({"errors": [entry]}, status=error.status)

    async def _answer(self, request: web.Request, *, signed: bool) -> web.Response:
        if signed and "Authorization" in request.headers:  # as S3 answers, which has the layers
            raise ApiError("InvalidArgument", "Only one auth mechanism allowed")
        found = PATH.fullmatch(request.path)
        if found is None or signed:
            return await self._forward(request)
        name, kind = found.groups()
        if name not in self._images.repositories:
            raise ApiError("NAME_UNKNOWN", f"Repository '{name}' does not exist", status=404)
        if fault := self._faults.take("ecr", f"{request.method} {kind}"):
            await _fail(request, fault)
        if (request.method, kind) == ("GET", "blobs"):
            url = self._registry.layer_url(request.path)
            return web.Response(status=307, headers={"Location": url})
        return await self._forward(request)

    async def _forward(self, request: web.Request) -> web.Response:
        body = request.content if request.can_read_body else None
        url, login = self._registry.address.url, {"Authorization": self._login}
        try:
            async with ClientSession(auto_decompress=False, headers=login) as session:
                return await forward(session, request, url, body)
        except (ClientError, ConnectionError) as exc:  # the registry or the client has gone
            raise ApiError("UNKNOWN", repr(exc), status=500) from exc


async def _fail(request: web.Request, fault: Fault) -> NoReturn:
    if fault.kind != "error":
        while request.content.total_bytes < (request.content_length or 0) // 2:
            await request.content.readany()
        if request.transport:
            request.transport.abort()
    raise ApiError(fault.code, fault.message, status=fault.status)
