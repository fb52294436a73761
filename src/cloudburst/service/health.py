"""Health check of the service: ``python -m cloudburst.service.health`` exits with 0 if healthy.

A container's health check runs this command where there is no curl. It runs every few seconds
beside renders that use every core, so it imports almost nothing: a socket instead of an HTTP
client, and no other module of this package.
"""

from __future__ import annotations

import socket
import sys
import time
from os import environ

# Seconds for the check: less than the 5 s after which Docker and ECS stop waiting.
CONTAINER_HEALTH_CHECK_TIMEOUT = 4.0
STATUS_BYTES = len(b"HTTP/1.1 200")


def is_healthy(host: str, port: int, *, certificate: str) -> bool:
    """Return whether the service at an address answers its health check with 200 in time.

    With a ``certificate`` in PEM, TLS is used, and only this certificate is trusted; an invalid one
    raises `ssl.SSLError`.
    """
    deadline = time.monotonic() + CONTAINER_HEALTH_CHECK_TIMEOUT
    context = None
    if certificate:
        import ssl  # noqa: PLC0415 - a fifth of the time, and not always needed

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=certificate)
    try:
        with socket.create_connection((host, port), timeout=CONTAINER_HEALTH_CHECK_TIMEOUT) as raw:
            line = context.wrap_socket(raw) if context else raw
            line.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while len(answer) < STATUS_BYTES:
                line.settimeout(max(0.001, deadline - time.monotonic()))
                piece = line.recv(STATUS_BYTES - len(answer))
                if not piece:
                    return False
                answer += piece
            return answer == b"HTTP/1.1 200"
    except OSError:  # SSLError is an OSError too
        return False


if __name__ == "__main__":
    host, port = environ.get("CLOUDBURST_HOST", "127.0.0.1"), environ.get("CLOUDBURST_PORT", "5000")
    sys.exit(not is_healthy(host, int(port), certificate=environ.get("CLOUDBURST_CERTIFICATE", "")))
