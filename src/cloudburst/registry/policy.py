"""Limits of time, size and number of the requests to a registry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPolicy:
    """Timeouts, retries and chunks. Times are in seconds."""

    chunk_bytes: int = 8 * 1024**2
    """Size of the chunks of an upload: one of them is sent again after a broken connection. ECR
    accepts parts of 5 MiB and more (UploadLayerPart, read on 2026-11-25)."""
    connect_timeout: float = 10.0
    idle_timeout: float = 60.0
    """Time without a byte after which a connection counts as broken."""
    answer_timeout: float = 120.0
    """Time until the answer to an upload: the registry hashes a whole layer before the last one."""
    attempts: int = 6
    """Number of attempts in a row, without progress between them, before a request fails."""
    first_delay: float = 0.5
    """Delay before the second attempt. It doubles with each further one."""
    max_delay: float = 15.0
    concurrent_blobs: int = 3
    """Number of blobs that are transferred at once."""
