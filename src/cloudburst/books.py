"""The journals of a client: each outlives the block of its run, and none the client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread

from cloudburst.engine.earlier import Earlier
from cloudburst.engine.polling import insist
from cloudburst.engine.run import Run
from cloudburst.errors import ConfigurationError
from cloudburst.journal import Past, SqliteJournal, open_journal
from cloudburst.journal.pruning import prune
from cloudburst.journal.reading import parts
from cloudburst.models.scene import CheckedScene
from cloudburst.resuming import taken_stock

_REMOVING = 10.0
"""Seconds that it may take to remove a small file."""


@dataclass(eq=False, slots=True, kw_only=True)
class Book:
    """The journal of a run that goes on."""

    journal: SqliteJournal
    past: Past
    """What it said when it was opened."""
    run: Run | None = None
    """``None`` as long as nothing of it has begun."""
    closed: anyio.Event = field(default_factory=anyio.Event)

    async def earlier(
        self,
        scenes: Sequence[CheckedScene],
        paths: Mapping[str, Path],
        *,
        overwrite: bool,
        resume: bool,
    ) -> Earlier | None:
        """What earlier lives have left; ``None`` for a run that is new. See `taken_stock`."""
        if not resume:
            return None
        # Also where there is nothing to resume: then all that is there is somebody else's.
        earlier = await anyio.to_thread.run_sync(
            lambda: taken_stock(self.past, scenes, paths, overwrite=overwrite)
        )
        return earlier if self.past.lives else None


class Books:
    """Those that are open."""

    def __init__(self) -> None:
        self._open: dict[Book, AsyncExitStack] = {}

    async def open(self, folder: Path, run: str, *, resume: bool) -> Book:
        """The journal of a run whose names are claimed.

        Raises `ConfigurationError` for one that has begun already, unless it is to be resumed, and
        `JournalError` for one that cannot be read.
        """
        async with AsyncExitStack() as stack:
            journal = await stack.enter_async_context(open_journal(folder, run))
            past = Past() if journal.trouble else await journal.past()
            if past.lives and not resume:
                msg = (
                    f"run {run!r} has begun already in {folder}: resume=True goes on with it "
                    f"(cloudburst resume {run}), another name begins a new one"
                )
                raise ConfigurationError(msg)
            if not past.lives:
                await anyio.to_thread.run_sync(prune, folder)
            book = Book(journal=journal, past=past)
            self._open[book] = stack.pop_all()
        return book

    async def close_later(self, book: Book) -> None:
        """Close it when nothing more will happen to its run."""
        if book.run is not None:
            await book.run.written()
        await self.close(book)

    async def close(self, book: Book) -> None:
        """Close it now, cancelled or not. One in which nothing was written is no journal."""
        if (stack := self._open.get(book)) is not None:
            await stack.aclose()
            if book.run is None and not book.past.lives:
                path = book.journal.path
                await insist(lambda: anyio.to_thread.run_sync(_remove, path), seconds=_REMOVING)
            self._open.pop(book, None)
            book.closed.set()

    async def close_all(self) -> None:
        """Close what is open."""
        for book in tuple(self._open):
            await self.close(book)


@asynccontextmanager
async def open_books() -> AsyncGenerator[Books]:
    """None at first; in the end all are closed."""
    books = Books()
    try:
        yield books
    finally:
        await books.close_all()


def _remove(path: Path) -> None:
    for part in parts(path):
        with suppress(OSError):
            part.unlink()
    with suppress(OSError):
        path.parent.rmdir()  # unless something else is in it
