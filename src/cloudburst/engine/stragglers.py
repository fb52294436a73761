"""Which scene is worth a second copy, and where. Nothing here awaits."""

from __future__ import annotations

from collections.abc import Iterator

import anyio

from cloudburst.engine.fleet import Fleet
from cloudburst.engine.outlook import Outlook
from cloudburst.engine.slot import Lane, Slot, Stage

MUCH_LONGER = 2.0
"""An encode that has taken so many times as long as others did is late. A choice: figures of one
kind differ by less (see ``Pace.encodes``), and a copy costs a whole encode."""


def stragglers(fleet: Fleet, outlook: Outlook) -> Iterator[tuple[Lane, Slot]]:
    """Scenes that encode for too long, each with a free worker that would be done sooner.

    The latest first. Only what was measured counts, a suspect is never copied, and both workers
    must be able to stop an encode, for one of them will have to.
    """
    free = [slot for slot in fleet.by_load() if _fits(slot, outlook)]
    if not free:
        return
    now = anyio.current_time()
    late = [
        (lateness, lane)
        for slot in fleet.usable()
        for lane in slot.lanes
        if (lateness := _lateness(lane, outlook, now)) > MUCH_LONGER
    ]
    for _, lane in sorted(late, key=lambda pair: -pair[0]):
        for slot in free:
            if slot is not lane.slot and _would_be_first(slot, lane, outlook, now):
                yield lane, slot
                break


def _fits(slot: Slot, outlook: Outlook) -> bool:
    return slot.backend.cancels and outlook.knows(slot.backend, "encode")


def _lateness(lane: Lane, outlook: Outlook, now: float) -> float:
    """How many times as long as predicted it encodes already; 0 for what may have no copy."""
    ticket = lane.ticket
    if lane.stage is not Stage.ENCODING or lane.encoding_since is None:
        return 0.0
    expected = outlook.pace(lane.slot.backend).encode(ticket.work)
    lateness = (now - lane.encoding_since) / max(expected, 0.1)
    if lateness <= MUCH_LONGER or lane.is_copy or ticket.on_copy is None or ticket.suspect:
        return 0.0
    return lateness if _fits(lane.slot, outlook) else 0.0


def _would_be_first(slot: Slot, lane: Lane, outlook: Outlook, now: float) -> bool:
    """Whether a copy that is begun now may be done before the encode that goes on."""
    if slot.record.task in lane.ticket.avoid or lane.encoding_since is None:
        return False
    pace = outlook.pace(slot.backend)
    fresh = pace.moving + pace.encode(lane.ticket.work)
    passed = now - lane.encoding_since
    # As fast as it went so far; where that is not told, as long again.
    left = passed * (1 - lane.progress) / lane.progress if lane.progress else passed
    return fresh < passed and fresh < left
