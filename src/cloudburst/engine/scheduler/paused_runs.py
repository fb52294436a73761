"""Register of paused runs, whose scenes wait, and of aborted runs, whose scenes fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

from cloudburst.engine.pool_state import Assignment, AssignmentState, Ticket
from cloudburst.engine.scheduler.queue import FairQueue
from cloudburst.engine.scheduler.workers import WorkerIndex
from cloudburst.errors import CloudburstError


class PausedRuns:
    """Register of paused and aborted runs. Other runs are not affected.

    Args:
        workers: Workers of the client.
        queue: Queue of the client.
        unassign: Function that removes an assignment from its worker.
        decide: Function that is called when workers or the queue have changed.
    """

    def __init__(
        self,
        workers: WorkerIndex,
        queue: FairQueue,
        *,
        unassign: Callable[[Assignment], None],
        decide: Callable[[], None],
    ) -> None:
        self._workers = workers
        self._queue = queue
        self._unassign = unassign
        self._decide = decide
        self._active = Counter[str]()
        self._aborted: dict[str, CloudburstError] = {}  # by run

    @contextmanager
    def active(self, run: str) -> Generator[None]:
        """Register a run as active until the ``with`` block ends.

        Then it is forgotten, because a later run may have the same name. Blocks of one run may be
        nested.
        """
        self._active[run] += 1
        try:
            yield
        finally:
            self._active[run] -= 1
            if not self._active[run]:
                del self._active[run]
                self._aborted.pop(run, None)
                self._queue.resume(run)

    def requeue(self, assignments: Iterable[Assignment], *, encoding: bool = False) -> None:
        """Take scenes that wait for an encoder slot off their workers, and queue them again.

        Speculative copies are cancelled and not queued.

        Args:
            assignments: Scenes on workers.
            encoding: Whether scenes that encode are taken off their workers as well.
        """
        for each in tuple(assignments):
            encodes = each.state is AssignmentState.ENCODING and not each.scope.cancel_called
            if each.waits_for_slot or (encoding and encodes):
                is_copy = each.is_copy
                self._unassign(each)
                if not is_copy:
                    self._queue.put(each.ticket)
                each.scope.cancel()

    def pause(self, run: str) -> None:
        """Start no scene of a run until it is resumed; running encodes and downloads continue."""
        self._queue.pause(run)
        self.requeue(self._assignments(run))
        self._decide()

    def resume(self, run: str) -> None:
        """Start scenes of a paused run again."""
        self._queue.resume(run)
        self._decide()

    def abort(self, run: str, error: CloudburstError) -> None:
        """Start no further scene of an active run, and cancel the encodes of the run.

        All unfinished scenes fail with this error, except for running downloads.
        """
        if run not in self._active:
            return
        self._aborted[run] = error
        for ticket in self._queue.tickets_of(run):
            self._queue.remove(ticket)
            ticket.error = error
            ticket.notify()
        for each in self._assignments(run):
            if each.waits_for_slot:
                # Otherwise the next decision could move it to another worker.
                self._unassign(each)
                each.ticket.error = error
            if each.state is not AssignmentState.DOWNLOADING:
                each.scope.cancel()
        self._queue.resume(run)
        self._decide()

    def fail_aborted(self, tickets: Iterable[Ticket]) -> bool:
        """Fail the given tickets that belong to an aborted run, with the error of that run.

        Returns:
            True if any ticket has failed.
        """
        failed = False
        for ticket in tickets:
            if (error := self._aborted.get(ticket.run)) is not None:
                ticket.error, failed = error, True
                ticket.notify()
        return failed

    def _assignments(self, run: str) -> list[Assignment]:
        return [
            each
            for worker in self._workers
            for each in worker.assignments
            if each.ticket.run == run
        ]
