"""Health check of a container, as a program whose exit code is 0 if the container is healthy.

Usage: ``health_check.py ADDRESS PORT CHECK...``. Each check is ``service`` (the health check of our
render service), a URL to request, ``true`` (succeeds) or ``false`` (fails). The checks are tried
until one succeeds.

Health checks connect to 127.0.0.1, where a worker listens in a real container. In the emulator the
worker listens at ADDRESS, so the program redirects these connections to ADDRESS.
"""

from __future__ import annotations

import http.client
import runpy
import socket
import sys
import urllib.request
from typing import Any

URL_TIMEOUT = 4.0
"""Timeout for the request of a URL, in seconds, as in the health check that ``cloudburst init``
writes for images other than ours."""


def connect_to(address: str, port: int) -> None:
    """Redirect connections of this process from a port of 127.0.0.1 to the task's address."""
    plain = socket.socket.connect

    def connect(self: socket.socket, where: Any) -> None:
        if where[:2] == ("127.0.0.1", port):
            where = (address, port)
        plain(self, where)

    socket.socket.connect = connect  # type: ignore[method-assign, assignment]


def succeeds(check: str) -> bool:
    """Return whether the container is healthy according to one check."""
    if check in {"true", "false"}:
        return check == "true"
    try:
        if check == "service":
            runpy.run_module("cloudburst.service.health", run_name="__main__", alter_sys=True)
            return True
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(check, timeout=URL_TIMEOUT):
            return True
    except (OSError, http.client.HTTPException):
        return False
    except SystemExit as end:
        return not end.code


def main() -> int:
    """Try the checks in the arguments until one succeeds; return the exit code of the program."""
    address, port, *checks = sys.argv[1:]
    connect_to(address, int(port))
    return 0 if any(succeeds(check) for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
