"""Transport of the requests to one worker: its TCP connections and how long they stay open."""

from __future__ import annotations

import socket
import ssl

import httpx

KEEPALIVE_EXPIRY = 50.0
"""Seconds for which an idle connection is kept open. This is less than the 60 s of the render
service, which might otherwise close the connection just as a request is sent."""
UNSENT_BYTES = 128 * 1024
"""Bytes that the system accepts ahead of what it has sent on a connection. With more, files would
be passed to it long before they arrive, so that the order of files could no longer be changed and
their rate not be measured. A line of 1 Gbit/s sends this in 1 ms, more than the event loop needs to
pass the next block."""


def create_transport(context: ssl.SSLContext, *, reuse: bool) -> httpx.AsyncHTTPTransport:
    """Return a new transport. With ``reuse``, a connection serves several requests."""
    limits = httpx.Limits(
        max_connections=None,  # the engine limits the scenes on a worker
        max_keepalive_connections=None if reuse else 0,
        keepalive_expiry=KEEPALIVE_EXPIRY,
    )
    return httpx.AsyncHTTPTransport(
        verify=context, trust_env=False, limits=limits, socket_options=_socket_options()
    )


def _socket_options() -> list[tuple[int, int, int]]:
    """Return socket options for long silence and for short queues.

    They keep a silent connection open, detect a broken one in 90 s, and limit the bytes that wait
    in the system before they are sent, where it knows such an option (Linux and macOS do).

    A worker that encodes may send nothing for minutes, and network devices drop a connection
    without traffic: NAT gateways and load balancers of AWS after 350 s
    (https://aws.amazon.com/blogs/networking-and-content-delivery/implementing-long-running-tcp-connections-within-vpc-networking/,
    2026-11).
    """
    wanted = {
        "TCP_KEEPIDLE": 60,
        "TCP_KEEPALIVE": 60,  # the name on macOS
        "TCP_KEEPINTVL": 10,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": 90_000,  # milliseconds until sent data must be acknowledged
        "TCP_NOTSENT_LOWAT": UNSENT_BYTES,
    }
    known = [(getattr(socket, name, None), value) for name, value in wanted.items()]
    return [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        *((socket.IPPROTO_TCP, name, value) for name, value in known if name is not None),
    ]
