"""Requests that the emulator forwards to another server on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterable, Container, Mapping

from aiohttp import ClientSession, web
from multidict import CIMultiDict
from yarl import URL

LENGTH = frozenset({"content-length"})
DROPPED_HEADERS = frozenset({"connection", "date", "expect", "server", "transfer-encoding"})
"""Headers that apply to one connection only, or that the emulator sets itself."""


async def forward(
    session: ClientSession,
    request: web.Request,
    url: str,
    body: bytes | AsyncIterable[bytes] | None,
) -> web.Response:
    """Forward a request with this body and the session's headers, and return the response."""
    async with session.request(
        request.method,
        URL(url + request.raw_path, encoded=True),
        data=body,
        headers=_without(DROPPED_HEADERS | LENGTH, request.headers),
        allow_redirects=False,
        skip_auto_headers=("Accept-Encoding", "Content-Type"),
    ) as got:
        is_head = request.method == "HEAD"
        kept = _without(DROPPED_HEADERS if is_head else DROPPED_HEADERS | LENGTH, got.headers)
        content = None if is_head else await got.read()
        return web.Response(body=content, status=got.status, headers=kept)


def _without(names: Container[str], headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in names)
