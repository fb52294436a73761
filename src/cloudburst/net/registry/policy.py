"""Timeouts and retries of the requests to a registry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPolicy:
    """Timeouts and retries. Times are in seconds; only delays may be 0."""

    connect_timeout: float = 10.0
    idle_timeout: float = 60.0
    """Time without a byte after which a connection counts as broken. Before the answer to an
    upload, the registry hashes the whole layer."""
    attempts: int = 6
    """Number of attempts before a request or the transfer of a blob fails."""
    first_delay: float = 0.5
    """Delay before the second attempt. It doubles with each further one."""
    max_delay: float = 15.0
    concurrent_blobs: int = 3
    """Number of blobs that are transferred at once."""
