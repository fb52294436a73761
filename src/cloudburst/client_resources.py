"""Resources of an open client: backends, pool, journals of runs, and access to remote files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from cloudburst.backends import account_of
from cloudburst.concurrency import finish_despite_cancel
from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.pool import WorkerPool
from cloudburst.errors import ConfigurationError
from cloudburst.history import load_history, save_history
from cloudburst.journal import is_run_name
from cloudburst.models.limits import Backoff, Limits, Timeouts
from cloudburst.models.settings import Settings
from cloudburst.models.task import TaskSpec
from cloudburst.ports.backend import OpenBackend
from cloudburst.remote_access import RemoteAccess, open_remote_access
from cloudburst.run_journals import RunJournal, RunJournals, open_run_journals

JOURNAL_CLOSE_TIMEOUT = 2.0
"""Maximum number of seconds that the end of a run waits for its journal to close. Closing takes
milliseconds, unless a launch for other runs is unanswered or a task of the run is still billed."""


CALLS_TIMEOUT = 10.0
"""Maximum number of seconds that the end of a client waits for its open calls. They end within this
time, unless the caller does something else in the block of a stream."""


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


@asynccontextmanager
async def open_client_resources(
    openers: Sequence[OpenBackend],
    *,
    settings: Settings | None,
    spec: TaskSpec,
    timeouts: Timeouts,
    limits: Limits,
    backoff: Backoff,
) -> AsyncGenerator[ClientResources]:
    """Open what a client owns; on exit, stop every task and keep the measured times.

    Args:
        openers: Functions that open the backends, in the order of preference.
        settings: Settings with which files in S3 are accessed; ``None``: those of the Fargate
            backend, or else those in the environment and ``.env``.
        spec: Specification of a task, in which run, scene and language are replaced.
        timeouts: Timeouts of the client.
        limits: Limits of the client.
        backoff: Delays between two health checks of a starting worker.
    """
    async with AsyncExitStack() as stack:
        backends = [
            await stack.enter_async_context(opener(timeouts, spec.tier)) for opener in openers
        ]
        remote = await stack.enter_async_context(open_remote_access(*account_of(settings, openers)))
        # Entered before the task group, so that journals are closed after all tasks.
        run_journals = await stack.enter_async_context(open_run_journals())
        tasks = await stack.enter_async_context(anyio.create_task_group())
        pool = WorkerPool(
            tasks,
            backends,
            spec=spec,
            timeouts=timeouts,
            limits=limits,
            backoff=backoff,
            measurements=Measurements(await load_history()),
        )
        resources = ClientResources(
            pool=pool,
            loop=anyio.lowlevel.current_token(),
            tasks=tasks,
            run_journals=run_journals,
            remote=remote,
        )
        try:
            yield resources
            await pool.stop_all()
            await save_history(pool.scheduler.performances.take_samples())
        finally:
            pool.close()
            with suppress(TimeoutError):
                await finish_despite_cancel(resources.calls_ended, seconds=CALLS_TIMEOUT)
            tasks.cancel_scope.cancel()
