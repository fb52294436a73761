"""Foresees the bill, so that nothing is begun that would pass the limit."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import anyio

from cloudburst.engine.ledger import MINIMUM_SECONDS, seconds_billed
from cloudburst.engine.slot import Lane, Slot, Visit, WorkerRecord
from cloudburst.errors import BudgetError
from cloudburst.models.pace import PLACING_SECONDS, PULL_SECONDS, STOP_SECONDS

START = float(PLACING_SECONDS + PULL_SECONDS)
"""Seconds from a launch to the first answer that are assumed until one was seen."""
STOP = float(STOP_SECONDS)
"""Seconds from the last scene to the end of the bill: assumed, for it is seen too late."""
SCENE = 10.0
"""Seconds that any scene takes, however short: assumed until one was seen."""


class Budget:
    """What a client may spend, and what it will have spent when all that has begun is done."""

    def __init__(self, most: Decimal | None) -> None:
        self._most = most
        self._start: float | None = None
        self._ratio: float | None = None
        self._refused: Decimal | None = None
        self._closed: dict[str, WorkerRecord] = {}  # by task

    # What it learns.

    def ready(self, worker: WorkerRecord) -> None:
        """A worker answered for the first time: the slowest start is expected again."""
        if worker.ready is not None and worker.launched is not None:
            self._start = max(self._start or 0.0, worker.ready - worker.launched)

    def done(self, visit: Visit, sound: float) -> None:
        """A scene was finished: the slowest one, by the length of its sound, is expected again."""
        took = sum(span.ended - span.began for span in visit.spans)
        self._ratio = max(self._ratio or 0.0, took / max(sound, 0.1))

    def closed(self, worker: WorkerRecord) -> None:
        """The stop of a worker was accepted. Whoever tells of its task again adds nothing."""
        if self._most is None or not worker.task:  # a client may live for weeks
            return
        known = self._closed.get(worker.task)
        if known is None or not known.settled:
            self._closed[worker.task] = worker

    # What it says.

    def begin(self) -> None:
        """A new round of decisions."""
        self._refused = None

    def allows(self, slots: Iterable[Slot], slot: Slot, sound: float) -> bool:
        """Whether there is money for one more scene of so many seconds on a worker."""
        if self._most is None or not slot.backend.usd_per_second:
            return True
        others = sum((self._foreseen(other) for other in slots if other is not slot), Decimal())
        wanted = others + self._spent() + self._foreseen(slot, extra=sound)
        if wanted <= self._most:
            return True
        self._refused = wanted
        return False

    def refusal(self) -> BudgetError | None:
        """Why something was refused in this round."""
        if self._refused is None:
            return None
        return BudgetError(
            f"not begun: the bill would come to about ${self._refused:.4f}, and "
            f"Limits.max_usd is ${self._most}"
        )

    def _spent(self) -> Decimal:
        return sum(map(_spent, self._closed.values()), Decimal())

    def _foreseen(self, slot: Slot, *, extra: float | None = None) -> Decimal:
        now, record = anyio.current_time(), slot.record
        begun = now if record.launched is None else record.launched
        start = START if self._start is None else self._start
        start_left = 0.0 if slot.worker is not None else max(0.0, start - (now - begun))
        work = self._work_left(slot.lanes, now, slot.backend.slowness)
        if extra is not None:
            work += self._scene(extra, slot.backend.slowness)
        elif slot.starting:
            work += self._scene(slot.expected, slot.backend.slowness)
        left = start_left + work / slot.backend.encoders + STOP
        seconds = max(float(MINIMUM_SECONDS), now - begun + left)
        backend = slot.backend
        # What is not there yet may become the dearest that there is.
        most = max(backend.usd_per_second, backend.most_usd_per_second)
        rate = most if record.usage is None else record.usage.usd_per_second
        return Decimal(str(round(seconds, 3))) * rate

    def _work_left(self, lanes: Iterable[Lane], now: float, slowness: float) -> float:
        work = 0.0
        for lane in lanes:
            done = 0.0 if lane.encoding_since is None else now - lane.encoding_since
            work += max(0.0, self._scene(lane.ticket.seconds, slowness) - done)
        return work

    def _scene(self, sound: float, slowness: float) -> float:
        if self._ratio is None:
            return SCENE + sound * max(1.0, slowness)
        return sound * self._ratio


def _spent(worker: WorkerRecord) -> Decimal:
    """Of a worker whose stop is accepted; what is not seen yet is assumed."""
    if worker.usage is None:
        return Decimal()
    seconds = seconds_billed(worker.usage)
    return (seconds if worker.settled else seconds + int(STOP)) * worker.usage.usd_per_second
