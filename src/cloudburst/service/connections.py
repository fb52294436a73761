"""HTTP server with TLS, and limits for connections whose peers have not sent the key."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import ssl
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import h11
import uvicorn.server
from anyio import create_task_group
from anyio.abc import TaskGroup
from starlette.types import ASGIApp, Scope
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from cloudburst.errors import ConfigurationError

log = logging.getLogger("cloudburst.service")

# Maximum number of open connections. A client uses a few for each scene on the worker; 16 encoder
# slots need fewer than 100.
MAX_OPEN_CONNECTIONS = 500
# Seconds until the next attempt to accept a connection if the system is out of resources.
ACCEPT_RETRY_DELAY = 0.1
# Seconds after an authorised request after which the connection is closed unless another one has
# begun; a client must close or use it earlier.
KEEP_ALIVE_TIMEOUT = 60
# Largest size of an incomplete request head in bytes; those of our clients have 300 bytes.
MAX_HEAD_BYTES = 16 * 1024
# Number of chunks in a body above which the mean size of its chunks is checked.
UNCHECKED_CHUNKS = 1000
# Smallest mean size of chunks, in bytes. A single read can carry 40,000 chunks of one byte, and no
# other connection is served while they are parsed.
MIN_MEAN_CHUNK_BYTES = 64
# Key of the `Connection` in the ``state`` of a request's ASGI scope.
CONNECTION_KEY = "connection"

_RESOURCE_ERRNOS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def connection_limit() -> int:
    """Return the maximum number of open connections."""
    # Two thirds of the file descriptors are left for files, pipes of child processes and
    # transfers.
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return MAX_OPEN_CONNECTIONS
    return min(MAX_OPEN_CONNECTIONS, descriptors // 3)


class Connections:
    """Registry of the open connections, at most ``limit``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[Connection] = set()
        self._unauthorised: dict[Connection, None] = {}  # in the order of their last request

    def has_room(self) -> bool:
        """Return whether another connection may be added.

        At the limit, the oldest connection without an authorised request is closed first.
        """
        return len(self._open) < self._limit or self.abort_oldest()

    def abort_oldest(self) -> bool:
        """Close the connection that has waited longest without an authorised request.

        Return false if every connection is in an authorised request.
        """
        if (oldest := next(iter(self._unauthorised), None)) is None:
            return False
        self.remove(oldest)
        oldest.abort()
        return True

    def add(self, connection: Connection) -> None:
        """Add a connection without an authorised request."""
        self._open.add(connection)
        self._unauthorised[connection] = None

    def remove(self, connection: Connection) -> None:
        """Remove a connection that is closed."""
        self._open.discard(connection)
        self._unauthorised.pop(connection, None)

    def protect(self, connection: Connection) -> None:
        """Keep a connection from being closed in favour of a newer one."""
        self._unauthorised.pop(connection, None)

    def unprotect(self, connection: Connection) -> None:
        """Let an open connection be closed in favour of a newer one."""
        if connection in self._open:
            self._unauthorised[connection] = None


class _Parser(h11.Connection):
    _chunks = _chunk_bytes = 0

    def next_event(self) -> Any:
        event: Any = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._chunk_bytes = 0
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._chunk_bytes += len(event.data)
            if self._chunks > UNCHECKED_CHUNKS + self._chunk_bytes // MIN_MEAN_CHUNK_BYTES:
                raise h11.RemoteProtocolError("the chunks of the body are too small")
        return event


class Connection(H11Protocol):
    """Connection that is closed unless an authorised request begins in time."""

    def __init__(
        self, sock: socket.socket, connections: Connections, seconds: float, **more: Any
    ) -> None:
        super().__init__(app_state={CONNECTION_KEY: self}, **more)
        self.conn = _Parser(h11.SERVER, MAX_HEAD_BYTES)
        self._socket = sock
        self._established = False
        self._requests = 0
        self._connections = connections
        self._timer = self.loop.call_later(seconds, self.abort)
        connections.add(self)

    @contextmanager
    def authorised(self) -> Generator[None]:
        """Keep the connection open during an authorised request, and some time longer."""
        self._requests += 1  # the next one may begin before the application has ended the last
        self._timer.cancel()
        self._connections.protect(self)
        try:
            yield
        finally:
            self._requests -= 1
            if not self._requests:
                self._timer = self.loop.call_later(KEEP_ALIVE_TIMEOUT, self.abort)
                self._connections.unprotect(self)

    def abort(self) -> None:
        """Close the connection at once and discard unsent data."""
        if self._established:
            self.transport.abort()
        else:  # in the TLS handshake
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note that the connection is established, including TLS."""
        self._established = True
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is closed."""
        self.forget()
        super().connection_lost(exc)

    def forget(self) -> None:
        """Remove the closed connection from the registry."""
        self._timer.cancel()
        self._connections.remove(self)

    def send_400_response(self, msg: str) -> None:
        """Answer a malformed request; close the connection if a response has already begun."""
        if self.conn.our_state is h11.SEND_RESPONSE:
            self.cycle.disconnected = True  # so that the application does not answer as well
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:
            self.abort()


