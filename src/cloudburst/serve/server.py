"""HTTP server of ``cloudburst serve``."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager

from starlette.types import ASGIApp
from uvicorn import Config, Server

from cloudburst.errors import ConfigurationError

# Maximum number of open connections; requests on further ones are answered with 503.
MAX_CONNECTIONS = 500
# Seconds after a signal for which responses may go on. Event streams end at once.
END_TIMEOUT = 3


class StandingServer(Server):
    """uvicorn without its handling of signals, which does not stop tasks after a second Ctrl-C."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            Config(
                app,
                access_log=False,
                lifespan="off",
                limit_concurrency=MAX_CONNECTIONS,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=END_TIMEOUT,
                ws="none",
            )
        )

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the handling of signals to the command."""
        yield

    def stop(self) -> None:
        """Accept no more connections, and end after open responses."""
        self.should_exit = True


@contextmanager
def listening_socket(host: str, port: int) -> Generator[socket.socket]:
    """Yield a socket that listens. Raises `ConfigurationError` if the address cannot be used."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as exc:
        reason = str(exc.strerror).partition(" (")[0]
        msg = f"--host {host} --port {port}: {reason}; pass another --port, or 0 for any"
        raise ConfigurationError(msg) from exc
    with listener:
        yield listener


def url_of(listener: socket.socket) -> str:
    """Return the URL of the page of a server."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
