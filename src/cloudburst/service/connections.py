"""Limits for connections from peers that have not sent the key.

uvicorn accepts as many connections as there are file descriptors. Therefore the service accepts
connections itself. It counts them from the first packet on, including TLS handshakes, and at the
limit closes the oldest connection without an authorised request.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

log = logging.getLogger("cloudburst.service")

MAX_OPEN_CONNECTIONS = 500
"""Maximum number of open connections. A client uses a few for each scene on the worker; 16 encoder
slots need fewer than 100."""
MIN_OPEN_CONNECTIONS = 8
RESERVED_DESCRIPTORS = 96
"""Number of file descriptors kept for the listener, event loop, pipes, libraries, files that
threads open for a short time, and a socket and a file for each of 16 transfers."""
DESCRIPTORS_PER_ENCODER = 8
"""Number of file descriptors for the pipes and files of one child process."""
ACCEPT_RETRY_DELAY = 0.1
"""Seconds until the next attempt to accept a connection if the system is out of resources."""
WARNING_INTERVAL = 60.0
"""Seconds between two warnings about rejected connections."""

_RESOURCE_ERRNOS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def connection_limit(encoders: int) -> int:
    """Return the maximum number of open connections for a service with these encoder slots.

    Each connection may need a second file descriptor, for a file.
    """
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return MAX_OPEN_CONNECTIONS
    spare = descriptors - RESERVED_DESCRIPTORS - DESCRIPTORS_PER_ENCODER * encoders
    return max(MIN_OPEN_CONNECTIONS, min(MAX_OPEN_CONNECTIONS, spare // 2))


class Connection:
    """Accepted connection of the service.

    It may be closed in favour of a newer one, except while an authorised request is in progress.
    """

    def __init__(self, sock: socket.socket, connections: Connections) -> None:
        self.transport: asyncio.Transport | None = None
        """Transport of the connection; ``None`` until the connection is established, including
        TLS."""
        self._socket = sock
        self._connections = connections

    @property
    def is_authorised(self) -> bool:
        """True during an authorised request."""
        return self._connections.protects(self)

    def authorised(self) -> None:
        """Protect the connection during its present request, which is authorised.

        It is then not closed in favour of a newer connection.
        """
        self._connections.protect(self)

    def request_over(self) -> None:
        """End the protection of the connection: its next request must be authorised again."""
        self._connections.unprotect(self)

    def lost(self) -> None:
        """Remove the closed connection from the registry."""
        self._connections.remove(self)

    def abort(self) -> None:
        """Close the connection at once and discard unsent data."""
        if self.transport is not None:
            self.transport.abort()
        else:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class Connections:
    """Registry of the open connections, at most ``limit``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._authorised: set[Connection] = set()
        self._unauthorised: dict[Connection, None] = {}  # in the order of their last request

    def __len__(self) -> int:
        return len(self._authorised) + len(self._unauthorised)

    def admit(self, sock: socket.socket) -> Connection | None:
        """Register an accepted socket and return its connection.

        At the limit, the oldest connection without an authorised request is closed first. Return
        ``None`` if every connection is in an authorised request.
        """
        if len(self) >= self._limit and not self.abort_oldest_unauthorised():
            return None
        connection = Connection(sock, self)
        self._unauthorised[connection] = None
        return connection

    def abort_oldest_unauthorised(self) -> bool:
        """Close the connection that has waited longest without an authorised request.

        Return false if every connection is in an authorised request.
        """
        oldest = next(iter(self._unauthorised), None)
        if oldest is None:
            return False
        del self._unauthorised[oldest]
        oldest.abort()
        return True

    def protect(self, connection: Connection) -> None:
        """Keep a connection from being closed in favour of a newer one."""
        if connection in self._unauthorised:
            del self._unauthorised[connection]
            self._authorised.add(connection)

    def protects(self, connection: Connection) -> bool:
        """Return whether a connection is kept from being closed in favour of a newer one."""
        return connection in self._authorised

    def unprotect(self, connection: Connection) -> None:
        """End the protection of a connection: it can be closed in favour of a newer one.

        Connections that have waited longer without an authorised request are closed first.
        """
        if connection in self._authorised or connection in self._unauthorised:
            self.remove(connection)
            self._unauthorised[connection] = None

    def remove(self, connection: Connection) -> None:
        """Remove a connection that has been closed."""
        self._authorised.discard(connection)
        self._unauthorised.pop(connection, None)


class Acceptor:
    """Accept loop of a listening socket, which enforces the limit of connections."""

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[Connection], asyncio.Protocol],
        *,
        context: ssl.SSLContext | None,
        handshake: float,
        connections: Connections,
    ) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        self._context = context
        self._handshake = handshake if context else None
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._logged = -WARNING_INTERVAL
        listener.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Stop accepting connections and cancel the TLS handshakes in progress."""
        self._loop.remove_reader(self._listener)
        if self._pause is not None:
            self._pause.cancel()
        for task in self._opening:
            task.cancel()

    def _resume(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError as error:  # also for a peer that has already disconnected
            if error.errno in _RESOURCE_ERRNOS:
                self._wait_for_room(error)
            return
        connection = self._connections.admit(sock)
        if connection is None:
            self._warn(f"all {len(self._connections)} connections are in use")
            sock.close()
            return
        task = self._loop.create_task(self._open(sock, connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, sock: socket.socket, connection: Connection) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._make_protocol(connection),
                sock,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake,
            )
        except OSError as error:  # no TLS, too slow, or disconnected; SSLError is an OSError too
            log.debug("a connection was not established: %s", error)
            connection.lost()
        except asyncio.CancelledError:
            connection.lost()
            raise

    def _wait_for_room(self, error: OSError) -> None:
        """Close an unauthorised connection, and accept no connection for `ACCEPT_RETRY_DELAY`.

        The listener is not watched in this time, because it stays readable and would wake the event
        loop constantly.
        """
        self._warn(f"a connection cannot be accepted: {error.strerror}")
        self._connections.abort_oldest_unauthorised()
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(ACCEPT_RETRY_DELAY, self._resume)

    def _warn(self, message: str) -> None:
        if self._loop.time() - self._logged >= WARNING_INTERVAL:
            self._logged = self._loop.time()
            log.warning("%s", message)
