"""Where another worker may be started: limits, and what the last starts have shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import anyio

from cloudburst.engine.fleet import Fleet
from cloudburst.engine.slot import Slot
from cloudburst.errors import CloudburstError, Remedy
from cloudburst.models.policy import Limits
from cloudburst.ports import Backend

FEWER_FOR = 300.0
"""Seconds for which no more workers are started than an account was seen to allow: by then what
else runs in it may have ended, and a look costs one refused launch."""


class Standing:
    """What each backend is good for."""

    def __init__(self, backends: Sequence[Backend], fleet: Fleet, limits: Limits) -> None:
        self._backends = backends
        self._fleet = fleet
        self._limits = limits
        self._failures: Counter[str] = Counter()  # starts in a row, by backend
        self._strangers: Counter[str] = Counter()  # refused keys in a row, by backend
        self._refused: dict[str, CloudburstError] = {}  # backends that will start nothing more
        # Workers that a backend may have, and until when.
        self._allowed: dict[str, tuple[int, float]] = {}

    # What it says.

    @property
    def with_room(self) -> Iterator[Backend]:
        """Backends that have room for one more worker, in the order of preference."""
        return (backend for backend in self._backends if self.room(backend) > 0)

    def room(self, backend: Backend) -> int:
        """Workers that there may be besides those that there are."""
        if backend.name in self._refused:
            return 0
        alive = self._fleet.alive(backend)
        bounds = [self._limits.workers - self._fleet.alive_like(backend)]
        bounds += [bound - alive for bound in self._bounds(backend)]
        return max(0, min(bounds))

    def _bounds(self, backend: Backend) -> Iterator[int]:
        """What it can have at once, and what the account was seen to allow."""
        if backend.capacity is not None:
            yield backend.capacity
        most, until = self._allowed.get(backend.name, (0, 0.0))
        if anyio.current_time() < until:
            yield most

    def with_task(self, backend: Backend) -> int:
        """Workers of a backend whose task was accepted."""
        return sum(slot.backend is backend and bool(slot.record.task) for slot in self._fleet)

    @property
    def refusals(self) -> tuple[CloudburstError, ...]:
        """Why backends were given up."""
        return tuple(self._refused.values())

    # What it learns.

    def started(self, backend: Backend) -> None:
        """A worker is ready."""
        self._failures.pop(backend.name, None)

    def finished(self, backend: Backend) -> None:
        """A worker has taken our key, and made a video."""
        self._strangers.pop(backend.name, None)

    def key_refused(self, slot: Slot, error: CloudburstError) -> None:
        """A worker wants another key; when all of them do, its backend is given up."""
        self._strangers[slot.backend.name] += 1
        if self._strangers[slot.backend.name] >= self._limits.attempts:
            self._refused[slot.backend.name] = error

    def failed_to_start(self, slot: Slot, error: CloudburstError) -> bool:
        """A worker will never be ready; after a few in a row its backend is given up.

        Returns whether no other start there can go better.
        """
        name, there = slot.backend.name, self.with_task(slot.backend)
        if error.remedy is Remedy.FEWER and there:
            self._allowed[name] = there, anyio.current_time() + FEWER_FOR
            return False
        self._failures[name] += 1
        if not error.retryable or self._failures[name] >= self._limits.attempts:
            self._refused[name] = error
        return not error.retryable

    def forget(self) -> None:
        """What was given up may go better now."""
        self._refused.clear()
        self._failures.clear()
        self._strangers.clear()
