"""boto's sessions and clients, made where they hold up nobody.

Importing boto takes a quarter of a second, and reading a service's model tens of milliseconds; so
the first client of a service is made in a thread, on a loop of its own, and thrown away. The next
one of the same session finds everything read and takes a millisecond.
"""

from __future__ import annotations

import ipaddress
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import anyio.to_thread
from aiobotocore.config import AioConfig
from botocore.exceptions import NoCredentialsError

from cloudburst.adapters.aws.redaction import cover

MODELS = str(Path(__file__).with_name("models"))
"""Models of services that we have written, for botocore to read beside its own."""
CONNECT = 3.1
"""Seconds for a connection: a little more than what TCP takes to send a lost packet again."""
READ = 10.0
"""Seconds without a byte of the answer."""
CONNECTIONS = 50
"""To one service at once; more calls wait for their turn."""


class Clients:
    """One client for each service, opened on first use; closed when nobody uses them any more."""

    def __init__(self, session: Any, *, region: str, endpoint_url: str | None) -> None:
        self._session = session
        loader = session._session.get_component("data_loader")  # noqa: SLF001 - no public way
        loader.search_paths[:] = [p for p in loader.search_paths if p != MODELS] + [MODELS]
        self._region = region
        self._endpoint_url = endpoint_url
        self._open: dict[tuple[str, str], Any] = {}
        self._stack = AsyncExitStack()
        self._turn = anyio.Lock()
        # A call is signed without a pause, which takes a millisecond: one in each round of the
        # loop, so that a hundred that come at once hold up nobody else.
        self._gate = anyio.Lock()
        self._calls = 0
        self._retired = False

    async def call(
        self, service: str, operation: str, parameters: dict[str, Any], *, region: str | None
    ) -> dict[str, Any]:
        """One call, as botocore makes it, errors and all."""
        self._calls += 1
        try:
            client = await self._client(service, region or self._region)
            async with self._gate:
                await anyio.lowlevel.checkpoint()
            answer: dict[str, Any] = await getattr(client, operation)(**parameters)
            return answer
        finally:
            self._calls -= 1
            if self._retired and not self._calls:
                await self._close()

    async def retire(self) -> None:
        """Close when the calls that go on have ended; there are no more."""
        self._retired = True
        if not self._calls:
            await self._close()

    async def _close(self) -> None:
        with anyio.CancelScope(shield=True):  # closes sockets, waits for nothing
            await self._stack.aclose()

    async def _client(self, service: str, region: str) -> Any:
        if (known := self._open.get((service, region))) is not None:
            return known
        async with self._turn:
            if (client := self._open.get((service, region))) is None:
                await anyio.to_thread.run_sync(
                    anyio.run, self._read, service, region, abandon_on_cancel=True
                )
                client = await self._stack.enter_async_context(self._made(service, region))
                self._open[service, region] = client
                cover()  # loggers come with modules, and modules with clients
            return client

    async def _read(self, service: str, region: str) -> None:
        if await self._session.get_credentials() is None:
            raise NoCredentialsError  # now, and not after a search on everybody's loop
        async with self._made(service, region):
            pass

    def _made(self, service: str, region: str) -> Any:
        loopback = self._endpoint_url is not None and _is_loopback(self._endpoint_url)
        config = AioConfig(
            connect_timeout=CONNECT,
            read_timeout=READ,
            max_pool_connections=CONNECTIONS,
            # Whoever asks repeats: only he knows whether a call may be made again, and when.
            retries={"mode": "standard", "total_max_attempts": 1},
            # No proxy leads to this very machine. None: what the environment says.
            proxies={} if loopback else None,
        )
        return self._session.client(
            service, region_name=region, endpoint_url=self._endpoint_url, config=config
        )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
