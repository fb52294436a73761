"""Limits of time and rate for transfers."""

from __future__ import annotations

from dataclasses import dataclass

KiB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPolicy:
    """Limits of one transfer. Times are in seconds, sizes in bytes."""

    connect_timeout: float = 10.0
    """Time for the lookup of the server's name and the TCP connection, and again for the TLS
    handshake."""
    answer_timeout: float = 30.0
    """Time from the end of the request to the end of the answer's head, and again for the body of
    an answer that reports an error."""
    pace_window: float = 30.0
    """Time in which at least `pace_bytes` must be received, or the rest of the file; and in which a
    block of `put.BLOCK_BYTES` must be sent."""
    pace_bytes: int = 960 * KiB
    """Smallest number of bytes in a `pace_window`: with the defaults, 32 KiB per second."""
    total_timeout: float = 3600.0
    """Time for the whole transfer. The service keeps a file for as long after its last use."""


DEFAULT_POLICY = TransferPolicy()
