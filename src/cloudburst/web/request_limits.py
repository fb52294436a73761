"""Limits of the requests to the routes of `Jobs`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from cloudburst.errors import JobLimitError
from cloudburst.models.limits import Count


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RequestLimits:
    """Limits of requests about jobs. Limits of the jobs themselves are in `JobLimits`."""

    scenes: Count = 1_000
    """Maximum number of scenes of a job."""
    json_bytes: Count = 4_000_000
    """Maximum size of the JSON of a job, in bytes."""
    request_bytes: Count = 1_000_000_000
    """Maximum size of one request, in bytes: an upload, or a form with all of its files."""
    files: Count = 1_000
    """Maximum number of files in one form."""
    transfers: Count = 8
    """Maximum number of uploads, forms and large JSON bodies of one owner that this process
    receives at once."""
    streams: Count = 100
    """Maximum number of event streams of one owner in this process."""


class ConcurrencyLimit:
    """Limit of the number of requests of one kind that each owner has at once."""

    def __init__(self, maximum: int, what: str) -> None:
        self._maximum, self._what = maximum, what
        self._current = Counter[str]()

    def check(self, owner: str) -> None:
        """Raise `JobLimitError` if an owner has as many requests as are permitted."""
        if self._current.get(owner, 0) >= self._maximum:
            msg = f"{self._maximum} {self._what} are open, which is the limit; close one first"
            raise JobLimitError(msg)

    @contextmanager
    def entered(self, owner: str) -> Generator[None]:
        """Count a request of an owner. Raises `JobLimitError`, as `check` does."""
        self.check(owner)
        self._current[owner] += 1
        try:
            yield
        finally:
            self._current[owner] -= 1
            if not self._current[owner]:
                del self._current[owner]
