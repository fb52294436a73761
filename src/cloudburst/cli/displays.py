"""Where a run is told while it goes on. All of them write in threads: a terminal may be slow."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TypeAlias

import anyio
from anyio import to_thread
from rich.console import Console
from rich.live import Live

from cloudburst.cli.lines import line, trouble
from cloudburst.cli.live import picture
from cloudburst.cli.view import RunView
from cloudburst.models.events import Event

Tell: TypeAlias = Callable[[Event], Awaitable[None]]
"""Called with each event, after the view has taken note of it."""
OpenDisplay: TypeAlias = Callable[[RunView], AbstractAsyncContextManager[Tell]]

_REFRESH = 0.1
"""Seconds between two pictures."""


@asynccontextmanager
async def on_screen(view: RunView, *, console: Console) -> AsyncGenerator[Tell]:
    """A picture that moves, and above it what went wrong; the picture goes when the run is over."""
    live = Live(console=console, auto_refresh=False, transient=True)
    began = anyio.current_time()

    async def refresh() -> None:
        while True:
            now = anyio.current_time() - began
            await to_thread.run_sync(partial(live.update, picture(view, now=now), refresh=True))
            await anyio.sleep(_REFRESH)

    async def tell(event: Event) -> None:
        if (text := trouble(event, view)) is not None:
            await to_thread.run_sync(console.print, text)

    await to_thread.run_sync(live.start)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(refresh)
            yield tell
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(live.stop)


@asynccontextmanager
async def in_lines(view: RunView, *, console: Console) -> AsyncGenerator[Tell]:
    """A line for each step, for logs and pipes."""

    async def tell(event: Event) -> None:
        if (text := line(event, view)) is not None:
            await to_thread.run_sync(partial(console.print, text, soft_wrap=True))

    yield tell


@asynccontextmanager
async def as_json(_view: RunView) -> AsyncGenerator[Tell]:
    """Every event as a line of JSON on the standard output."""

    async def tell(event: Event) -> None:
        await to_thread.run_sync(write_line, event.model_dump_json(), abandon_on_cancel=True)

    yield tell


@asynccontextmanager
async def silently(_view: RunView) -> AsyncGenerator[Tell]:
    """Nothing at all."""

    async def tell(event: Event) -> None:
        pass

    yield tell


def write_line(text: str) -> None:
    """Write a line to the standard output and send it off."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
