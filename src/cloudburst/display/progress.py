"""Progress of a run that a program asks to show, which needs the package rich."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from cloudburst.concurrency import collapse_single
from cloudburst.display.shown_run import ShownRun
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
        from cloudburst.display.notebook import ProgressConsole, display_for  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        message = "progress=True needs the package rich: pip install 'cloudburst-sdk[cli]'"
        raise ConfigurationError(message) from exc
    shown = ShownRun()
    with collapse_single():
        async with display_for(ProgressConsole(stderr=True, emoji=False))(shown) as display:

            async def until_done(run: Run) -> Report:
                shown.begin(run)
                async for event in run:
                    await display.show(event)
                return await run.report()

            yield until_done
