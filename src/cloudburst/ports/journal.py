"""Journal of a run, as the engine uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from cloudburst.models.journal_entries import Entry


class Journal(Protocol):
    """Journal of a run, from which another process can resume the run."""

    def now(self) -> float:
        """Return the time of the journal's clock, in seconds since the epoch."""
        ...

    async def write(self, *entries: Entry) -> None:
        """Write entries, and return when they would survive a power failure."""
        ...

    async def save_file(self, name: str, text: str) -> Path:
        """Write a text file to the run's folder beside its journal, and return its path."""
        ...
