"""Events on their way to one reader, however slow."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel

from cloudburst.models.events import Event, SceneEvent, SceneProgress


class EventStream:
    """Keeps every event until it is read, but of each scene's progress only the newest.

    Writing never waits: a slow reader must not hold a paid worker.
    """

    def __init__(self) -> None:
        self._events: deque[list[Event]] = deque()  # cells of one event each
        self._progress: dict[str, list[Event]] = {}  # cells that a newer share may still take
        self._written = anyio.Event()
        self._closed = False

    def write(self, event: Event) -> None:
        """Add an event; progress replaces the same scene's progress if that is unread and last."""
        cell = [event]
        if isinstance(event, SceneProgress):
            if event.scene in self._progress:
                self._progress[event.scene][0] = event
                return
            self._progress[event.scene] = cell
        elif isinstance(event, SceneEvent):
            self._progress.pop(event.scene, None)
        self._events.append(cell)
        self._written.set()

    def close(self) -> None:
        """End the reader's iteration after what was written."""
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
        (event,) = self._events.popleft()
        if isinstance(event, SceneProgress):
            self._progress.pop(event.scene, None)
        return event
