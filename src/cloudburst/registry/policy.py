"""Limits of time, size and number of the requests to a registry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPolicy:
    """Timeouts and retries. Times are in seconds; only delays may be 0."""

    connect_timeout: float = 10.0
    idle_timeout: float = 60.0
    """Time without a byte after which a connection counts as broken."""
    min_rate: float = 10_000.0
    """Bytes per second, on average over `idle_timeout`, below which a connection counts as
    broken."""
    answer_timeout: float = 120.0
    """Time until the answer to an upload: the registry hashes the whole layer before it answers."""
    attempts: int = 6
    """Number of attempts in a row, without progress between them, before a request fails."""
    first_delay: float = 0.5
    """Delay before the second attempt. It doubles with each further one."""
    max_delay: float = 15.0
    concurrent_blobs: int = 3
    """Number of blobs that are transferred at once."""
    max_time: float = 6 * 3600.0
    """Maximum time of a transfer of any size. A login of ECR is valid for twelve hours."""

    def time_limit(self, size: int) -> float:
        """Return the time in which ``size`` bytes must be transferred, with all attempts.

        It is the time of all attempts without an answer, and that of the bytes at `min_rate`.
        """
        attempts = self.attempts * (self.connect_timeout + self.answer_timeout)
        return min(attempts + size / self.min_rate, self.max_time)
