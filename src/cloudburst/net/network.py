"""Connections only to permitted addresses, which are resolved once.

A URL of a user must not lead to machines that only this machine reaches, such as the metadata
service of EC2 and ECS. A check of the name is not enough: its owner may let it resolve to a public
address first and to another one later (DNS rebinding). So the addresses of a name are resolved
once for each connection, all of them are checked, and the connection is made to one of these
addresses. TLS and the header ``Host`` keep the name.
"""

from __future__ import annotations

import ipaddress
import math
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any, TypeAlias, cast

import anyio
import httpcore
import httpx
from anyio import CapacityLimiter, current_time, to_thread

# Number of addresses of a name that are tried.
MAX_ADDRESSES = 8

# Largest size in bytes of the head of an answer, including informational answers before it. Heads
# of S3 have at most 10 KB: 8 KB of headers and 2 KB of metadata.
MAX_HEAD_BYTES = 32 * 1024
# Number of bytes that are read at once before the head is complete.
HEAD_READ_BYTES = 16 * 1024


# Function that returns the IP addresses of a host name.
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

# Addresses of metadata services, all link-local addresses, and networks that versions of Python
# judge differently. They are never permitted.
_METADATA = tuple(
    map(
        ipaddress.ip_network,
        (
            "169.254.0.0/16",  # EC2 and ECS, and other clouds
            "fe80::/10",
            "fd00:ec2::/32",  # EC2 and EKS
            "fd20:ce::254/128",  # Google Cloud
            "100.100.100.200/32",  # Alibaba Cloud
            "168.63.129.16/32",  # Azure; a public address
            "192.0.0.0/24",  # Oracle Cloud; the rest has special purposes (RFC 6890)
            "3fff::/20",  # for documentation (RFC 9637); Python knows it from 3.13 on
        ),
    )
)
# All IPv6 addresses that have been assigned so far (RFC 4291, IANA, 2026-11).
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# 6to4 and Teredo, whose addresses contain an IPv4 address. Both are deprecated.
_TUNNELS = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))
# Addresses that contain the IPv4 address to which a gateway sends the packets (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")
# Private networks and loopback addresses.
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),  # RFC 1918, RFC 4193
            "100.64.0.0/10",  # RFC 6598; VPCs use it for subnets as well
            *("127.0.0.0/8", "::1/128"),
        ),
    )
)


class ForbiddenAddressError(httpx.ConnectError):
    """A name with an address to which the session must not connect."""


class UntrustedCertificateError(httpx.ConnectError):
    """A server whose certificate is not trusted."""


def is_permitted(address: str, *, private: bool) -> bool:
    """Return whether a connection to an IP address is permitted.

    Public addresses are. With ``private``, loopback addresses and those of private networks are
    permitted as well, but never link-local addresses and metadata services. An IPv6 address that
    contains an IPv4 address is judged by the latter.
    """
    try:
        ip = _unwrapped(ipaddress.ip_address(address))
    except ValueError:  # an address with a zone, which is link-local
        return False
    if any(ip in network for network in (*_METADATA, *_TUNNELS)) or ip.is_multicast:
        return False
    if ip.is_global and (isinstance(ip, IPv4Address) or ip in _GLOBAL_UNICAST):
        return True
    return private and any(ip in network for network in _PRIVATE)


def _unwrapped(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(ip, IPv6Address):
        if ip.scope_id is not None:
            raise ValueError(ip)
        if ip.ipv4_mapped is not None:
            return ip.ipv4_mapped
        if ip in _NAT64:
            return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


async def resolve_name(host: str, port: int) -> Sequence[str]:
    """Return the IP addresses of a host name, as the system finds them.

    A name server of a user may never answer, and a lookup cannot be interrupted. So it has a thread
    of its own: asyncio would use one of a few threads, for which all other lookups wait.
    """
    lookup = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await to_thread.run_sync(lookup, abandon_on_cancel=True, limiter=CapacityLimiter(1))
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class BoundedStream(httpcore.AsyncNetworkStream):
    """Stream of a connection on which one request after the other is made."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._in_head = True
        self._head_bytes = 0
        self.ended = False
        """True after the server has closed the connection."""

    def head_complete(self) -> None:
        """End the limit: what is read until the next request belongs to the body."""
        self._in_head = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Return received bytes; none at the end of the stream.

        Raises:
            httpcore.RemoteProtocolError: The head of the answer is too large.
            httpcore.ReadError: The server has closed the connection within the head.
        """
        if not self._in_head:
            data = await self._stream.read(max_bytes, timeout)
            self.ended = not data
            return data
        data = await self._stream.read(min(max_bytes, HEAD_READ_BYTES), timeout)
        self._head_bytes += len(data)
        if not data:
            self.ended = True
            raise httpcore.ReadError("the server closed the connection without an answer")
        if self._head_bytes > MAX_HEAD_BYTES:
            msg = f"the head of the answer has more than {MAX_HEAD_BYTES} bytes"
            raise httpcore.RemoteProtocolError(msg)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send bytes of a request."""
        self._in_head, self._head_bytes = True, 0
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Return the stream with TLS on top of it.

        Raises:
            UntrustedCertificateError: A repetition would not help.
        """
        try:
            stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except httpcore.ConnectError as exc:
            if not isinstance(exc.__cause__, ssl.SSLCertVerificationError):
                raise
            reason = f"the server's certificate is not trusted: {exc.__cause__.verify_message}"
            raise UntrustedCertificateError(reason) from exc
        return BoundedStream(stream)

    def get_extra_info(self, info: str) -> Any:
        """Return what the network knows about the connection."""
        # A body without a length ends with the connection, of which httpcore learns from the
        # network only: it would use the connection again until the network knows of its end.
        if info == "is_readable" and self.ended:
            return True
        return self._stream.get_extra_info(info)


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Network of an HTTP client, which connects only to permitted addresses."""

    def __init__(
        self,
        *,
        private: bool,
        resolve: Resolve = resolve_name,
        inner: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._private = private
        self._resolve = resolve
        self._inner = inner or cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first permitted address of a host that accepts a connection."""
        end = current_time() + (math.inf if timeout is None else timeout)
        addresses = await self._addresses(host, port, timeout)
        failure: Exception = httpcore.ConnectError("the name has no address")
        for number, address in enumerate(addresses):
            # The last address may use all the time that is left.
            left = (end - current_time()) / (len(addresses) - number)
            try:
                stream = await self._inner.connect_tcp(
                    address, port, max(left, 0.0), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
            else:
                return BoundedStream(stream)
        if problem := _problem_of_system(failure):
            raise httpcore.ConnectError(problem) from failure
        raise failure

    async def _addresses(self, host: str, port: int, limit: float | None) -> Sequence[str]:
        try:
            with anyio.fail_after(limit):
                found = await self._resolve(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("the lookup of the name takes too long") from None
        except (OSError, UnicodeError) as exc:
            raise httpcore.ConnectError(f"the name cannot be resolved: {exc}") from exc
        for address in found:
            if not is_permitted(address, private=self._private):
                kind = "not permitted" if self._private else "not public"
                # Callers who may name any host read this error, and must not learn the address.
                raise ForbiddenAddressError(f"{host} has an address that is {kind}")
        return found[:MAX_ADDRESSES]


def _problem_of_system(error: BaseException) -> str | None:
    """Return the operating system's text for a failed connection, or ``None``.

    The error itself only says that all attempts failed.
    """
    cause = error.__cause__
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return os.strerror(cause.errno)
        cause = cause.__cause__
    return None
