"""The one queue that all scenes of a client wait in."""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

import anyio

from cloudburst.engine.slot import Ticket


class TurnQueue:
    """Runs take turns, so that a large one does not starve a small one; longest first in each."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, list[Ticket]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, *tickets: Ticket) -> None:
        """Tickets of one run join the queue; equal lengths keep their order."""
        now = anyio.current_time()
        for ticket in tickets:
            ticket.waiting, ticket.since, ticket.called = True, now, None
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

        The first ``leave`` tickets, over all runs in turn, are left to others.
        """
        for place, (run, tickets) in enumerate(self._runs.items()):
            theirs = (leave + len(self._runs) - 1 - place) // len(self._runs)
            for ticket in islice(tickets, theirs, None):
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
            tickets = self._runs[ticket.run]
            tickets.remove(ticket)
            if not tickets:
                del self._runs[ticket.run]


def _place(ticket: Ticket) -> float:
    return -ticket.seconds
