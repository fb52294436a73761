"""Transfers between the service and S3 or web servers: their HTTP clients and their number."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from anyio import Lock, Semaphore, to_thread

if TYPE_CHECKING:
    import httpx

MAX_FETCHES = 8
"""Maximum number of files that are fetched from S3 at the same time, and again from web servers;
further requests wait."""
MAX_UPLOADS = 8
"""Maximum number of results that are written to S3 at the same time; further requests wait."""


class Transfers:
    """HTTP clients of all transfers of a service, and limits of their number."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._fetch_slots = {True: Semaphore(MAX_FETCHES), False: Semaphore(MAX_FETCHES)}
        self.upload_slots = Semaphore(MAX_UPLOADS)
        """Semaphore that each upload holds. Fetches from slow servers must not delay uploads."""
        self._stack = stack
        self._opening = Lock()
        self._clients: dict[bool, httpx.AsyncClient] = {}

    def fetch_slots(self, *, public_only: bool) -> Semaphore:
        """Return the semaphore for fetches from web servers (``public_only``) or from S3.

        Slow web servers must not delay fetches from S3.
        """
        return self._fetch_slots[public_only]

    async def client(self, *, public_only: bool) -> httpx.AsyncClient:
        """Return the client for URLs that are not trusted, or the one for those that are.

        The clients do not share connections, because different addresses are permitted to them.
        """
        async with self._opening:
            if public_only not in self._clients:
                await to_thread.run_sync(_import_modules)
                from cloudburst.net.transfers.client import open_transfer_client  # noqa: PLC0415

                self._clients[public_only] = await self._stack.enter_async_context(
                    open_transfer_client(public_only=public_only)
                )
            return self._clients[public_only]


@asynccontextmanager
async def open_transfers() -> AsyncGenerator[Transfers]:
    """Yield the transfers of a service; at the end, close their connections."""
    async with AsyncExitStack() as stack:
        yield Transfers(stack)


def _import_modules() -> None:
    """Import the modules of transfers, which need httpx.

    Most services make no transfers, and the import takes a third of the time of their start.
    """
    for name in ("fetch", "put"):
        import_module(f"cloudburst.net.transfers.{name}")
