"""Counting of the bytes that this process sends and receives, by the address of the other side."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_RECEIVING = ("recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into")
_SENDING = ("send", "sendmsg", "sendto")
_UNCOUNTED = ("sendall", "sendfile")
"""Methods that do not say how much they have sent; asyncio and anyio use none of them."""
UNKNOWN = ("unknown", 0)
"""Address of a connection that has ended already."""


@dataclass
class Traffic:
    """Numbers of bytes by host and port of the other side."""

    received: Counter[tuple[str, int]] = field(default_factory=Counter)
    sent: Counter[tuple[str, int]] = field(default_factory=Counter)


@contextmanager
def counted_sockets(*, servers: Container[int] = ()) -> Iterator[Traffic]:
    """Count the bytes of all sockets of asyncio, also those of TLS, while the block runs.

    Connections to this process, accepted on one of the ports ``servers``, are not counted at this
    side: they are those of a server that runs in this process, too.
    """
    traffic = Traffic()
    names = (*_RECEIVING, *_SENDING, *_UNCOUNTED)
    kept = {name: getattr(socket.socket, name) for name in names}
    own = {name for name in names if name in vars(socket.socket)}

    def counting(name: str, counts: Counter[tuple[str, int]]) -> Any:
        def method(self: socket.socket, *args: Any) -> Any:
            if self.family not in {socket.AF_INET, socket.AF_INET6}:
                return kept[name](self, *args)
            ends = _ends(self)  # unknown when the call has received the last bytes
            result = kept[name](self, *args)
            here, there = ends
            if here[1] not in servers:
                counts[there] += _size(result)
            return result

        return method

    def refused(*_: Any) -> Any:
        raise AssertionError("bytes are sent that are not counted")

    made = {
        **{name: counting(name, traffic.received) for name in _RECEIVING},
        **{name: counting(name, traffic.sent) for name in _SENDING},
        **dict.fromkeys(_UNCOUNTED, refused),
    }
    try:
        for name, method in made.items():
            setattr(socket.socket, name, method)
        yield traffic
    finally:
        for name in names:
            if name in own:
                setattr(socket.socket, name, kept[name])
            else:
                delattr(socket.socket, name)


def _ends(connection: socket.socket) -> tuple[tuple[str, int], tuple[str, int]]:
    """Return the addresses of this side and of the other one."""
    here = connection.getsockname()[:2]
    try:
        return here, connection.getpeername()[:2]
    except OSError:
        return here, UNKNOWN


def _size(result: Any) -> int:
    """Return the number of bytes of the result of any of the methods."""
    first = result[0] if isinstance(result, tuple) else result
    return first if isinstance(first, int) else len(first)
