"""This machine's address, as workers will see it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

import anyio
import anyio.to_thread
import httpx

from cloudburst.errors import ConfigurationError

CHECKIP = "https://checkip.amazonaws.com"
"""AWS's own: it answers with the address that asks, and nothing else."""
SECONDS = 10.0
_DISCARD = 9


async def public_address(transport: httpx.BaseTransport | None = None) -> str:
    """The IPv4 address from which this machine reaches the internet, as `CHECKIP` sees it.

    Args:
        transport: In place of the network.

    Raises:
        ConfigurationError: It does not answer, or not with an IPv4 address.
    """

    def ask() -> str:
        with httpx.Client(transport=transport, timeout=SECONDS) as client:
            return client.get(CHECKIP).raise_for_status().text.strip()

    try:
        with anyio.fail_after(SECONDS):
            text = await anyio.to_thread.run_sync(ask, abandon_on_cancel=True)
    except (httpx.HTTPError, TimeoutError) as exc:
        msg = f"{CHECKIP} does not tell this machine's address ({type(exc).__name__}: {exc})"
        raise ConfigurationError(msg) from exc
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as exc:
        msg = f"{CHECKIP} answers {text[:40]!r} and not with an IPv4 address"
        raise ConfigurationError(msg) from exc


async def private_address(ranges: Iterable[str]) -> str:
    """The IPv4 address of this machine in one of the ranges of a VPC. Sends nothing.

    Raises:
        ConfigurationError: It has none there.
    """
    networks = [ipaddress.IPv4Network(each) for each in ranges]
    for network in networks:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                # For a datagram socket this chooses a route and nothing more.
                probe.connect((str(network.network_address + 1), _DISCARD))
                local = ipaddress.IPv4Address(probe.getsockname()[0])
        except OSError:
            continue
        if any(local in each for each in networks):
            return str(local)
    told = ", ".join(map(str, networks))
    raise ConfigurationError(f"this machine has no address in the VPC ({told})")


def source(text: str) -> str:
    """An address or CIDR as a rule wants it. Raises `ConfigurationError` for anything else."""
    try:
        return str(ipaddress.IPv4Network(text.strip(), strict=True))
    except ValueError as exc:
        msg = f"--from: {text!r} is no IPv4 address or CIDR such as 203.0.113.7 or 203.0.113.0/24"
        raise ConfigurationError(f"{msg} ({exc})") from exc
