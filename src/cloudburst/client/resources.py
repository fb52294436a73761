"""Resources of an open client: backends, pool, journals of runs, and access to remote files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from cloudburst.client.remote_access import RemoteAccess
from cloudburst.client.run_journals import RunJournal, RunJournals
from cloudburst.concurrency import finish_despite_cancel
from cloudburst.engine.pool import WorkerPool
from cloudburst.errors import ConfigurationError
from cloudburst.outputs.journal import is_run_name

JOURNAL_CLOSE_TIMEOUT = 2.0
"""Maximum number of seconds that the end of a run waits for its journal to close. Closing takes
milliseconds, unless a launch for other runs is unanswered or a task of the run is still billed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientResources:
    """Resources of an open client."""

    pool: WorkerPool
    loop: object
    tasks: TaskGroup
    run_journals: RunJournals
    remote: RemoteAccess
    run_names: set[str] = field(default_factory=set[str])
    """Names of the active runs."""
    calls: set[anyio.Event] = field(default_factory=set[anyio.Event])
    """Events of the open calls, which are set when the calls end."""

    @contextmanager
    def open_call(self) -> Generator[None]:
        """Let the end of the client wait until the ``with`` block of a call ends."""
        ended = anyio.Event()
        self.calls.add(ended)
        try:
            yield
        finally:
            self.calls.remove(ended)
            ended.set()

    async def calls_ended(self) -> None:
        """Wait until all open calls have ended: they still write their journals and claims."""
        for ended in tuple(self.calls):
            await ended.wait()

    @asynccontextmanager
    async def open_run_journal(
        self, folder: Path, run: str, *, resume: bool
    ) -> AsyncGenerator[RunJournal]:
        """Open the journal of a run.

        The journal stays open until the tasks of the run are settled, even if the caller has left
        the ``async with`` block by then.
        """
        run_journal = await self.run_journals.open(folder, run, resume=resume)
        try:
            yield run_journal
        finally:
            if run_journal.run is None:
                await self.run_journals.close(run_journal)
            else:
                with suppress(RuntimeError):  # the client is being closed, and closes every journal
                    self.tasks.start_soon(self.run_journals.close_later, run_journal)
                    await self._closed(run_journal, run)

    async def _closed(self, run_journal: RunJournal, run: str) -> None:
        """Wait for the journal to close, so that the caller may remove the folder of the run."""
        if self.pool.supervisors.still_billed(run):
            return
        with suppress(TimeoutError):
            await finish_despite_cancel(run_journal.closed.wait, seconds=JOURNAL_CLOSE_TIMEOUT)

    @contextmanager
    def reserved_name(self, name: str) -> Generator[None]:
        """Reserve the name of a run within the client until the ``with`` block ends.

        Raises `ConfigurationError` for an invalid name and for the name of another active run.
        """
        if not is_run_name(name):
            expected = "1 to 64 ASCII letters, digits, dashes and underscores, and not lock"
            raise ConfigurationError(f"the name of the run is {name!r}; expected {expected}")
        if name in self.run_names:
            raise ConfigurationError(f"this client already has a run with the name {name!r}")
        self.run_names.add(name)
        try:
            yield
        finally:
            self.run_names.remove(name)
