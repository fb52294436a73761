"""Displays of a run in progress: a live view, log lines, JSON lines, or none.

Displays write in threads, because a slow terminal would otherwise delay the run.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import TypeAlias, assert_never

import anyio
from anyio import to_thread
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cloudburst.display.shown_run import ShownRun
from cloudburst.display.terminal_texts import safe_text
from cloudburst.display.texts import (
    first_line,
    format_duration,
    format_size,
    format_usd,
    pluralize,
    short_path,
)
from cloudburst.engine.failure_groups import FailureEvent
from cloudburst.engine.run_view import SceneStage, SceneView, WorkerView
from cloudburst.events import (
    Event,
    FilmCompleted,
    FilmFailed,
    FilmProgress,
    SceneCompleted,
    SceneCopied,
    SceneEncoded,
    SceneEncoding,
    SceneFailed,
    SceneProgress,
    SceneQueued,
    SceneRetried,
    SceneStarted,
    SceneUploaded,
    WorkerFailed,
    WorkerLaunched,
    WorkerReady,
    WorkerStopped,
)
from cloudburst.models.run_progress import RunProgress


async def _nothing_to_hide() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """Open display of a run."""

    show: Callable[[Event], Awaitable[None]]
    """Function that shows an event, called after `ShownRun.note`."""
    hide: Callable[[], Awaitable[None]] = _nothing_to_hide
    """Function that removes a live view, so that something else can be printed. Repeated calls do
    nothing."""


OpenDisplay: TypeAlias = Callable[[ShownRun], AbstractAsyncContextManager[Display]]

_REFRESH_INTERVAL = 0.1
"""Seconds between two updates of the live view."""
_REFRESHES_PER_MEASURE = 10
"""Number of updates of the live view after which the bill and the time left are computed again."""
_MAX_WORKERS_SHOWN = 100
"""Maximum number of workers with a line in the live view. More do not fit into a terminal, and
would take time that the run needs."""


@asynccontextmanager
async def screen_display(shown: ShownRun, *, console: Console) -> AsyncGenerator[Display]:
    """Show a live view with failures above it, and remove the live view at the end of the run."""
    from rich.live import Live  # noqa: PLC0415 - only for a terminal

    live = Live(console=console, auto_refresh=False, transient=True)
    printing, visible = anyio.Lock(), True
    started_at = anyio.current_time()

    async def refresh() -> None:
        progress: RunProgress | None = None
        for number in count():
            now = anyio.current_time() - started_at
            if shown.measure is not None and number % _REFRESHES_PER_MEASURE == 0:
                progress = shown.measure()
            async with printing:
                if not visible:
                    return
                picture = live_view(shown, progress, now=now)
                update = partial(live.update, picture, refresh=True)
                await to_thread.run_sync(update)
            await anyio.sleep(_REFRESH_INTERVAL)

    async def show(event: Event) -> None:
        if (text := failure_line(event, shown)) is not None:
            await to_thread.run_sync(console.print, text)

    async def hide() -> None:
        nonlocal visible
        async with printing:
            if visible:
                visible = False
                await to_thread.run_sync(live.stop)

    await to_thread.run_sync(live.start)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(refresh)
            yield Display(show=show, hide=hide)
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await hide()


@asynccontextmanager
async def line_display(shown: ShownRun, *, console: Console) -> AsyncGenerator[Display]:
    """Print a line for each important event, for logs and pipes."""

    async def show(event: Event) -> None:
        if (text := log_line(event, shown)) is not None:
            await to_thread.run_sync(partial(console.print, text, soft_wrap=True))

    yield Display(show=show)


def log_line(event: Event, shown: ShownRun) -> Text | None:
    """Return the log line for an event; ``None`` for an event that is not logged."""
    match event:
        case SceneQueued() | SceneUploaded() | SceneProgress() | SceneEncoded() | FilmProgress():
            return None
        case WorkerLaunched(task=task, backend=backend):
            text = Text(f"{shown.view.worker_name(task)} is starting ({backend})")
        case WorkerReady(task=task, size=size):
            text = Text(f"{shown.view.worker_name(task)} is ready" + (f" ({size})" if size else ""))
        case WorkerStopped(task=task, reason=reason):
            end = f": {first_line(reason)}" if shown.is_new(reason) else ""
            text = safe_text(f"{shown.view.worker_name(task)} stopped{end}")
        case SceneStarted(scene=scene, task=task):
            text = safe_text(f"{scene}: started on {shown.view.worker_name(task)}")
        case SceneEncoding(scene=scene, task=task):
            text = safe_text(f"{scene}: encoding on {shown.view.worker_name(task)}")
        case SceneCompleted() | FilmCompleted():
            text = _completed_text(event)
        case SceneCopied(scene=scene, task=task):
            text = safe_text(f"{scene}: slow, encoding on {shown.view.worker_name(task)} too")
        case WorkerFailed() | SceneRetried() | SceneFailed() | FilmFailed():
            text = _failure_text(event, shown)
        case _:
            assert_never(event)
    return Text.assemble((f"{format_duration(event.at):>6}  ", "dim"), text)


def _completed_text(event: SceneCompleted | FilmCompleted) -> Text:
    done = "done already" if event.skipped else "done"
    if isinstance(event, FilmCompleted):
        return safe_text(f"film: {done}, {short_path(event.path)}")
    size, path = format_size(event.video.size), short_path(event.video.path)
    return safe_text(f"{event.scene}: {done}, {size}, {path}")


def failure_line(event: Event, shown: ShownRun) -> Text | None:
    """Return the line for a failure; ``None`` for any other event."""
    if isinstance(event, WorkerFailed | SceneRetried | SceneFailed | FilmFailed):
        return _failure_text(event, shown)
    return None


def _failure_text(event: FailureEvent, shown: ShownRun) -> Text:
    """Return the text of a failure, with its message only if no earlier one had the same cause."""
    match event:
        case WorkerFailed(task=task):
            head, style = f"{shown.view.worker_name(task)} failed", "yellow"
        case SceneRetried(scene=scene):
            head, style = f"{scene}: attempt failed, retrying", "yellow"
        case SceneFailed(scene=scene):
            head, style = f"{scene}: failed", "red"
        case FilmFailed():
            head, style = "no film", "red"
    first = shown.first_failure(event)
    if first is event:
        return safe_text(f"{head}: {event.kind}: {first_line(event.message)}", style)
    return safe_text(f"{head}: {event.kind}, as above for {shown.failure_name(first)}", style)


def live_view(
    shown: ShownRun, progress: RunProgress | None = None, *, now: float
) -> RenderableType:
    """Return the live view at ``now`` seconds after the start of the run.

    ``progress`` has the bill and the time left.

    The view is read here and not when it is rendered, which another thread does. The bar for the
    whole run comes first, because only the first lines fit into a small terminal.
    """
    view = shown.view
    if not view.scenes:
        return Text("checking the scenes", "dim")
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, justify="right", width=4)
    for task, worker in islice(view.workers.items(), _MAX_WORKERS_SHOWN):
        name = Text(f"worker {worker.number}", "cyan")
        grid.add_row(name, *_worker_cells(worker, task, view.scenes_on(task), now))
    return Group(_overall_line(shown, progress, now), grid)


def _overall_line(shown: ShownRun, progress: RunProgress | None, now: float) -> Table:
    view = shown.view
    state = Text(f"{view.done} of {pluralize(len(view.scenes), 'scene')}")
    if view.failed:
        state.append(f" · {view.failed} failed", "red")
    if shown.stopping:
        state.append(" · stopping", "yellow")
    elif view.film is not None:
        state.append(f" · joining the film {view.film:.0%}", "cyan")
    from rich.progress_bar import ProgressBar  # noqa: PLC0415 - only for a terminal

    bar = ProgressBar(
        total=1,
        completed=view.share,
        complete_style="cyan",
        finished_style="green",
        style="bright_black",
    )
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, justify="right", min_width=5)
    time = format_duration(now)
    if progress is not None and progress.usd is not None:
        state.append(f"  {format_usd(progress.usd)}")
    if progress is not None and progress.seconds_left is not None and not shown.stopping:
        end = "left" if progress.film is None else "+ film"
        time = f"about {format_duration(progress.seconds_left)} {end}"
    grid.add_row(bar, state, Text(time, "dim"))
    return grid


def _worker_cells(
    worker: WorkerView, task: str, scenes: list[SceneView], now: float
) -> tuple[Text, ...]:
    blank = Text()
    if not worker.ready:
        waited = format_duration(max(now - worker.since, 0))
        return Text(f"starting, {waited}", "dim"), blank, blank
    if not scenes:
        return Text("waiting for a scene", "dim"), blank, blank
    scene = scenes[0]
    is_copy = scene.task != task  # the progress is that of the other attempt
    stage = Text("encoding a copy" if is_copy else scene.stage.value)
    if len(scenes) > 1:
        stage.append(f" +{len(scenes) - 1}", "dim")
    encodes = scene.stage is SceneStage.ENCODING and not is_copy
    return safe_text(scene.name, "bold"), stage, Text(f"{scene.progress:.0%}" if encodes else "")
