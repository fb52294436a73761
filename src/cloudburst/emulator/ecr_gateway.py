"""HTTP API of the account's ECR registry: the rules of ECR before the registry on this machine."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import NoReturn

from aiohttp import ClientError, ClientSession, web

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.faults import Fault, PendingFaults
from cloudburst.emulator.forward import forward
from cloudburst.emulator.image_store import ImageStore
from cloudburst.emulator.local_registry import SIGNATURE

MIN_PART_BYTES = 5 * 1024**2
"""Minimum size of all parts of a layer except the last one: LayerPartTooSmallException in the ECR
API reference (2026-11)."""
PATH = re.compile(r"/v2/(.+)/(blobs/uploads|blobs|manifests)/([^/]*)")


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
        self._uploads: dict[str, list[int]] = {}
        """Sizes of the parts that have arrived, by id of the upload."""

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
        name, kind, ident = found.groups()
        if name not in self._images.repositories:
            raise ApiError("NAME_UNKNOWN", f"Repository '{name}' does not exist", status=404)
        if fault := self._faults.take("ecr", f"{request.method} {kind}"):
            await _fail(request, fault)
        if (request.method, kind) == ("GET", "blobs"):
            url = self._registry.layer_url(request.path)
            return web.Response(status=307, headers={"Location": url})
        if ident and kind == "blobs/uploads":
            return await self._upload(request, self._uploads.setdefault(ident, []))
        return await self._forward(request)

    async def _upload(self, request: web.Request, parts: list[int]) -> web.Response:
        """Receive a part. See https://github.com/aws/containers-roadmap/issues/2831 (2026-06)."""
        if request.method == "GET":
            raise ApiError("UNSUPPORTED", "The operation is unsupported.", status=405)
        if request.can_read_body:
            start = int(request.headers.get("Content-Range", "0").partition("-")[0])
            if start != sum(parts):  # such as a part that is sent again after a cut
                message = f"First byte of the layer part is {start} instead of {sum(parts)}"
                raise ApiError("BLOB_UPLOAD_INVALID", message, status=416)
            parts.append(0)
        if request.method == "PUT" and any(size < MIN_PART_BYTES for size in parts[:-1]):
            message = "All layer parts except the last part should be at least 5MB"
            raise ApiError("BLOB_UPLOAD_INVALID", message)
        response = await self._forward(request, parts)
        if parts and response.status == 202:
            response.set_status(201)
            response.headers["Range"] = f"0-{parts[0] - 1}"
        return response

    async def _forward(self, request: web.Request, parts: list[int] | None = None) -> web.Response:
        body = _body(request, parts or [0]) if request.can_read_body else None
        url, login = self._registry.address.url, {"Authorization": self._login}
        try:
            async with ClientSession(auto_decompress=False, headers=login) as session:
                return await forward(session, request, url, body)
        except (ClientError, ConnectionError) as exc:  # the registry or the client has gone
            raise ApiError("UNKNOWN", repr(exc), status=500) from exc


async def _body(request: web.Request, parts: list[int]) -> AsyncGenerator[bytes]:
    async for piece in request.content.iter_any():
        parts[-1] += len(piece)
        yield piece


async def _fail(request: web.Request, fault: Fault) -> NoReturn:
    if fault.kind != "error":
        while request.content.total_bytes < (request.content_length or 0) // 2:
            await request.content.readany()
        if request.transport:
            request.transport.abort()
    raise ApiError(fault.code, fault.message, status=fault.status)
