"""Queue of the scenes of all runs of a client."""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice

import anyio

from cloudburst.engine.forecast.scene_work import MIN_SHARED_WORK
from cloudburst.engine.pool_state import Assignment, AssignmentState, Ticket
from cloudburst.engine.scheduler.workers import WorkerIndex
from cloudburst.errors import CloudburstError


class FairQueue:
    """Queue that serves runs in turn, and within a run the longest scene first.

    Because runs take turns, a large run does not delay a small one for long.
    """

    def __init__(self) -> None:
        self._runs: OrderedDict[str, list[Ticket]] = OrderedDict()
        self._length = 0
        self.total_work = 0.0
        """Work of all waiting scenes, without those of paused runs."""
        self.bytes_to_send = 0
        """Size of their files on this machine."""
        self.restricted: dict[Ticket, None] = {}
        """Tickets that some workers must not take: retries and suspect scenes."""
        self._paused: dict[str, dict[Ticket, None]] = {}  # tickets by paused run

    def __len__(self) -> int:
        return self._length

    @property
    def long_scenes(self) -> int:
        """Number of waiting scenes that several slots of a worker encode if they can."""
        return sum(
            bisect_right(tickets, -MIN_SHARED_WORK, key=_sort_key)
            for tickets in self._runs.values()
        )

    @property
    def earliest_deadline(self) -> float:
        """Earliest deadline of the waiting runs, on anyio's clock; infinite if there is none."""
        return min((tickets[0].deadline for tickets in self._runs.values()), default=math.inf)

    def longest_works(self, count: int) -> list[float]:
        """Return the largest work values of the waiting scenes, in descending order."""
        runs = [[ticket.work for ticket in tickets[:count]] for tickets in self._runs.values()]
        return sorted(chain.from_iterable(runs), reverse=True)[:count]

    def shortest(self) -> Ticket:
        """Return the ticket with the least work. The queue must not be empty."""
        last = (tickets[-1] for tickets in self._runs.values())
        return min(last, key=lambda ticket: ticket.work)

    def put(self, *tickets: Ticket) -> None:
        """Add tickets of one run. Scenes with equal work keep their order."""
        now = anyio.current_time()
        for ticket in tickets:
            ticket.queued, ticket.waiting_since, ticket.notified = True, now, None
        if tickets and (paused := self._paused.get(tickets[0].run)) is not None:
            paused.update(dict.fromkeys(tickets))
        else:
            self._join(tickets)

    def _join(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            self.total_work += ticket.work
            self.bytes_to_send += ticket.bytes_to_send
            if ticket.avoided_tasks or ticket.suspect:
                self.restricted[ticket] = None
        match tickets:
            case (ticket,):
                insort(self._runs.setdefault(ticket.run, []), ticket, key=_sort_key)
            case (first, *_):
                waiting = self._runs.setdefault(first.run, [])
                waiting.extend(tickets)
                waiting.sort(key=_sort_key)
            case _:
                pass
        self._length += len(tickets)

    def pause(self, run: str) -> None:
        """Withhold all tickets of a run, also those that are added later, until it is resumed."""
        if run in self._paused:
            return
        tickets = self.tickets_of(run)
        for ticket in tickets:
            self._leave(ticket)
        self._paused[run] = dict.fromkeys(tickets)

    def resume(self, run: str) -> None:
        """Make the tickets of a paused run available again; do nothing if it is not paused."""
        self._join(tuple(self._paused.pop(run, ())))

    def resume_all(self) -> None:
        """Make the tickets of all paused runs available again."""
        for run in tuple(self._paused):
            self.resume(run)

    def tickets_of(self, run: str) -> tuple[Ticket, ...]:
        """Return the waiting tickets of a run, paused or not."""
        return (*self._runs.get(run, ()), *self._paused.get(run, ()))

    def take(self, fits: Callable[[Ticket], bool], *, skip: int = 0) -> Ticket | None:
        """Remove and return the next ticket that fits; ``None`` if there is none."""
        if len(self._runs) > 1:
            skip = 0
        for run, tickets in self._runs.items():
            for ticket in islice(tickets, skip, None):
                if fits(ticket):
                    self._runs.move_to_end(run)
                    self.remove(ticket)
                    return ticket
        return None

    def first(self) -> Ticket:
        """Return the next ticket without removing it. The queue must not be empty."""
        return next(iter(self._runs.values()))[0]

    def remove(self, ticket: Ticket) -> None:
        """Remove a ticket; do nothing if it is not in the queue."""
        if ticket.queued:
            ticket.queued = False
            paused = self._paused.get(ticket.run, {})
            if ticket in paused:
                del paused[ticket]
            else:
                self._leave(ticket)

    def remove_all(self, tickets: Iterable[Ticket]) -> None:
        """Remove many tickets at once; ignore those that are not in the queue."""
        # If a run has further tickets, the other runs come before it.
        leaving = [ticket for ticket in tickets if ticket.queued]
        if not leaving:
            return
        for ticket in leaving:
            ticket.queued = False
        for run in {ticket.run for ticket in leaving}:
            if (paused := self._paused.get(run)) is not None:
                self._paused[run] = {ticket: None for ticket in paused if ticket.queued}
            waiting = self._runs.pop(run, [])
            rest = [ticket for ticket in waiting if ticket.queued]
            self._length += len(rest) - len(waiting)
            if rest:
                self._runs[run] = rest
        self.restricted = {ticket: None for ticket in self.restricted if ticket.queued}
        rest = list(chain.from_iterable(self._runs.values()))
        self.total_work = sum(ticket.work for ticket in rest)
        self.bytes_to_send = sum(ticket.bytes_to_send for ticket in rest)

    def _leave(self, ticket: Ticket) -> None:
        self._length -= 1
        self.bytes_to_send -= ticket.bytes_to_send
        self.total_work = self.total_work - ticket.work if self._length else 0.0
        self.restricted.pop(ticket, None)
        tickets = self._runs[ticket.run]
        tickets.remove(ticket)
        if not tickets:
            del self._runs[ticket.run]


def _sort_key(ticket: Ticket) -> float:
    return -ticket.work


@dataclass(eq=False, slots=True, repr=False)
class PausedRuns:
    """Register of paused and aborted runs. Other runs are not affected."""

    _workers: WorkerIndex
    _queue: FairQueue
    unassign: Callable[[Assignment], None]
    decide: Callable[[], None]
    on_first_run: Callable[[], None]
    _active: Counter[str] = field(default_factory=Counter[str])
    # Errors because of which runs were aborted, by run.
    _aborted: dict[str, CloudburstError] = field(default_factory=dict[str, CloudburstError])

    @contextmanager
    def active(self, run: str) -> Generator[None]:
        """Register a run as active until the ``with`` block ends."""
        # Then it is forgotten, because a later run may have the same name.
        if not self._active:
            self.on_first_run()
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
        """Take scenes that wait for an encoder slot off their workers, and queue them again."""
        # Speculative copies are cancelled and not queued.
        for each in tuple(assignments):
            encodes = each.state is AssignmentState.ENCODING and not each.scope.cancel_called
            if each.waits_for_slot or (encoding and encodes):
                is_copy = each.is_copy
                self.unassign(each)
                if not is_copy:
                    self._queue.put(each.ticket)
                each.scope.cancel()

    def pause(self, run: str) -> None:
        """Start no scene of a run until it is resumed; running encodes and downloads continue."""
        self._queue.pause(run)
        self.requeue(self._assignments(run))
        self.decide()

    def resume(self, run: str) -> None:
        """Start scenes of a paused run again."""
        self._queue.resume(run)
        self.decide()

    def abort(self, run: str, error: CloudburstError) -> None:
        """Start no further scene of an active run, and cancel the encodes of the run."""
        # Running downloads continue.
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
                self.unassign(each)
                each.ticket.error = error
            if each.state is not AssignmentState.DOWNLOADING:
                each.scope.cancel()
        self._queue.resume(run)
        self.decide()

    def fail_aborted(self, tickets: Iterable[Ticket]) -> bool:
        """Fail the given tickets that belong to an aborted run, with the error of that run."""
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
