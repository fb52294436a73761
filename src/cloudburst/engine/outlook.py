"""When all scenes of a client will be done, as far as can be told now. Nothing here awaits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import anyio

from cloudburst.engine.figures import Figures
from cloudburst.engine.fleet import Fleet
from cloudburst.engine.forecast import Forecast, Place, forecast
from cloudburst.engine.queue import TurnQueue
from cloudburst.engine.slot import Slot, Stage, Ticket
from cloudburst.models.pace import Measure, Pace, Sample
from cloudburst.ports import Backend

LONGEST = 256
"""Scenes that are looked at one by one, a millisecond's work; what is shorter than all of them is
poured over the places like water, for it no longer matters how it is cut."""
AHEAD = 10.0
"""Seconds before the end of an encode in which the next scene is sent, besides twice the time that
files of others took: enough for several looks at the clock and for a slow line."""
_CLOSE = 1e-6
"""Seconds that are no difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is still to be encoded."""

    longest: Sequence[float]
    """Work of scenes, one by one."""
    others: int = 0
    """So many scenes besides."""
    others_work: float = 0.0
    running: float = 0.0
    """Seconds from now until what encodes already is done."""

    @property
    def scenes(self) -> int:
        """How many there are."""
        return len(self.longest) + self.others

    def on(self, places: Sequence[Place]) -> Forecast:
        """When it is done by these; at once where there is nothing, for ever with no places."""
        if not places:
            nothing = not self.longest and not self.others
            return Forecast(seconds=self.running if nothing else math.inf, ends=())
        first = forecast(self.longest, places)
        seconds, ends = max(first.seconds, self.running), first.ends
        if self.others:
            mean = self.others_work / self.others
            paces = [place.pace for place in places]
            level = _level(ends, [max(pace.encode(mean), _CLOSE) for pace in paces], self.others)
            late = [pace.moving for pace, end in zip(paces, ends, strict=True) if end < level]
            seconds = max(seconds, level + max(late, default=0.0))
            ends = tuple(max(end, level) for end in ends)
        return Forecast(seconds=seconds, ends=ends)


def loaded(works: Iterable[float]) -> Load:
    """A run of which nothing is done yet."""
    known = sorted(works, reverse=True)
    others = known[LONGEST:]
    return Load(longest=known[:LONGEST], others=len(others), others_work=sum(others))


@dataclass(slots=True, kw_only=True)
class View:
    """The workers of one moment, and when they will be done."""

    load: Load
    places: list[Place]
    slots: list[Slot]
    """To which each place belongs."""
    forecast: Forecast
    measured: bool
    """It is known of all of them how fast they encode."""
    free: dict[Slot, float]
    """When each slot can take a scene at the earliest, in seconds from now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What figures are known by."""

    kind: str
    pace: Pace


class Outlook:
    """Foresees the end from the queue, the workers and what is known of their pace."""

    def __init__(
        self, backends: Sequence[Backend], fleet: Fleet, queue: TurnQueue, figures: Figures
    ) -> None:
        self._backends = backends
        self._fleet = fleet
        self._queue = queue
        self._figures = figures
        self._view: View | None = None
        self._paces: dict[str, Pace] = {}
        self.learned: list[Sample] = []
        """What this client has measured and nobody has taken yet."""

    def learn(self, backend: Backend, measure: Measure, seconds: float, work: float = 0.0) -> None:
        """Take note of something that was measured."""
        kind = backend.kind or backend.name
        sample = Sample(kind=kind, measure=measure, seconds=seconds, sound=work)
        self._figures.learn(sample)
        if backend.kind:
            self.learned.append(sample)
        self._paces.clear()
        self._view = None

    def changed(self) -> None:
        """What was foreseen is so no longer."""
        self._view = None

    def pace(self, backend: Backend) -> Pace:
        """What is known of its workers, or assumed."""
        pace = self._paces.get(backend.name)
        if pace is None:
            kind = _Kind(kind=backend.kind or backend.name, pace=backend.pace)
            pace = self._paces[backend.name] = self._figures.pace(kind)
        return pace

    def knows(self, backend: Backend, *measures: Measure) -> bool:
        """Whether all of that was measured of its workers."""
        return self.pace(backend).measured.issuperset(measures)

    def expect(self, slot: Slot) -> None:
        """Take note of when its encodes will be done."""
        pace = self.pace(slot.backend)
        ends = list[float]()
        for lane in slot.lanes:
            if lane.stage is Stage.ENCODING and lane.encoding_since is not None:
                if lane.ends is None:
                    lane.ends = lane.encoding_since + pace.encode(lane.ticket.work)
                ends.append(lane.ends)
        slot.ends = tuple(sorted(ends))

    def soon(self) -> float:
        """On anyio's clock: workers that will have encoded by then want their next scene now.

        Sent in advance, a scene is out of reach of others. As long as nobody knows how fast
        encodes go, it is sent all the same.
        """
        if not all(self.knows(backend, "encode", "move") for backend in self._backends):
            return math.inf
        moving = max(self.pace(backend).moving for backend in self._backends)
        return anyio.current_time() + AHEAD + 2 * moving

    def view(self) -> View:
        """How things are, and will be; looked at once until something has `changed`."""
        if self._view is None:
            self._view = self._look()
        return self._view

    def _look(self) -> View:
        now, running = anyio.current_time(), 0.0
        places, slots = list[Place](), list[Slot]()
        loose, free = list[float](), dict[Slot, float]()
        for slot in self._fleet.usable():
            pace = self.pace(slot.backend)
            frees = [0.0] * slot.encoders
            # One that was found running answers in a moment, however long ago it was launched.
            if slot.worker is None and not slot.found_running:
                begun = now if slot.record.launched is None else slot.record.launched
                frees = [_left(pace.start, now - begun)] * slot.encoders
            elif slot.lanes:
                encoding = list[float]()
                for lane in slot.lanes:
                    if lane.stage in {Stage.UPLOADING, Stage.WAITING}:
                        loose.append(lane.ticket.work)
                    elif lane.encoding_since is not None and lane.stage is Stage.ENCODING:
                        since = now - lane.encoding_since
                        encoding.append(_left(pace.encode(lane.ticket.work), since))
                frees = [*encoding, *frees[len(encoding) :]]
                running = max(running, *(left + pace.moving for left in encoding), 0.0)
            places += [Place(free=seconds, pace=pace) for seconds in frees]
            slots += [slot] * len(frees)
            free[slot] = min(frees)
        load = self._load(loose, running)
        return View(
            load=load,
            places=places,
            slots=slots,
            forecast=load.on(places),
            measured=all("encode" in place.pace.measured for place in places),
            free=free,
        )

    def _load(self, loose: Iterable[float], running: float) -> Load:
        """Of what waits in the queue or on workers."""
        longest = self._queue.longest(LONGEST)
        others = len(self._queue) - len(longest)
        return Load(
            longest=[*longest, *loose],
            others=others,
            others_work=max(0.0, self._queue.work - sum(longest)) if others else 0.0,
            running=running,
        )

    def fits(self, ticket: Ticket, slot: Slot) -> bool:
        """Whether a scene may go there: the end shall not be later for it.

        Only workers that were measured are compared, for a slow one that takes a scene is better
        than one that waits for nothing.
        """
        if len(self._backends) == 1 or ticket.avoid or ticket.suspect:
            return True
        view, pace = self.view(), self.pace(slot.backend)
        if not view.measured:
            return True
        here = view.free.get(slot, 0.0) + pace.encode(ticket.work) + pace.moving
        return here <= view.forecast.seconds + _CLOSE

    def needless(self) -> list[Slot]:
        """Workers that are about to be ready, and will find nothing to do."""
        known = [each for each in self._backends if self.knows(each, "start", "encode")]
        if not known or not self._fleet.encoders_ready:
            return []
        fastest = min(self.pace(backend).ratio for backend in self._backends)
        longest_start = max(self.pace(backend).start for backend in known)
        if self._queue.work * fastest / self._fleet.encoders_ready > 2 * longest_start:
            return []  # a long way to go
        view, busy = self.view(), set[Slot]()
        for slot, place, end in zip(view.slots, view.places, view.forecast.ends, strict=True):
            if end > place.free + _CLOSE:
                busy.add(slot)
        starting = [slot for slot in self._fleet.starting() if not slot.needed]
        return [slot for slot in starting if slot not in busy and slot.backend in known]


def _left(expected: float, passed: float) -> float:
    """Seconds that something may still take; what is late already may be as late once more."""
    return abs(expected - passed)


def _level(ends: Sequence[float], each: Sequence[float], number: int) -> float:
    """When so many scenes are done that are poured over places.

    Each place is free at its end, and takes a time of its own for each scene.
    """
    amount, speed, level = float(number), 0.0, 0.0
    for end, seconds in sorted(zip(ends, each, strict=True)):
        if speed and level <= end:
            break
        amount += end / seconds
        speed += 1 / seconds
        level = amount / speed
    return level