def authorised(scope: Scope) -> AbstractContextManager[None]:
    """Keep the connection of an authorised request open during the request, and some time longer.

    It does nothing on servers that do not limit connections.
    """
    connection: Connection | None = scope.get("state", {}).get(CONNECTION_KEY)
    return connection.authorised() if connection else nullcontext()


class LimitedServer(uvicorn.server.Server):
    """uvicorn server without signal handling, which limits connections.

    A connection without an authorised request is closed after ``seconds``.
    """

    def __init__(self, app: ASGIApp, context: ssl.SSLContext | None, seconds: float) -> None:
        super().__init__(
            Config(
                app,
                access_log=False,
                http="h11",
                lifespan="off",
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=1,
                timeout_keep_alive=KEEP_ALIVE_TIMEOUT,
                ws="none",
            )
        )
        self._context = context
        self._seconds = seconds
        self._connections = Connections(connection_limit())
        self._accepting: list[asyncio.Task[None]] = []

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the handling of signals to the program."""
        yield

    def stop(self) -> None:
        """Accept no more connections, and end after open responses."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections of listening sockets."""
        await super().startup([])  # uvicorn would accept connections without a limit
        for listener in sockets or ():
            listener.setblocking(False)
            self._accepting.append(asyncio.create_task(self._accept_all(listener)))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, and close those that are open."""
        for task in self._accepting:
            task.cancel()
        await super().shutdown(sockets)

    async def _accept_all(self, listener: socket.socket) -> None:
        async with create_task_group() as opening:
            while True:
                await self._accept(listener, opening)

    async def _accept(self, listener: socket.socket, opening: TaskGroup) -> None:
        try:
            sock, _ = await asyncio.get_running_loop().sock_accept(listener)
        except OSError as error:  # also for a peer that has already disconnected
            if error.errno in _RESOURCE_ERRNOS:
                log.warning("a connection cannot be accepted: %s", error.strerror)
                self._connections.abort_oldest()
                await asyncio.sleep(ACCEPT_RETRY_DELAY)
            return
        if self._connections.has_room():
            connection = Connection(
                sock,
                self._connections,
                self._seconds,
                config=self.config,
                server_state=self.server_state,
            )
            opening.start_soon(self._open, sock, connection)
        else:
            log.warning("a connection was not accepted: all others are in use")
            sock.close()
        await asyncio.sleep(0)  # sock_accept does not yield while connections are waiting

    async def _open(self, sock: socket.socket, connection: Connection) -> None:
        try:
            await connection.loop.connect_accepted_socket(
                lambda: connection, sock, ssl=self._context
            )
        except OSError as error:  # no TLS, too slow, or disconnected; SSLError is an OSError too
            log.debug("a connection was not established: %s", error)
            connection.forget()


def url_of(listener: socket.socket, scheme: str = "http") -> str:
    """Return the URL of a server by its listening socket."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def server_context(certificate: str, private_key: str) -> ssl.SSLContext:
    """Return the TLS context of a server; certificate and private key are PEM.

    Raises:
        ConfigurationError: one of the two is not valid PEM, or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Python reads them from files only; a pipe is a file that no other process can open.
        with _piped(certificate) as shown, _piped(private_key) as kept:
            # With no password OpenSSL would ask on the terminal; an empty one prevents that.
            context.load_cert_chain(shown, kept, password="")
    except (OSError, ValueError):  # SSLError is an OSError
        msg = (
            "CLOUDBURST_CERTIFICATE and CLOUDBURST_PRIVATE_KEY: expected a certificate in PEM and "
            "the private key of that certificate"
        )
        raise ConfigurationError(msg) from None
    return context


@contextmanager
def _piped(text: str) -> Generator[str]:
    # ``ValueError`` for a text that is not ASCII or has more than 16,000 bytes, which fit into a
    # pipe on any system.
    data = text.encode("ascii")  # other characters raise a ValueError
    if len(data) > 16_000:
        msg = "too long"
        raise ValueError(msg)
    reader, writer = os.pipe()
    try:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(data)
        yield f"/dev/fd/{reader}"
    finally:
        os.close(reader)
