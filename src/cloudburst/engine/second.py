"""The second copy of a scene that takes too long: begun by the pool, owned by the first attempt."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import anyio
from anyio.abc import TaskGroup

from cloudburst.engine.groups import unwrapped
from cloudburst.engine.slot import Lane, MovedError, Ticket
from cloudburst.errors import CloudburstError
from cloudburst.models.scene import Video

Render: TypeAlias = Callable[[Lane], Awaitable[Video]]
"""Makes the video on the lane of a copy."""


class Second:
    """A copy that may never be begun."""

    def __init__(self, tasks: TaskGroup, render: Render) -> None:
        self._tasks = tasks
        self._render = render
        self._begun = False
        self._ended = anyio.Event()
        self._video: Video | None = None
        self.error: CloudburstError | None = None
        """Why it has failed."""

    def begin(self, lane: Lane) -> None:
        """There is a lane for it."""
        self._begun = True
        self._tasks.start_soon(self._run, lane, name=f"second {lane.ticket.scene}")

    async def _run(self, lane: Lane) -> None:
        try:
            self._video = await self._render(lane)
        except MovedError:
            pass  # the first one has encoded, or the worker is wanted for something else
        except CloudburstError as exc:
            self.error = exc
        finally:
            self._ended.set()

    async def instead(self) -> Video | None:
        """Its video once it has ended, if it was begun and has made one."""
        if self._begun:
            await self._ended.wait()
        return self._video


@asynccontextmanager
async def second_copy(ticket: Ticket, render: Render) -> AsyncGenerator[Second]:
    """While the block runs the pool may begin a copy; it has ended when the block is left."""
    with unwrapped():
        async with anyio.create_task_group() as tasks:
            second = Second(tasks, render)
            ticket.on_copy = second.begin
            try:
                yield second
            finally:
                ticket.on_copy = None
            tasks.cancel_scope.cancel()
