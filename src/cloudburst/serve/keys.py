"""Keys of ``cloudburst serve``: without one of them, a request gets nothing but the page."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cloudburst.errors import ConfigurationError
from cloudburst.web import Access, Action
from cloudburst.web.access import EVERYBODY, refuse_other_sites
from cloudburst.web.request_limits import read_body
from cloudburst.web.submissions import parse_json

COOKIE = "cloudburst_session"
# Seconds for which a browser keeps the cookie.
SESSION_SECONDS = 30 * 86_400
LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Shorter keys might be guessed over the network.
MIN_KEY_CHARS = 16
# Seconds after which the response to a wrong key comes, and number of such responses at once.
DELAY = 1.0
MAX_DELAYED = 20


class Keys:
    """Keys of a server, one of which each caller needs. All callers are one owner.

    Raises `ConfigurationError` for a key that is too short or cannot be sent in a header.
    """

    def __init__(self, keys: Iterable[str], public_url: str) -> None:
        # Value of the cookie by key: it shows nothing of the key, and is valid as long as the key.
        self._sessions = {key: _session(key) for key in keys}
        self._public_url = public_url
        self._delayed = 0

    async def authorize(self, request: Request, _action: Action) -> Access:
        """Return the access of a caller with a key or a cookie, for `Jobs`.

        Raises `HTTPException` 401 without, 429 if wrong ones are sent too often, and 403 for a
        change that a page of another site requests with the cookie of a user.
        """
        has_key = "authorization" in request.headers
        if not has_key and COOKIE not in request.cookies:
            raise _no_key()
        await self._require(self.accept(request))
        if not has_key:
            refuse_other_sites(request, self._public_url or str(request.base_url))
        return EVERYBODY

    def accept(self, request: Request) -> bool:
        """Return whether a request has a key, or else the cookie of one."""
        if (authorization := request.headers.get("authorization")) is not None:
            scheme, _, key = authorization.partition(" ")
            return scheme.lower() == "bearer" and _is_any(key, self._sessions)
        return _is_any(request.cookies.get(COOKIE, ""), self._sessions.values())

    async def open_session(self, request: Request) -> Response:
        """Set the cookie of a browser whose user has sent a key, as ``{"key": "…"}``."""
        key = str(parse_json(await read_body(request, 1_000)).get("key", ""))
        await self._require(_is_any(key, self._sessions))
        response = Response(status_code=204)
        response.set_cookie(
            COOKIE,
            self._sessions[key],
            max_age=SESSION_SECONDS,
            secure=(self._public_url or str(request.base_url)).startswith("https:"),
            httponly=True,
            samesite="strict",
        )
        return response

    async def close_session(self, _request: Request) -> Response:
        """Remove the cookie of a browser."""
        response = Response(status_code=204)
        response.delete_cookie(COOKIE)
        return response

    async def _require(self, accepted: bool) -> None:
        if accepted:
            return
        if self._delayed >= MAX_DELAYED:
            raise HTTPException(429, "too many wrong keys; try again later", {"retry-after": "1"})
        self._delayed += 1
        try:
            await anyio.sleep(DELAY)
        finally:
            self._delayed -= 1
        raise _no_key()


def keys_for(host: str, public_url: str, given: Sequence[str]) -> list[str]:
    """Return the keys of a server: those given, or a new one if others can reach the server."""
    needed = bool(public_url) or host not in LOOPBACK
    return [*given] or ([secrets.token_urlsafe(24)] if needed else [])


def _is_any(given: str, accepted: Iterable[str]) -> bool:
    return any(secrets.compare_digest(given.encode(), one.encode()) for one in accepted)


def _session(key: str) -> str:
    if len(key) < MIN_KEY_CHARS or not key.isascii() or not key.isprintable() or " " in key:
        msg = (
            f"--key: {len(key)} characters; expected at least {MIN_KEY_CHARS} printable ASCII "
            "characters without spaces, such as the output of: openssl rand -hex 24"
        )
        raise ConfigurationError(msg)
    return hmac.digest(key.encode(), b"cloudburst session", hashlib.sha256).hex()


def _no_key() -> HTTPException:
    return HTTPException(401, "expected a valid key of the server", {"www-authenticate": "Bearer"})
