"""Registry of a client's open journals; each is open until the tasks of its run are settled."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from cloudburst.concurrency import finish_despite_cancel
from cloudburst.engine.run import Run
from cloudburst.errors import ConfigurationError
from cloudburst.outputs.journal import JournalState, SqliteJournal, open_journal
from cloudburst.outputs.journal.pruning import remove_journal

# Maximum number of seconds for the removal of an empty journal
_REMOVE_TIMEOUT = 10.0


@dataclass(eq=False, slots=True, kw_only=True)
class RunJournal:
    """Open journal of a run."""

    journal: SqliteJournal
    state: JournalState
    """State of the run when the journal was opened."""
    run: Run | None = None
    """Run of this process; ``None`` until it has started."""
    closed: anyio.Event = field(default_factory=anyio.Event)
    """Event that is set when the journal is closed."""


class RunJournals:
    """Registry of the open journals of a client."""

    def __init__(self) -> None:
        self._open: dict[RunJournal, AsyncExitStack] = {}

    async def open(self, folder: Path, run: str, *, resume: bool) -> RunJournal:
        """Open the journal of a run whose videos are claimed.

        Raises `ConfigurationError` for a run that exists already, unless it is resumed, and
        `JournalError` for a journal that cannot be read.
        """
        async with AsyncExitStack() as stack:
            journal = await stack.enter_async_context(open_journal(folder, run))
            past = JournalState() if journal.trouble else await journal.read()
            if past.processes and not resume:
                msg = (
                    f"run {run!r} exists already in {folder}: resume it with resume=True or "
                    f"`cloudburst resume {run}`, or choose another name"
                )
                raise ConfigurationError(msg)
            run_journal = RunJournal(journal=journal, state=past)
            self._open[run_journal] = stack.pop_all()
        return run_journal

    async def close_later(self, run_journal: RunJournal) -> None:
        """Wait until the last entry of the run is written, and close the journal."""
        if run_journal.run is not None:
            await run_journal.run.wait_written()
        await self.close(run_journal)

    async def close(self, run_journal: RunJournal) -> None:
        """Close the journal now, even when cancelled. A journal without entries is removed."""
        if (stack := self._open.get(run_journal)) is not None:
            await stack.aclose()
            if run_journal.run is None and not run_journal.state.processes:
                path = run_journal.journal.path
                remove = partial(remove_journal, path.parent.parent, path.stem)
                await finish_despite_cancel(
                    lambda: anyio.to_thread.run_sync(remove), seconds=_REMOVE_TIMEOUT
                )
            self._open.pop(run_journal, None)
            run_journal.closed.set()

    async def close_all(self) -> None:
        """Close every open journal."""
        for run_journal in tuple(self._open):
            await self.close(run_journal)


@asynccontextmanager
async def open_run_journals() -> AsyncGenerator[RunJournals]:
    """Yield an empty registry, and close all of its journals at the end."""
    run_journals = RunJournals()
    try:
        yield run_journals
    finally:
        await run_journals.close_all()
