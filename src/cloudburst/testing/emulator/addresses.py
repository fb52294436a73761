"""Loopback addresses for tasks, and what may stand there in place of a worker."""

from __future__ import annotations

import random
import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress

from cloudburst.errors import ConfigurationError

FIRST_NET, LAST_NET = 16, 250
LAST_HOST = 254


class Addresses:
    """A pool of addresses; the one that was given back longest ago comes first."""

    def __init__(self, network: str) -> None:
        self._unused = _hosts(network)
        self._returned: list[str] = []

    def take(self) -> str:
        """An address that no task has. Raises `LookupError` when there are none."""
        address = next(self._unused, None) or (self._returned.pop(0) if self._returned else None)
        if address is None:
            raise LookupError("all addresses of this network are taken")
        return address

    def give_back(self, address: str) -> None:
        """Let another task have it."""
        self._returned.append(address)


class BlackHole:
    """A listener whose queue is full: Linux drops what else comes, so a connect finds nobody."""

    def __init__(self, address: str, port: int) -> None:
        self._sockets = [socket.create_server((address, port), backlog=0)]
        for _ in range(2):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((address, port))
            self._sockets.append(filler)

    def close(self) -> None:
        """Leave the address."""
        for each in self._sockets:
            each.close()


@contextmanager
def reserved_network(wanted: str | None) -> Generator[str]:
    """A network of loopback addresses that no other emulator on this machine has.

    Raises `ConfigurationError` if ``wanted`` is none of the form ``127.x`` or ``127.x.y``.
    """
    if wanted is not None:
        _check(wanted)
        yield wanted
        return
    # An abstract socket belongs to whoever holds it, and is free again when that process ends.
    with socket.socket(socket.AF_UNIX) as lock:
        nets = list(range(FIRST_NET, LAST_NET))
        random.shuffle(nets)
        for net in nets:
            with suppress(OSError):
                lock.bind(f"\0cloudburst-emulator-127.{net}")
                break
        else:
            raise ConfigurationError("every network from 127.16 to 127.249 has an emulator in it")
        yield f"127.{net}"


def _check(network: str) -> None:
    parts = network.split(".")
    numbers = [int(part) for part in parts if part.isdecimal()]
    if parts[0] != "127" or len(numbers) != len(parts) or len(parts) not in {2, 3}:
        raise ConfigurationError(f"network: {network!r}; expected 127.x or 127.x.y")
    if max(numbers) > 255:
        raise ConfigurationError(f"network: {network!r} has a number over 255")


def _hosts(network: str) -> Iterator[str]:
    _check(network)
    subnets = [network] if network.count(".") == 2 else [f"{network}.{n}" for n in range(256)]
    return (f"{subnet}.{host}" for subnet in subnets for host in range(2, LAST_HOST + 1))
