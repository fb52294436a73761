"""Authorization of requests: Basic, or Bearer tokens, which may be anonymous."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

import anyio
import httpx

from cloudburst.registry.errors import LoginError, RegistryError, printable
from cloudburst.registry.private_urls import without_secrets

MAX_TOKEN_LENGTH = 64 * 1024
"""Maximum number of characters of a token. Those of public.ecr.aws have a few thousand."""
MIN_TOKEN_VALIDITY = 60.0
"""Validity of a token in seconds if the registry states less or nothing, as the specification of
token authentication says."""
MAX_TOKEN_VALIDITY = 86_400.0
"""Number of seconds after which a token is replaced even if the registry states more."""
EXPIRY_MARGIN = 10.0
"""Seconds before its expiry from which on a token is replaced."""

_PARAMETER = re.compile(r'(?<![A-Za-z_])([A-Za-z_]+)="([^"]*)"')
"""Pattern of a parameter. It begins at the start of a word only: the time is linear."""
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password of a registry."""

    username: str
    password: str = field(repr=False)

    @property
    def header(self) -> str:
        """Value of the header ``Authorization`` for these credentials."""
        text = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(text).decode()}"


@dataclass(frozen=True, slots=True)
class Scope:
    """Repository and actions that a token must allow."""

    repository: str
    actions: str = "pull"
    """``pull``, or ``pull,push``."""

    def __str__(self) -> str:
        return f"repository:{self.repository}:{self.actions}"


@dataclass(frozen=True, slots=True)
class Challenge:
    """Header ``WWW-Authenticate`` of an answer with the status 401."""

    scheme: str
    """``basic`` or ``bearer``."""
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Token:
    header: str
    expires_at: float


Fetch = Callable[[httpx.URL, str | None], Awaitable[bytes]]
"""Function that gets a token from a URL, with an optional header ``Authorization``."""


class Login:
    """Authorization of a client at one registry. Tokens are kept until they expire."""

    def __init__(self, url: httpx.URL, credentials: Credentials | None, fetch: Fetch) -> None:
        self._url = url
        self._credentials = credentials
        self._fetch = fetch
        self._basic = False
        self._tokens: dict[Scope, _Token] = {}
        self._lock = anyio.Lock()

    def header(self, scope: Scope) -> str | None:
        """Return the value of ``Authorization`` for a request; ``None`` before a challenge."""
        if self._basic and self._credentials is not None:
            return self._credentials.header
        token = self._tokens.get(scope)
        if token is None or token.expires_at < anyio.current_time():
            return None
        return token.header

    async def answer(self, scope: Scope, challenge_header: str, sent: str | None) -> str:
        """Return a new value of ``Authorization`` after an answer with the status 401.

        Args:
            scope: What the request needs.
            challenge_header: ``WWW-Authenticate`` of the answer.
            sent: Authorization of the request that was refused.

        Raises:
            LoginError: The registry needs other credentials.
        """
        async with self._lock:
            known = self.header(scope)
            if known is not None and known != sent:
                return known  # another request has just logged in
            challenge = parse_challenge(challenge_header)
            if challenge.scheme == "basic":
                return self._log_in_with_password(sent)
            token = await self._get_token(scope, challenge)
            self._tokens[scope] = token
            return token.header

    def _log_in_with_password(self, sent: str | None) -> str:
        if self._credentials is None:
            raise LoginError(f"{self._url.host} requires a user name and a password", status=401)
        if sent == self._credentials.header:
            msg = (
                f"{self._url.host} refuses the password of {printable(self._credentials.username)}"
            )
            raise LoginError(msg, status=401)
        self._basic = True
        return self._credentials.header

    async def _get_token(self, scope: Scope, challenge: Challenge) -> _Token:
        realm = self._token_url(challenge)
        query = {"service": challenge.parameters.get("service", "")}
        # public.ecr.aws names a scope of its own, "aws".
        query["scope"] = challenge.parameters.get("scope") or str(scope)
        header = self._credentials.header if self._credentials else None
        requested_at = anyio.current_time()
        answer = await self._fetch(realm.copy_merge_params(query), header)
        token, validity = _parse_token(answer)
        return _Token(f"Bearer {token}", requested_at + validity - EXPIRY_MARGIN)

    def _token_url(self, challenge: Challenge) -> httpx.URL:
        """Return the URL of the token server, which gets the password.

        It may be on another host, as that of Docker Hub is, if both have https.
        """
        try:
            realm = httpx.URL(challenge.parameters.get("realm", ""))
        except httpx.InvalidURL as exc:
            raise LoginError(f"{self._url.host} names no valid token server", status=401) from exc
        encrypted = self._url.scheme == realm.scheme == "https" and realm.host
        if realm.userinfo or not (encrypted or origin(realm) == origin(self._url)):
            msg = f"{self._url.host} names a token server on another host or without https: "
            raise LoginError(msg + without_secrets(realm), status=401)
        return realm


def origin(url: httpx.URL) -> tuple[str, bytes]:
    """Return the scheme, host and port of a URL."""
    return url.scheme, url.netloc


def parse_challenge(header: str) -> Challenge:
    """Return the scheme and parameters of ``WWW-Authenticate``; raise `LoginError` if unknown."""
    scheme, _, rest = header[:4096].strip().partition(" ")
    if scheme.lower() not in {"basic", "bearer"}:
        msg = f"the registry asks for an unknown kind of login: {printable(scheme, 50)!r}"
        raise LoginError(msg, status=401)
    return Challenge(
        scheme.lower(), {name.lower(): text for name, text in _PARAMETER.findall(rest)}
    )


def _parse_token(answer: bytes) -> tuple[str, float]:
    """Return the token in an answer and the seconds for which it is valid."""
    try:
        body: object = json.loads(answer)
    except (ValueError, RecursionError) as exc:
        raise RegistryError("the token server's answer is not valid JSON") from exc
    entries = cast("dict[str, object]", body) if isinstance(body, dict) else {}
    token = entries.get("token") or entries.get("access_token")
    if not isinstance(token, str) or len(token) > MAX_TOKEN_LENGTH or not _TOKEN.fullmatch(token):
        raise RegistryError("the token server's answer has no valid token")
    seconds = entries.get("expires_in")
    validity = seconds if isinstance(seconds, int) else 0
    return token, min(max(validity, MIN_TOKEN_VALIDITY), MAX_TOKEN_VALIDITY)
