"""Counting of the bytes that this process sends and receives, by the address of the other side."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

_RECEIVING = ("recv", "recv_into", "recvmsg")
_SENDING = ("send", "sendmsg")


@dataclass
class Traffic:
    """Numbers of bytes by port of the other side."""

    received: Counter[tuple[str, int]] = field(default_factory=Counter)
    sent: Counter[tuple[str, int]] = field(default_factory=Counter)


@contextmanager
def counted_sockets() -> Iterator[Traffic]:
    """Count the bytes of all sockets of asyncio, also those of TLS, while the block runs."""
    traffic = Traffic()
    kept = {name: getattr(socket.socket, name) for name in (*_RECEIVING, *_SENDING)}

    def counting(name: str, counts: Counter[tuple[str, int]]) -> Any:
        def method(self: socket.socket, *args: Any) -> Any:
            result = kept[name](self, *args)
            size = result if isinstance(result, int) else len(result)
            with suppress(OSError):
                if self.family == socket.AF_INET:
                    counts[self.getpeername()] += size
            return result

        return method

    try:
        for name in _RECEIVING:
            setattr(socket.socket, name, counting(name, traffic.received))
        for name in _SENDING:
            setattr(socket.socket, name, counting(name, traffic.sent))
        yield traffic
    finally:
        for name in kept:
            delattr(socket.socket, name)
