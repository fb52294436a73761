"""All workers of a client, sorted by what they have to give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from cloudburst.engine.slot import Lane, Slot, Stage, Ticket
from cloudburst.ports import Backend


class Fleet:
    """Kept up to date slot by slot: a decision among a thousand workers looks at few of them."""

    def __init__(self) -> None:
        self._slots: dict[Slot, None] = {}
        self._free: dict[Slot, None] = {}
        self._ahead: dict[Slot, None] = {}
        self._behind: dict[Slot, None] = {}
        self._starting: dict[Slot, None] = {}
        self._alive: dict[Slot, None] = {}
        self._usable: dict[Slot, None] = {}
        self._ready: dict[Slot, None] = {}
        self._alive_on: Counter[str] = Counter()
        self._alive_paid: Counter[bool] = Counter()
        self.encoders_starting = 0
        """Encoder slots of the workers that are about to be ready."""
        self.encoders_ready = 0
        """Of those that are."""

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[Slot]:
        return iter(tuple(self._slots))

    def add(self, slot: Slot) -> None:
        """A worker shall be."""
        self._slots[slot] = None
        self.refresh(slot)

    def remove(self, slot: Slot) -> None:
        """A worker is no more."""
        del self._slots[slot]
        self.refresh(slot)

    def refresh(self, slot: Slot) -> None:
        """Something about this one has changed."""
        there = slot in self._slots
        _keep(self._free, slot, there and slot.has_room(ahead=False))
        _keep(self._ahead, slot, there and slot.has_room(ahead=True))
        _keep(self._behind, slot, there and not slot.retired and slot.unclaimed < 0)
        if _keep(self._starting, slot, there and slot.starting):
            encoders = slot.backend.encoders
            self.encoders_starting += encoders if slot in self._starting else -encoders
        _keep(self._usable, slot, there and slot.usable)
        if _keep(self._ready, slot, there and slot.usable and slot.worker is not None):
            encoders = slot.backend.encoders
            self.encoders_ready += encoders if slot in self._ready else -encoders
        if _keep(self._alive, slot, there and not slot.draining):
            more = 1 if slot in self._alive else -1
            self._alive_on[slot.backend.name] += more
            self._alive_paid[bool(slot.backend.usd_per_second)] += more

    def alive(self, backend: Backend) -> int:
        """Workers that count against its own limit: those that others stop do not."""
        return self._alive_on[backend.name]

    def alive_like(self, backend: Backend) -> int:
        """As `alive`, of all backends that cost something like this one, or nothing like it."""
        return self._alive_paid[bool(backend.usd_per_second)]

    def usable(self) -> tuple[Slot, ...]:
        """Workers that have room for scenes, or will have."""
        return tuple(self._usable)

    def ready(self) -> tuple[Slot, ...]:
        """Those of them that answer."""
        return tuple(self._ready)

    @property
    def has_room(self) -> bool:
        """Whether there is an encoder slot that no scene will take."""
        return bool(self._free)

    def by_load(self) -> list[Slot]:
        """Workers that can encode a scene at once, those with the most room first."""
        return sorted(self._free, key=lambda slot: (-slot.unclaimed, len(slot.lanes), slot.number))

    def busy(self, *, until: float) -> list[Slot]:
        """Workers with room for a scene that will wait, by then at the longest.

        Those with the most room first, and of these the ones on which it will wait least.
        """
        soon = [(free, slot) for slot in self._ahead if (free := slot.next_free) <= until]
        soon.sort(key=lambda pair: (-pair[1].unclaimed, pair[0], pair[1].number))
        return [slot for _, slot in soon]

    def starting(self) -> tuple[Slot, ...]:
        """Workers that are not ready yet."""
        return tuple(self._starting)

    def asking(self, run: str) -> bool:
        """Whether launches for a run were not answered yet."""
        return any(slot.asking and slot.record.run == run for slot in self._slots)

    def waiting(self) -> list[Lane]:
        """Scenes on workers that may still go to another one."""
        return [
            lane
            for slot in self._behind
            for lane in slot.lanes
            if lane.stage in {Stage.UPLOADING, Stage.WAITING} and not lane.is_copy
        ]

    def longest_wait(self, fits: Callable[[Ticket], bool]) -> Lane | None:
        """A scene that waits behind an encode and fits a worker that has nothing to do."""
        waiting = [lane for lane in self.waiting() if fits(lane.ticket)]
        return max(waiting, key=lambda lane: lane.ticket.seconds, default=None)

    @property
    def waits_behind(self) -> bool:
        """Whether a scene waits on a worker for an encoder slot."""
        return bool(self._behind)


def _keep(slots: dict[Slot, None], slot: Slot, belongs: bool) -> bool:
    """Whether that changed anything."""
    if belongs == (slot in slots):
        return False
    if belongs:
        slots[slot] = None
    else:
        del slots[slot]
    return True
