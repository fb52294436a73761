"""A TCP proxy with a rate limit for all connections together.

    python benchmarks/containers/shaped_proxy.py HOST:PORT MB_PER_SECOND

prints the address at which it listens. Only bytes from the server are limited. Programs of the
kernel for this (``tc``) need rights that many machines do not give.
"""

from __future__ import annotations

import socket
import sys
import threading
import time

BLOCK = 64 * 1024
BURST = 0.02
"""Seconds whose bytes may be sent at once."""


class TokenBucket:
    """A rate limit in bytes per second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self, size: int) -> None:
        """Wait until ``size`` bytes may be sent."""
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - BURST) + size / self._rate
            delay = self._free_at - now
        if delay > 0:
            time.sleep(delay)


def copy(source: socket.socket, target: socket.socket, bucket: TokenBucket | None) -> None:
    try:
        while block := source.recv(BLOCK):
            if bucket is not None:
                bucket.take(len(block))
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, target):
            each.close()


def main() -> None:
    host, _, port = sys.argv[1].rpartition(":")
    bucket = TokenBucket(float(sys.argv[2]) * 1e6)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            client, _ = listener.accept()
            server = socket.create_connection((host, int(port)))
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for arguments in ((client, server, None), (server, client, bucket)):
                threading.Thread(target=copy, args=arguments, daemon=True).start()


if __name__ == "__main__":
    main()
