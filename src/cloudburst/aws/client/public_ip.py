"""Address of this machine, as workers see it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import urlsplit

import httpx

from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import Settings
from cloudburst.net.registry.names import is_loopback_host
from cloudburst.net.session import AWS_PAGES, get_page

CHECKIP_URL = "https://checkip.amazonaws.com"
"""URL of an AWS service that returns the public address of its caller."""
CHECKIP_TIMEOUT = 10.0
"""Maximum seconds to wait for an answer from `CHECKIP_URL`."""
EMULATOR_CLIENT = "127.0.0.1"
"""Address from which this machine reaches the workers of an emulator that runs on it."""
_DISCARD_PORT = 9


def is_emulated(settings: Settings) -> bool:
    """Return whether the settings name an emulator on this machine in place of AWS."""
    return is_loopback_host(urlsplit(settings.endpoint_url or "").hostname or "")


async def public_address(transport: httpx.AsyncBaseTransport | None = None) -> str:
    """Return the IPv4 address from which this machine reaches the internet without a proxy.

    Workers are reached without a proxy, too.

    Raises:
        ConfigurationError: `CHECKIP_URL` does not answer, or its answer is not an IPv4 address.
    """
    policy = replace(AWS_PAGES, proxies=False)
    try:
        page = await get_page(CHECKIP_URL, policy, seconds=CHECKIP_TIMEOUT, transport=transport)
    except httpx.HTTPError as exc:
        reason = f"{type(exc).__name__}: {exc}"
        msg = f"the address of this machine is unknown: {CHECKIP_URL} does not answer ({reason})"
        raise ConfigurationError(msg) from exc
    text = page.decode("utf-8", "replace").strip()
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as exc:
        msg = (
            f"the address of this machine is unknown: {CHECKIP_URL} answered {text[:40]!r}; "
            "expected an IPv4 address"
        )
        raise ConfigurationError(msg) from exc


def local_address(peer: str) -> str:
    """Return the IPv4 address from which this machine reaches another one. Nothing is sent.

    Raises:
        OSError: There is no route to the other machine.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((peer, _DISCARD_PORT))  # selects a route
        return str(probe.getsockname()[0])


async def private_address(ranges: Iterable[str]) -> str:
    """Return this machine's IPv4 address within the address ranges of a VPC.

    Nothing is sent over the network.

    Raises:
        ConfigurationError: This machine has no address in these ranges.
    """
    networks = [ipaddress.IPv4Network(each) for each in ranges]
    for network in networks:
        try:
            local = ipaddress.IPv4Address(local_address(str(network.network_address + 1)))
        except OSError:
            continue
        if any(local in each for each in networks):
            return str(local)
    names = ", ".join(map(str, networks))
    raise ConfigurationError(f"this machine has no address in the VPC ({names})")


def parse_source(text: str) -> str:
    """Return an address or CIDR in the form that ingress rules use.

    Raises:
        ConfigurationError: The text is neither an IPv4 address nor an IPv4 CIDR.
    """
    try:
        return str(ipaddress.IPv4Network(text.strip(), strict=True))
    except ValueError as exc:
        msg = f"--from: {text!r}; expected an IPv4 address or CIDR, for example 203.0.113.7/32"
        raise ConfigurationError(f"{msg} ({exc})") from exc
