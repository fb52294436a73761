"""The one queue that all scenes of a client wait in."""

from __future__ import annotations

import math
from bisect import insort
from collections import OrderedDict
from collections.abc import Callable
from itertools import chain, islice

import anyio

from cloudburst.engine.slot import Ticket


class TurnQueue:
    """Runs take turns, so that a large one does not starve a small one; longest first in each."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, list[Ticket]] = OrderedDict()
        self._length = 0
        self._work = 0.0
        self._picky: dict[Ticket, None] = {}

    def __len__(self) -> int:
        return self._length

    @property
    def work(self) -> float:
        """Of all tickets together."""
        return self._work

    @property
    def picky(self) -> tuple[Ticket, ...]:
        """Those that not every worker may take."""
        return tuple(self._picky)

    @property
    def due(self) -> float:
        """When the first run shall be done."""
        dues = (tickets[0].due for tickets in self._runs.values())
        return min((due for due in dues if due is not None), default=math.inf)

    def longest(self, most: int) -> list[float]:
        """The work of the longest tickets, over all runs, the most first."""
        runs = [[ticket.work for ticket in tickets[:most]] for tickets in self._runs.values()]
        return sorted(chain.from_iterable(runs), reverse=True)[:most]

    def put(self, *tickets: Ticket) -> None:
        """Tickets of one run join the queue; equal lengths keep their order."""
        now = anyio.current_time()
        for ticket in tickets:
            ticket.waiting, ticket.since, ticket.called = True, now, None
            self._work += ticket.work
            if ticket.avoid or ticket.suspect:
                self._picky[ticket] = None
        match tickets:
            case (ticket,):
                insort(self._runs.setdefault(ticket.run, []), ticket, key=_place)
            case (first, *_):
                waiting = self._runs.setdefault(first.run, [])
                waiting.extend(tickets)
                waiting.sort(key=_place)
            case _:
                pass
        self._length += len(tickets)

    def take(self, fits: Callable[[Ticket], bool], *, leave: int = 0) -> Ticket | None:
        """The next ticket that fits, if any: of the run whose turn it is, the longest.

        The first ``leave`` tickets are left to others, as long as only one run waits: a run whose
        few scenes were left would be passed by all of another one's.
        """
        if len(self._runs) > 1:
            leave = 0
        for run, tickets in self._runs.items():
            for ticket in islice(tickets, leave, None):
                if fits(ticket):
                    self._runs.move_to_end(run)
                    self.remove(ticket)
                    return ticket
        return None

    def first(self) -> Ticket:
        """The ticket whose turn it is."""
        return next(iter(self._runs.values()))[0]

    def remove(self, ticket: Ticket) -> None:
        """Leave the queue; nothing happens when it has been left already."""
        if ticket.waiting:
            ticket.waiting = False
            self._length -= 1
            self._work = self._work - ticket.work if self._length else 0.0
            self._picky.pop(ticket, None)
            tickets = self._runs[ticket.run]
            tickets.remove(ticket)
            if not tickets:
                del self._runs[ticket.run]


def _place(ticket: Ticket) -> float:
    return -ticket.seconds
