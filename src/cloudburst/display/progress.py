"""Progress of a run that a program asks to show, which needs the package rich."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TextIO, cast

from cloudburst.concurrency import collapse_single
from cloudburst.engine.run import Run
from cloudburst.errors import ConfigurationError
from cloudburst.models.report import Report


@asynccontextmanager
async def progress_shown(progress: bool) -> AsyncGenerator[Callable[[Run], Awaitable[Report]]]:
    """Yield a function that returns the report at the end of a run; ``progress`` shows the run.

    Raises `ConfigurationError` if it needs the package rich, which is not installed.
    """
    if not progress:
        yield Run.until_done
        return
    try:
        from cloudburst.display.displays import ProgressConsole, display_for  # noqa: PLC0415
        from cloudburst.display.live_view import ShownRun  # noqa: PLC0415  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        message = "progress=True needs the package rich: pip install 'cloudburst-sdk[cli]'"
        raise ConfigurationError(message) from exc
    shown, errors = ShownRun(), sys.stderr
    with collapse_single():
        async with display_for(ProgressConsole(stderr=True, emoji=False))(shown) as display:

            async def until_done(run: Run) -> Report:
                shown.begin(run)
                async for event in run:
                    await display.show(event)
                return await run.report()

            with _logs_above_view(errors):
                yield until_done


@contextmanager
def _logs_above_view(replaced: TextIO) -> Generator[None]:
    """Let log records be written above a live view, which has replaced standard error."""
    found = [
        each for each in logging.getLogger().handlers if getattr(each, "stream", 0) is replaced
    ]
    handlers = cast("list[logging.StreamHandler[TextIO]]", found)
    for handler in handlers:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in handlers:
            handler.setStream(replaced)
