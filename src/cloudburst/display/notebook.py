"""Display of a run in a notebook."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import anyio
from anyio import to_thread
from rich.console import Console, Group, RenderableType
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from cloudburst.display.displays import Display, failure_line, repeated
from cloudburst.display.live_view import ShownRun, live_view
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


@asynccontextmanager
async def notebook_display(shown: ShownRun) -> AsyncGenerator[Display]:
    """Show the run in one output of a notebook; at the end, only its failures are left there."""
    display: Any = import_module("IPython.display").display  # which every notebook has
    failures = list[RenderableType]()
    handle = display(_bundle(Text()), raw=True, display_id=True)

    async def update(*parts: RenderableType) -> None:
        picture = Group(*failures, *parts)
        await to_thread.run_sync(lambda: handle.update(_bundle(picture), raw=True))

    async def refresh() -> None:
        await update(live_view(shown, width=_WIDTH, height=_HEIGHT))

    async def show(event: Event) -> None:
        text = failure_line(event, shown)
        if text is not None and len(failures) < _MAX_FAILURES_SHOWN:
            failures.append(text)

    try:
        async with repeated(refresh, _UPDATE_INTERVAL):
            yield Display(show=show)
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
