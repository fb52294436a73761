"""Whether one more worker is worth its start. Nothing here awaits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio

from cloudburst.engine.fleet import Fleet
from cloudburst.engine.forecast import Place
from cloudburst.engine.ledger import MINIMUM_SECONDS
from cloudburst.engine.outlook import Load, Outlook
from cloudburst.engine.queue import TurnQueue
from cloudburst.models.pace import Pace
from cloudburst.ports import Backend


class Worth:
    """Compares the end that is foreseen with the one that another worker would bring.

    A worker whose start and encodes were never measured is always worth it: there is nothing to
    compare with. One that costs nothing is worth it when a scene is left for it. One that costs
    something shall save more time than is paid for without any work: its start, and what it lacks
    of the minute that is billed at least. There are two more reasons for those:

    * A run would be done after its deadline.
    * Workers that cost nothing help, and for that reason another one saves little. They shall not
      make it later, though: as long as the paid ones by themselves would be done sooner, there may
      be one more of them.
    """

    def __init__(self, outlook: Outlook, fleet: Fleet, queue: TurnQueue) -> None:
        self._outlook = outlook
        self._fleet = fleet
        self._queue = queue
        self._grounds = 0
        self._refused: dict[str, int] = {}  # by backend: on which grounds

    def reconsider(self) -> None:
        """Something was added: scenes, figures, a loss."""
        self._grounds += 1

    def is_worth(self, backend: Backend, *, room: int) -> bool:
        """Whether there shall be one more worker there, where there may be ``room`` more."""
        if not self._fleet.usable() or not self._outlook.knows(backend, "start", "encode"):
            return True
        if self._refused.get(backend.name) == self._grounds:
            return False
        if self._pays(backend, room):
            return True
        self._refused[backend.name] = self._grounds
        return False

    def is_short(self) -> bool:
        """Whether a scene has failed on all workers that there are: it needs another one."""
        tasks = {slot.record.task for slot in self._fleet.usable()}
        return any(tasks <= ticket.avoid for ticket in self._queue.picky)

    def _pays(self, backend: Backend, room: int) -> bool:
        view, pace = self._outlook.view(), self._outlook.pace(backend)
        new = [Place(free=pace.start, pace=pace)] * backend.encoders
        then = view.load.on([*view.places, *new])
        last = max(then.ends[-len(new) :])
        if not backend.usd_per_second:
            return last > pace.start
        now = view.forecast.seconds
        if then.seconds >= now:
            return False
        if now - then.seconds > unused(pace, last):
            return True
        if anyio.current_time() + now > self._queue.due:
            return True
        paid = [
            place
            for place, slot in zip(view.places, view.slots, strict=True)
            if slot.backend.usd_per_second
        ]
        company = len(paid) < len(view.places)
        return company and sooner(view.load, paid, new, room, now)


def unused(pace: Pace, end: float) -> float:
    """Seconds that are paid for and in which a worker, begun now, does not work."""
    return pace.start + max(0.0, float(MINIMUM_SECONDS) - end - pace.stop)


def sooner(
    load: Load, places: Sequence[Place], new: Sequence[Place], room: int, end: float
) -> bool:
    """Whether these places would be done before that end, with as many new ones as pay."""
    known, seconds = [*places], load.on(places).seconds
    for _ in range(room):
        then = load.on([*known, *new])
        saved = seconds - then.seconds
        if math.isfinite(seconds) and saved <= unused(new[0].pace, max(then.ends[-len(new) :])):
            break
        known, seconds = [*known, *new], then.seconds
        if seconds < end:
            return True
    return seconds < end
