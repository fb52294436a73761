"""When there shall be another worker, and which start is given up again. Nothing here awaits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

from cloudburst.engine.budget import Budget
from cloudburst.engine.fleet import Fleet
from cloudburst.engine.outlook import Outlook
from cloudburst.engine.queue import TurnQueue
from cloudburst.engine.slot import Slot, WorkerRecord
from cloudburst.engine.standing import Standing
from cloudburst.engine.worth import Worth
from cloudburst.models.options import Language
from cloudburst.models.policy import Limits
from cloudburst.models.task import TaskSpec
from cloudburst.ports import Backend

LAUNCHES = 100
"""Launches that wait for an answer at once: as many as Fargate starts in a burst
(https://docs.aws.amazon.com/AmazonECS/latest/developerguide/throttling.html, 2026-11)."""

AT_ONCE = 10
"""Launches that begin without a pause; each answer lets as many follow. Keys and certificates take
a millisecond each, for which the loop stands still."""


class Starts:
    """Begins workers for scenes that wait, where they are worth it and may be paid for.

    ``begin`` is called with each of them.
    """

    def __init__(
        self,
        *,
        spec: TaskSpec,
        limits: Limits,
        fleet: Fleet,
        queue: TurnQueue,
        standing: Standing,
        budget: Budget,
        outlook: Outlook,
        begin: Callable[[Slot], None],
    ) -> None:
        self._spec = spec
        self._limits = limits
        self._fleet = fleet
        self._queue = queue
        self._standing = standing
        self._budget = budget
        self._outlook = outlook
        self._begin = begin
        self._worth = Worth(outlook, fleet, queue)
        self._numbers = count()
        self._asking = 0  # launches that wait for an answer

    def spec(self, run: str, scene: str, language: Language) -> TaskSpec:
        """Of a task for a run; ``scene`` is the first one that it is for."""
        return replace(self._spec, run=run, scene=scene, language=language)

    def reconsider(self) -> None:
        """Something was added: scenes, figures, a loss."""
        self._worth.reconsider()

    def begin_all(self) -> None:
        """As many as are wanted, as far as there may be so many launches at once."""
        most = min(LAUNCHES, self._asking + AT_ONCE)
        while len(self._queue) > self._fleet.encoders_starting and self._asking < most:
            slot = self._next_slot()
            if slot is None:
                break
            self._asking += 1
            self._add(slot)

    def adopt(self, slot: Slot) -> None:
        """A worker that is there already, and that somebody else has started."""
        slot.number = next(self._numbers)
        self._add(slot)

    def _add(self, slot: Slot) -> None:
        self._fleet.add(slot)
        self._outlook.changed()
        self._begin(slot)

    def _next_slot(self) -> Slot | None:
        """One more worker, where it is worth its start and may be paid for."""
        for backend in self._standing.with_room:
            # Where there is no money for others, whoever may be paid for is wanted.
            needed = self._budget.refusal() is not None or self._worth.is_short()
            if needed or self._worth.is_worth(backend, room=self._standing.room(backend)):
                slot = self._new_slot(backend, needed=needed)
                if self._budget.allows(self._fleet, slot, slot.expected):
                    return slot
        return None

    def _new_slot(self, backend: Backend, *, needed: bool) -> Slot:
        first = self._queue.first()
        return Slot(
            backend=backend,
            number=next(self._numbers),
            spec=self.spec(first.run, first.scene, first.language),
            record=WorkerRecord(backend=backend.name, run=first.run),
            most_lanes=self._limits.lanes or 3 * backend.encoders,
            expected=first.seconds,
            needed=needed,
        )

    def answered(self, slot: Slot) -> bool:
        """A launch was accepted or given up; returns whether others may ask in its place."""
        if not slot.asking:
            return False
        slot.asking = False
        self._asking -= 1
        return True

    def give_up_needless(self) -> None:
        """A worker that is not ready yet, and that no scene will be left for, is given up."""
        if self._limits.idle or not self._fleet.encoders_starting:
            return
        wanted = len(self._queue) or self._fleet.waits_behind
        for slot in self._outlook.needless() if wanted else self._fleet.starting():
            self._give_up(slot)

    def give_up_on(self, backend: Backend) -> None:
        """None that starts there will be ready."""
        for slot in self._fleet.starting():
            if slot.backend is backend:
                self._give_up(slot)

    def _give_up(self, slot: Slot) -> None:
        slot.retired = True
        slot.scope.cancel()
        self._fleet.refresh(slot)
