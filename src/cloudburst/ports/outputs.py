"""Outputs of a run beside its videos: its journal, and the film."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from cloudburst.models.film import WorkerFilm
from cloudburst.models.journal_entries import Entry
from cloudburst.models.locations import OutputLocation
from cloudburst.models.scene import Video
from cloudburst.ports.remote_files import RemoteFiles
from cloudburst.ports.renderer import OnProgress


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


# Function that makes a film on a worker of the run, which gets its videos and writes it to S3. It
# raises `FilmError` if the film cannot be made.
OnWorker: TypeAlias = Callable[[WorkerFilm, RemoteFiles, OnProgress], Awaitable[None]]


class FilmMaker(Protocol):
    """Maker of the film of a run."""

    @property
    def needs_worker(self) -> bool:
        """True if a worker makes the film, so that the last worker of the run is kept for it."""
        ...

    async def make(
        self, videos: Sequence[Video], on_progress: OnProgress, on_worker: OnWorker
    ) -> tuple[OutputLocation, bool]:
        """Make the film of the finished videos, in their order.

        Return its location, and true if it was made earlier from the same videos.

        Raises:
            FilmError: No film can be made of the videos.
        """
        ...
