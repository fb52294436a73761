"""Loopback addresses of emulated tasks, and a listener on which connection attempts hang."""

from __future__ import annotations

import random
import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress

from cloudburst.emulator.errors import EmulatorError

FIRST_NET, LAST_NET = 16, 250
LAST_HOST = 254


class AddressPool:
    """Pool of loopback addresses, which reuses a released address as late as possible."""

    def __init__(self, network: str) -> None:
        self._unused = _hosts(network)
        self._returned: list[str] = []

    def take(self) -> str:
        """Return an unused address.

        Raises:
            LookupError: every address is in use.
        """
        address = next(self._unused, None) or (self._returned.pop(0) if self._returned else None)
        if address is None:
            raise LookupError("all addresses of this network are in use")
        return address

    def release(self, address: str) -> None:
        """Make an address available to other tasks."""
        self._returned.append(address)


class BlackHole:
    """Listener whose backlog is full: connection attempts hang instead of being refused."""

    def __init__(self, address: str, port: int) -> None:
        self._sockets = [socket.create_server((address, port), backlog=0)]
        for _ in range(2):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((address, port))
            self._sockets.append(filler)

    def close(self) -> None:
        """Close the listener and the connections that fill its backlog."""
        for each in self._sockets:
            each.close()


@contextmanager
def reserved_network() -> Generator[str]:
    """Reserve a network of loopback addresses for tasks; yield its prefix, such as ``127.42``.

    Raises:
        EmulatorError: all networks are reserved.
    """
    # An abstract socket belongs to one process and is free again when that process ends.
    with socket.socket(socket.AF_UNIX) as lock:
        nets = list(range(FIRST_NET, LAST_NET))
        random.shuffle(nets)
        for net in nets:
            with suppress(OSError):
                lock.bind(f"\0cloudburst-emulator-127.{net}")
                break
        else:
            raise EmulatorError("network: every one from 127.16 to 127.249 is in use")
        yield f"127.{net}"


def check_port(network: str, port: int) -> None:
    """Check that workers can listen on a port.

    Raises:
        EmulatorError: another program listens on the port of all addresses of this machine.
    """
    try:
        socket.create_server((next(_hosts(network)), port)).close()
    except OSError as exc:
        raise EmulatorError(
            f"port: {port}; workers cannot listen on it: {exc.strerror}. End the program that "
            f"listens on it: ss -ltnp 'sport = :{port}'"
        ) from exc


def _hosts(network: str) -> Iterator[str]:
    subnets = (f"{network}.{n}" for n in range(256))
    return (f"{subnet}.{host}" for subnet in subnets for host in range(2, LAST_HOST + 1))
