"""Writes a run's journal while it goes on, off the loop, many entries to a commit."""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import anyio
from anyio import to_thread

from cloudburst.engine.polling import insist
from cloudburst.errors import ClosedError, ConfigurationError, JournalError
from cloudburst.journal.file import JournalFile, sync_folder
from cloudburst.journal.pruning import prune
from cloudburst.journal.reading import journal_path
from cloudburst.models.entries import Entry
from cloudburst.models.past import Past
from cloudburst.models.scene import checked_name

logger = logging.getLogger(__name__)

AGAIN = 10.0
"""Seconds after which a journal that could not be written is tried again."""
_WITHOUT = (
    "%s cannot be written (%s). The run goes on without: should this process die too, what it has "
    "done since is not known to cloudburst resume"
)
_CLOSING = 10.0
"""Seconds that closing may take, on a disk that hardly answers."""
_RUN = re.compile(r"[A-Za-z0-9_-]{1,64}")

_T = TypeVar("_T")


class CallBlocking(Protocol):
    """Calls a function that blocks, and waits for it."""

    def __call__(self, function: Callable[[], _T], /) -> Awaitable[_T]:
        """Return what it returns."""
        ...


@asynccontextmanager
async def open_journal(
    folder: Path,
    run: str,
    *,
    call: CallBlocking | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncGenerator[SqliteJournal]:
    """The journal of a run in an output folder: a new one, or that of its earlier lives.

    Only one process may have it open to write; the lock that `outputs.claimed` takes sees to
    that. A new journal that cannot be made holds up no run: see `SqliteJournal.trouble`.

    Args:
        folder: Where the run's videos go.
        run: Its name.
        call: How functions that block are called; a thread of the journal's own unless given.
        clock: Seconds since the epoch.

    Raises:
        JournalError: There is a journal, and it cannot be read.
        ConfigurationError: The run has a name that no file can have.
    """
    if not _RUN.fullmatch(run) or run.casefold() == "lock":  # the folder's lock is called so
        msg = f"the run's name is {run!r}; expected letters, digits, dashes and underscores"
        raise ConfigurationError(msg)
    file = JournalFile(journal_path(folder, run))
    journal = SqliteJournal(file, call=call or in_own_thread(), clock=clock)
    try:
        await journal.open()
        yield journal
    finally:
        with suppress(TimeoutError):  # whatever the disk does, the run has ended
            await insist(journal.close, seconds=_CLOSING)


class SqliteJournal:
    """A `cloudburst.ports.Journal` in a file.

    Entries that arrive while a commit is on its way are committed together by the next one. A
    write that is cancelled may or may not be there afterwards.
    """

    def __init__(
        self,
        file: JournalFile,
        *,
        call: CallBlocking,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = file.path
        self.trouble: str | None = None
        """Why entries are not kept at present. The run goes on: its videos are worth more than
        what it would be gone on with."""
        self._file = file
        self._call = call
        self._clock = clock
        self._turn = anyio.Lock()
        self._pending: list[Entry] = []  # not known to be committed, in the order of their arrival
        self._arrived = self._committed = 0
        self._again = 0.0  # when a journal in trouble is tried again, on anyio's clock
        self._closed = False

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    async def write(self, *entries: Entry) -> None:
        """Return when they would outlive the loss of power, or there is `trouble`."""
        if self._closed:
            raise ClosedError(f"{self.path} was closed")
        self._pending += entries
        self._arrived += len(entries)
        own = self._arrived
        async with self._turn:
            if self._committed < own:  # else it went with another's
                await self._commit()

    async def past(self) -> Past:
        """All that was committed, by this life and those before it.

        Raises `JournalError`.
        """
        try:
            return await self._call(self._file.read)
        except OSError as exc:
            raise JournalError(f"{self.path} cannot be read: {exc}", path=self.path) from exc

    async def keep(self, name: str, text: str) -> Path:
        """Write a file of the run's own beside its journal, whole or not at all.

        Raises `ConfigurationError` for a name that no file can have, `JournalError` when it
        cannot be written.
        """
        try:
            path = self.path.with_suffix("") / checked_name(name)
        except ValueError as exc:
            raise ConfigurationError(f"the file's name is {name!r}; expected {exc}") from exc
        try:
            await self._call(lambda: _keep(path, text))
        except OSError as exc:
            raise JournalError(f"{path} cannot be written: {exc}", path=path) from exc
        return path

    async def open(self) -> None:
        """Make the file, or see that what is there can be gone on with. Raises `JournalError`."""
        if await self._call(self.path.exists):
            try:
                await self._call(self._file.open)
            except OSError as exc:
                raise JournalError(f"{self.path} cannot be read: {exc}", path=self.path) from exc
        else:
            await self._commit()
            await self._call(partial(prune, self.path.parent.parent))

    async def close(self) -> None:
        """Let go of the file, after a last try at what could not be written. May be repeated."""
        self._closed = True
        async with self._turn:
            if self._pending:
                self._again = 0.0
                await self._commit()
            await self._call(self._file.close)

    async def _commit(self) -> None:
        """Commit what is pending. Nothing is taken off before it is known to be there."""
        if self.trouble is not None and anyio.current_time() < self._again:
            return
        entries = tuple(self._pending)
        try:
            await self._call(lambda: self._file.commit(entries))
        except (OSError, JournalError) as exc:
            self._again = anyio.current_time() + AGAIN
            if self.trouble is None:
                logger.error(_WITHOUT, self.path, exc)  # noqa: TRY400 - nobody needs a traceback
            self.trouble = str(exc)
            return
        del self._pending[: len(entries)]
        self._committed += len(entries)
        if self.trouble is not None:
            logger.warning("%s is written again, and lacks nothing", self.path)
        self.trouble = None


def in_own_thread() -> CallBlocking:
    """Calls in a thread, one after the other."""
    limiter = anyio.CapacityLimiter(1)

    async def call(function: Callable[[], _T], /) -> _T:
        # Abandoned: a disk that does not answer holds up nobody's end.
        return await to_thread.run_sync(function, limiter=limiter, abandon_on_cancel=True)

    return call


def _keep(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{secrets.token_hex(4)}.new")
    try:
        with draft.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
