"""Sending of files to workers in turn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol, TypeAlias


class Sending(Protocol):
    """File that is being sent to a worker, as the uplink sees it."""

    async def wait(self, sent: int) -> None:
        """Wait until the next block of the file may be sent.

        ``sent`` is the number of bytes of the file that were passed to the system so far.
        """
        ...

    def arrived(self) -> None:
        """Note that the worker has received the whole file."""
        ...


Turn: TypeAlias = Callable[[int], AbstractAsyncContextManager[Sending]]
"""Function that returns a context manager in which a file of this many bytes is sent to a worker.
The context manager first waits until it is the file's turn."""


class _SendingAtOnce:
    """File that waits for no other file."""

    async def wait(self, sent: int) -> None:
        """Return at once."""

    def arrived(self) -> None:
        """Do nothing."""


SENDING_AT_ONCE: Sending = _SendingAtOnce()
"""File that waits for no other file."""


def at_once(size: int) -> AbstractAsyncContextManager[Sending]:  # noqa: ARG001
    """Let a file be sent at once: the `Turn` of workers on this machine."""
    return nullcontext(SENDING_AT_ONCE)
