"""Display of a run in a notebook, and the choice of the display for a console."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import Any

import anyio
from anyio import to_thread
from rich.console import Console, Group, RenderableType
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from cloudburst.display.displays import (
    Display,
    OpenDisplay,
    failure_line,
    line_display,
    screen_display,
)
from cloudburst.display.live_view import live_view
from cloudburst.display.shown_run import ShownRun
from cloudburst.events import Event

_UPDATE_INTERVAL = 1.0
"""Seconds between two updates of an output, which the notebook keeps and sends to its page."""
_MAX_FAILURES_SHOWN = 20
_WIDTH, _HEIGHT = 100, 24
"""Size of the display in characters; wider lines would be wrapped in a usual window."""
_GREY = (128, 128, 128)
_RED, _GREEN, _YELLOW, _BLUE = (205, 75, 70), (40, 150, 95), (175, 120, 20), (70, 125, 215)
_THEME = TerminalTheme(_GREY, _GREY, [_GREY, _RED, _GREEN, _YELLOW, _BLUE, _BLUE, _BLUE, _GREY])
"""Colours that can be read on white and on black."""
_PAGE = '<pre style="font-family:monospace;line-height:1.3;overflow-x:auto">{code}</pre>'


class ProgressConsole(Console):
    """Console of a program, whose run goes on when the reader of its progress has gone."""

    def on_broken_pipe(self) -> None:
        """Print no more."""
        self.quiet = True


def display_for(console: Console) -> OpenDisplay:
    """Return the display that fits a console: in a notebook, in a terminal, or as lines."""
    if console.is_jupyter:
        return notebook_display
    # rich takes any output for a terminal if FORCE_COLOR is set, and logs of CI keep all lines.
    moves = console.is_terminal and console.file.isatty() and not os.environ.get("CI")
    live = moves and not console.is_dumb_terminal
    return partial(screen_display if live else line_display, console=console)


@asynccontextmanager
async def notebook_display(shown: ShownRun) -> AsyncGenerator[Display]:
    """Show the run in one output of a notebook; at the end, only its failures are left there."""
    display: Any = import_module("IPython.display").display  # which every notebook has
    failures, started_at = list[RenderableType](), anyio.current_time()
    handle = display(_bundle(Text()), raw=True, display_id=True)

    async def update(*parts: RenderableType) -> None:
        picture = Group(*failures, *parts)
        await to_thread.run_sync(lambda: handle.update(_bundle(picture), raw=True))

    async def refresh() -> None:
        while True:
            progress = None if shown.measure is None else shown.measure()
            now = anyio.current_time() - started_at
            await update(live_view(shown, progress, now=now, width=_WIDTH, height=_HEIGHT))
            await anyio.sleep(_UPDATE_INTERVAL)

    async def show(event: Event) -> None:
        text = failure_line(event, shown)
        if text is not None and len(failures) < _MAX_FAILURES_SHOWN:
            failures.append(text)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(refresh)
            yield Display(show=show)
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await update()


def _bundle(picture: RenderableType) -> dict[str, str]:
    console = Console(
        record=True, file=io.StringIO(), width=_WIDTH, height=_HEIGHT, force_jupyter=False
    )
    console.print(picture)
    html = console.export_html(theme=_THEME, code_format=_PAGE, inline_styles=True, clear=False)
    return {"text/html": html, "text/plain": console.export_text()}
