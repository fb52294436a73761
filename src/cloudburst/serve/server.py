"""Socket of ``cloudburst serve``."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager

from cloudburst.errors import ConfigurationError


@contextmanager
def listening_socket(host: str, port: int) -> Generator[socket.socket]:
    """Yield a socket that listens. Raises `ConfigurationError` if the address cannot be used."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
        # Its connections inherit it: otherwise parts of short responses wait for an ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as exc:
        reason = str(exc.strerror).partition(" (")[0]
        msg = f"--host {host} --port {port}: {reason}; pass another --port, or 0 for any"
        raise ConfigurationError(msg) from exc
    with listener:
        yield listener
