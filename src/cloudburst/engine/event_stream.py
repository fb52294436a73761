"""Stream of a run's events for one reader, which may be slow."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio
import anyio.lowlevel

from cloudburst.models.events import Event, SceneEvent, SceneProgress


@dataclass(eq=False, slots=True)
class _Unread:
    """Holder of an event that was not read yet, so that a newer event can replace it."""

    event: Event


class EventStream:
    """Stream that keeps every event until it is read, but only the newest progress of each scene.

    Writing never waits, so that a slow reader does not delay a worker that is billed.
    """

    def __init__(self) -> None:
        self._events: deque[_Unread] = deque()
        self._progress: dict[str, _Unread] = {}  # by scene, while a newer one may replace it
        self._written = anyio.Event()
        self._closed = False

    def write(self, event: Event) -> None:
        """Add an event to the stream.

        A progress event replaces the previous event of its scene if that is an unread progress
        event.
        """
        unread = _Unread(event)
        if isinstance(event, SceneProgress):
            if event.scene in self._progress:
                self._progress[event.scene].event = event
                return
            self._progress[event.scene] = unread
        elif isinstance(event, SceneEvent):
            self._progress.pop(event.scene, None)
        self._events.append(unread)
        self._written.set()

    def close(self) -> None:
        """End the reader's iteration after the last event."""
        self._closed = True
        self._written.set()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        await anyio.lowlevel.checkpoint()
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._written = anyio.Event()
            await self._written.wait()
        event = self._events.popleft().event
        if isinstance(event, SceneProgress):
            self._progress.pop(event.scene, None)
        return event
