"""The one queue that all scenes of a client wait in."""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from collections.abc import Callable

import anyio

from cloudburst.engine.slot import Ticket


class TurnQueue:
    """Runs take turns, so that a large one does not starve a small one; longest first in each."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, list[Ticket]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._runs.values()))

    def put(self, ticket: Ticket) -> None:
        """Join the queue; equal lengths keep their order."""
        ticket.waiting, ticket.called = True, anyio.Event()
        insort(self._runs.setdefault(ticket.run, []), ticket, key=lambda t: -t.seconds)

    def take(self, fits: Callable[[Ticket], bool]) -> Ticket | None:
        """The next ticket that fits, if any: of the run whose turn it is, the longest."""
        for run, tickets in self._runs.items():
            for ticket in tickets:
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
            tickets = self._runs[ticket.run]
            tickets.remove(ticket)
            if not tickets:
                del self._runs[ticket.run]
