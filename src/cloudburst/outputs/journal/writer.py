"""Writer for the journal of a run, which commits entries together in a thread."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import anyio
from anyio import to_thread

from cloudburst.concurrency import finish_despite_cancel
from cloudburst.errors import ClosedError, ConfigurationError, JournalError
from cloudburst.files import replaced_file
from cloudburst.models.journal_entries import Entry, JournalState
from cloudburst.models.scene import validate_scene_name
from cloudburst.outputs.journal.file import JournalFile, read_errors
from cloudburst.outputs.journal.pruning import prune_journals
from cloudburst.outputs.journal.reader import is_run_name, journal_path

logger = logging.getLogger(__name__)

# Seconds between two attempts to write a journal that could not be written.
RETRY_SECONDS = 10.0
_NOT_WRITTEN = (
    "%s cannot be written (%s). The run continues without it: if this process is killed, "
    "cloudburst resume does not know what was finished since"
)
# Seconds after which closing is abandoned, for a disk that hardly responds.
_WRITER_CLOSE_TIMEOUT = 10.0

_T = TypeVar("_T")


class CallBlocking(Protocol):
    """Asynchronous function that runs a blocking function, usually in a thread."""

    def __call__(self, function: Callable[[], _T], /) -> Awaitable[_T]:
        """Run the function and return its result."""
        ...


@asynccontextmanager
async def open_journal(
    folder: Path,
    run: str,
    *,
    call: CallBlocking | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncGenerator[SqliteJournal]:
    """Open the journal of a run in an output folder; create it if it does not exist.

    Only one process may have it open for writing, which the lock of `outputs.claim_outputs`
    ensures. A new journal that cannot be created does not stop the run: see
    `SqliteJournal.trouble`.

    Raises:
        JournalError: The journal exists and cannot be read.
        ConfigurationError: The name of the run is not valid.
    """
    if not is_run_name(run):
        msg = f"the name of the run is {run!r}; expected letters, digits, dashes and underscores"
        raise ConfigurationError(msg)
    file = JournalFile(journal_path(folder, run))
    journal = SqliteJournal(file, call=call or call_in_own_thread(), clock=clock)
    try:
        await journal.open()
        yield journal
    finally:
        with suppress(TimeoutError):  # a slow disk must not delay the end of the run
            await finish_despite_cancel(journal.close, seconds=_WRITER_CLOSE_TIMEOUT)


class SqliteJournal:
    """Implementation of `cloudburst.ports.outputs.Journal` with SQLite.

    Entries that arrive during a commit are committed together by the next one. If a call of `write`
    is cancelled, its entries may or may not be committed.
    """

    def __init__(
        self,
        file: JournalFile,
        *,
        call: CallBlocking,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = file.path
        # Reason why entries cannot be written at present, although the run continues; ``None`` if
        # they can be written.
        self.trouble: str | None = None
        self._file = file
        self._call = call
        self._clock = clock
        self._write_lock = anyio.Lock()
        self._pending: list[Entry] = []  # not committed yet, in the order of their arrival
        self._arrived = self._committed = 0
        self._retry_at = 0.0  # time of the next attempt after a failure, on anyio's clock
        self._closed = False

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return self._clock()

    async def write(self, *entries: Entry) -> None:
        """Write entries, and return when they would survive a power failure.

        If they cannot be written, the reason is in `trouble`, and they are written by a later call.
        """
        if self._closed:
            raise ClosedError(f"{self.path} was closed")
        self._pending += entries
        self._arrived += len(entries)
        own = self._arrived
        async with self._write_lock:
            if self._committed < own:  # otherwise another call committed them
                await self._commit()

    async def read(self) -> JournalState:
        """Return the state of the run from the entries of this and earlier processes.

        Raises `JournalError` if the file cannot be read.
        """
        with read_errors(self.path):
            return await self._call(self._file.read)

    async def save_file(self, name: str, text: str) -> Path:
        """Write a file of the run beside its journal, completely or not at all.

        Raises `ConfigurationError` for an invalid name, and `JournalError` if the file cannot be
        written.
        """
        try:
            path = self.path.with_suffix("") / validate_scene_name(name)
        except ValueError as exc:
            raise ConfigurationError(f"the name of the file is {name!r}; expected {exc}") from exc
        try:
            await self._call(lambda: _keep(path, text))
        except OSError as exc:
            raise JournalError(f"{path} cannot be written: {exc}", path=path) from exc
        return path

    async def open(self) -> None:
        """Create the file, or check that the run in an existing file can be resumed.

        Raises `JournalError` for an existing file that cannot be read or resumed.
        """
        if await self._call(self.path.exists):
            with read_errors(self.path):
                await self._call(self._file.open)
        else:
            await self._commit()
            await self._call(partial(prune_journals, self.path.parent.parent))

    async def close(self) -> None:
        """Close the file after a last attempt to write pending entries. Repeated calls are safe."""
        self._closed = True
        async with self._write_lock:
            if self._pending:
                self._retry_at = 0.0
                await self._commit()
            await self._call(self._file.close)

    async def _commit(self) -> None:
        if self.trouble is not None and anyio.current_time() < self._retry_at:
            return
        entries = tuple(self._pending)
        try:
            await self._call(lambda: self._file.commit(entries))
        except (OSError, JournalError) as exc:
            self._retry_at = anyio.current_time() + RETRY_SECONDS
            if self.trouble is None:
                logger.error(_NOT_WRITTEN, self.path, exc)  # noqa: TRY400 - no traceback needed
            self.trouble = str(exc)
            return
        del self._pending[: len(entries)]
        self._committed += len(entries)
        if self.trouble is not None:
            logger.warning("%s can be written again; no entry is missing", self.path)
        self.trouble = None


def call_in_own_thread() -> CallBlocking:
    """Return an asynchronous function that runs blocking functions in a thread, one at a time."""
    limiter = anyio.CapacityLimiter(1)

    async def call(function: Callable[[], _T], /) -> _T:
        # Abandoned on cancellation, so that a disk that does not respond does not block the end.
        return await to_thread.run_sync(function, limiter=limiter, abandon_on_cancel=True)

    return call


def _keep(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent.is_symlink():  # a planted link could lead out of the output folder
        raise NotADirectoryError(errno.ENOTDIR, "a symbolic link, not a folder", str(path.parent))
    with replaced_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
