"""Authorization of requests: Basic, or Bearer tokens, which may be anonymous."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx

from cloudburst.net.registry.errors import LoginError, RegistryError

_PARAMETER = re.compile(r'([A-Za-z_]+)="([^"]*)"')


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


Fetch = Callable[[httpx.URL, str | None], Awaitable[httpx.Response]]
"""Function that gets a token from a URL, with an optional header ``Authorization``."""


class Login:
    """Authorization of a client at one registry. A token is used until the registry refuses it."""

    def __init__(self, url: httpx.URL, credentials: Credentials | None, fetch: Fetch) -> None:
        self._url = url
        self._credentials = credentials
        self._fetch = fetch
        self._headers: dict[str, str] = {}

    def header(self, scope: str) -> str | None:
        """Return the value of ``Authorization`` for a request; ``None`` before a challenge."""
        return self._headers.get(scope)

    async def answer(self, scope: str, challenge: str, sent: str | None) -> str:
        """Return a new value of ``Authorization`` after an answer with the status 401.

        Args:
            scope: Repository and actions that a token must allow: ``repository:NAME:pull,push``.
            challenge: ``WWW-Authenticate`` of the answer.
            sent: Authorization of the request that was refused.

        Raises:
            LoginError: The registry needs other credentials.
        """
        scheme = challenge.partition(" ")[0].lower()
        if scheme == "basic":
            self._headers[scope] = self._password(sent)
        elif scheme == "bearer":
            self._headers[scope] = await self._token(scope, dict(_PARAMETER.findall(challenge)))
        else:
            msg = f"{self._url.host} asks for an unknown kind of login: {scheme!r}"
            raise LoginError(msg, status=401)
        return self._headers[scope]

    def _password(self, sent: str | None) -> str:
        if self._credentials is None:
            raise LoginError(f"{self._url.host} requires a user name and a password", status=401)
        if sent == self._credentials.header:
            msg = f"{self._url.host} refuses the password of {self._credentials.username}"
            raise LoginError(msg, status=401)
        return self._credentials.header

    async def _token(self, scope: str, parameters: dict[str, str]) -> str:
        realm = httpx.URL(parameters.get("realm", ""))
        # The password is sent there. It may be another host, as that of Docker Hub is.
        if realm.scheme != "https" and origin(realm) != origin(self._url):
            msg = f"{self._url.host} names a token server without https: {realm.host}"
            raise LoginError(msg, status=401)
        # public.ecr.aws names a scope of its own, "aws".
        wanted = parameters.get("scope") or scope
        query = {"service": parameters.get("service", ""), "scope": wanted}
        header = self._credentials.header if self._credentials else None
        answer = await self._fetch(realm.copy_merge_params(query), header)
        try:
            body = answer.json()
            token: str = body.get("token") or body["access_token"]
        except (ValueError, AttributeError, KeyError) as exc:
            msg = f"{realm.host} sent no token; is it the token server of a registry?"
            raise RegistryError(msg) from exc
        return f"Bearer {token}"


def origin(url: httpx.URL) -> tuple[str, bytes]:
    """Return the scheme, host and port of a URL."""
    return url.scheme, url.netloc
