"""Access of a client to files in S3, which is opened when it is first needed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from cloudburst.models.settings import Settings

if TYPE_CHECKING:
    from cloudburst.aws.s3.object_store import ObjectStore


class RemoteAccess:
    """Connections of a client to S3, on its event loop."""

    def __init__(self, stack: AsyncExitStack, account: Callable[[], tuple[Settings, Any]]) -> None:
        self._stack = stack
        self._account = account
        self._store: ObjectStore | None = None
        self._opening = anyio.Lock()

    @property
    def account(self) -> tuple[Settings, Any]:
        """Settings and ``aioboto3.Session`` with which S3 is accessed; the session may be ``None``."""
        return self._account()

    async def object_store(self) -> ObjectStore:
        """Return the access to objects in S3.

        Raises:
            CredentialsError: The profile does not exist, or the configuration of boto is wrong.
        """
        async with self._opening:
            if self._store is None:
                # Importing boto takes a quarter of a second.
                aws = await anyio.to_thread.run_sync(import_module, "cloudburst.aws.client.client")
                s3 = await anyio.to_thread.run_sync(import_module, "cloudburst.aws.s3.object_store")
                settings, session = self.account
                client = await self._stack.enter_async_context(
                    aws.open_aws(settings, session=session)
                )
                self._store = s3.ObjectStore(client)
            return self._store


@asynccontextmanager
async def open_remote_access(
    account: Callable[[], tuple[Settings, Any]],
) -> AsyncGenerator[RemoteAccess]:
    """Yield access to files in S3, and close its connections at the end.

    ``account`` returns the settings and the session, and is called when they are needed.
    """
    async with AsyncExitStack() as stack:
        yield RemoteAccess(stack, account)
