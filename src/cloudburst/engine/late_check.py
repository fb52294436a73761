"""Check of a run's input files that continues while the first workers start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import NamedTuple, TypeAlias

import anyio
from anyio.abc import TaskGroup

from cloudburst.engine.journal_writer import JournalWriter
from cloudburst.engine.pool import WorkerPool
from cloudburst.errors import InvalidScenesError
from cloudburst.models.journal_entries import Entry
from cloudburst.models.report import Report
from cloudburst.models.scene import CheckedScene


class CompletedCheck(NamedTuple):
    """Result of a check of the input files of a run."""

    scenes: Sequence[CheckedScene]
    """All scenes, with their fingerprints."""
    entries: Sequence[Entry]
    """Entries for the journal."""


FinishCheck: TypeAlias = Callable[[], Awaitable[CompletedCheck]]
"""Function that waits until all input files are checked. It raises `InvalidScenesError` with all
problems."""


class LateCheck:
    """Check that continues when the scenes of its run are queued and workers start for them.

    No worker gets a scene before the check is complete.

    Args:
        finish: Function that waits for the check; ``None`` if the check is complete.
        run: Name of the run.
        pool: Pool of the run.
        scenes: Scenes by name, which get their fingerprints.
    """

    def __init__(
        self,
        finish: FinishCheck | None,
        run: str,
        pool: WorkerPool,
        scenes: MutableMapping[str, CheckedScene],
    ) -> None:
        self._finish = finish
        self._run = run
        self._pool = pool
        self._scenes = scenes
        self._error: InvalidScenesError | None = None

    def start(self, tasks: TaskGroup, writer: JournalWriter | None) -> None:
        """Hold the scenes of the run until the check is complete; on problems, cancel its tasks.

        Args:
            tasks: Task group of the run.
            writer: Writer of the run's journal; ``None`` if the run has none.
        """
        if self._finish is not None:
            self._pool.scheduler.queue.hold(self._run)
            tasks.start_soon(self._finish_and_release, self._finish, tasks.cancel_scope, writer)

    async def _finish_and_release(
        self,
        finish: FinishCheck,
        work: anyio.CancelScope,
        writer: JournalWriter | None,
    ) -> None:
        try:
            completed = await finish()
        except InvalidScenesError as exc:
            self._error = exc
            work.cancel()
            return
        if writer is not None:
            await writer.write(*completed.entries)
        self._scenes.update({scene.scene.name: scene for scene in completed.scenes})
        self._pool.scheduler.release_run(self._run)

    async def raise_error(self, report: Callable[[], Awaitable[Report]]) -> None:
        """Raise the error of the check with the cost of the tasks; return if there is no error.

        Args:
            report: Function that returns the report of the run after its tasks were stopped.
        """
        if self._error is None:
            return
        made = await report()
        raise InvalidScenesError(
            faults=self._error.faults,
            tasks=sum(worker.launched_at is not None for worker in made.workers),
            seconds=made.wall_seconds,
            usd=made.cost.usd,
        ) from self._error
