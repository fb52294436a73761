"""Displays of a run in progress: a live view, log lines, JSON lines, or none.

Displays write in threads, because a slow terminal would otherwise delay the run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import TypeAlias, assert_never

import anyio
from anyio import to_thread
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from cloudburst.display.language import say
from cloudburst.display.live_view import Row, ShownRun, live_view, whole_run, worker_name
from cloudburst.display.terminal_texts import safe_text
from cloudburst.display.texts import first_line, format_duration, format_size, short_path
from cloudburst.engine.failure_groups import FailureEvent, failure_key, key_of
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


async def _do_nothing(_event: Event | None = None) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """Open display of a run."""

    show: Callable[[Event], Awaitable[None]] = _do_nothing
    """Function that shows an event of the run."""
    hide: Callable[[], Awaitable[None]] = _do_nothing
    """Function that removes a live view, so that something else can be printed. Repeated calls do
    nothing."""


OpenDisplay: TypeAlias = Callable[[ShownRun], AbstractAsyncContextManager[Display]]

_REFRESH_INTERVAL = 0.5
"""Seconds between two updates of the live view."""
_SUMMARY_INTERVAL = 60.0
"""Seconds between two lines about the whole run in a log."""


class ProgressConsole(Console):
    """Console of a program, whose run goes on when the reader of its progress has gone."""

    def on_broken_pipe(self) -> None:
        """Print no more."""
        self.quiet = True


def display_for(console: Console) -> OpenDisplay:
    """Return the display that fits a console: in a notebook, in a terminal, or as lines."""
    if console.is_jupyter:
        from cloudburst.display.notebook import notebook_display  # noqa: PLC0415 - imports this

        return notebook_display
    # rich takes any output for a terminal if FORCE_COLOR is set, and logs of CI keep all lines.
    moves = console.is_terminal and console.file.isatty() and not os.environ.get("CI")
    live = moves and not console.is_dumb_terminal
    return partial(screen_display if live else line_display, console=console)


@asynccontextmanager
async def repeated(update: Callable[[], Awaitable[None]], seconds: float) -> AsyncGenerator[None]:
    """Call a function in the background, at once and after each interval."""

    async def repeat() -> None:
        while True:
            await update()
            await anyio.sleep(seconds)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(repeat)
        yield
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def screen_display(shown: ShownRun, *, console: Console) -> AsyncGenerator[Display]:
    """Show a live view with failures above it, and remove the live view at the end of the run."""
    from rich.live import Live  # noqa: PLC0415 - only for a terminal

    # A program's own output stays where it is, unless it would be drawn over.
    redirect = sys.stdout.isatty()
    live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=redirect)
    printing, visible, drawn = anyio.Lock(), True, list[Row]()

    async def refresh() -> None:
        nonlocal drawn
        async with printing:
            width, height = console.size
            # Terminals write ^C behind the last line, and must not break it.
            view = live_view(shown, width=width - 2, height=height)
            if visible and view.rows != drawn:
                drawn = view.rows
                await to_thread.run_sync(partial(live.update, view, refresh=True))

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
        async with repeated(refresh, _REFRESH_INTERVAL):
            yield Display(show=show, hide=hide)
    finally:
        with anyio.CancelScope(shield=True):
            await hide()


@asynccontextmanager
async def line_display(shown: ShownRun, *, console: Console) -> AsyncGenerator[Display]:
    """Print a line for each important event, and one about the whole run each minute, for logs."""

    async def write(text: Text | None) -> None:
        if text is not None:
            await to_thread.run_sync(partial(console.print, text, soft_wrap=True))

    async def show(event: Event) -> None:
        await write(log_line(event, shown))

    async def summarize() -> None:
        await write(summary_line(shown))

    async with repeated(summarize, _SUMMARY_INTERVAL):
        yield Display(show=show)


def summary_line(shown: ShownRun) -> Text | None:
    """Return the line of a log about the whole run; ``None`` until its scenes are checked."""
    progress = shown.progress()
    if progress is None:
        return None
    counts, bill, times = whole_run(shown, progress)
    texts = ["".join(text for text, _ in counts), bill, *times[:1]]
    return _line(progress.at, Text(say(", ").join(filter(None, texts))))


def log_line(event: Event, shown: ShownRun) -> Text | None:
    """Return the log line for an event; ``None`` for an event that is not logged."""
    match event:
        case SceneQueued() | SceneUploaded() | SceneProgress() | SceneEncoded() | FilmProgress():
            return None
        case WorkerLaunched(task=task, backend=backend):
            worker = worker_name(shown.view, task)
            text = Text(say("{} is starting ({})", worker, say(backend)))
        case WorkerReady(task=task, size=size):
            ready = say("{} is ready", worker_name(shown.view, task))
            text = Text(ready + (f" ({size})" if size else ""))
        case WorkerStopped(task=task, reason=reason):
            stopped = say("{} stopped", worker_name(shown.view, task))
            is_known = any(key.endswith(f": {failure_key(reason)}") for key in shown.view.failures)
            why = say(first_line(reason))
            text = safe_text(stopped if is_known else say("{}: {}", stopped, why))
        case SceneStarted(scene=scene, task=task):
            text = safe_text(say("{}: started on {}", scene, worker_name(shown.view, task)))
        case SceneEncoding(scene=scene, task=task):
            text = safe_text(say("{}: encoding on {}", scene, worker_name(shown.view, task)))
        case SceneCompleted() | FilmCompleted():
            text = _completed_text(event)
        case SceneCopied(scene=scene, task=task):
            worker = worker_name(shown.view, task)
            text = safe_text(say("{}: slow, encoding on {} too", scene, worker))
        case WorkerFailed() | SceneRetried() | SceneFailed() | FilmFailed():
            fix = _fix(event, shown)
            text = _failure_text(event, shown).append(fix and f"\n{' ' * 8}{fix}", "default")
        case _:
            assert_never(event)
    return _line(event.at, text)


def _line(at: float, text: Text) -> Text:
    return Text.assemble((f"{format_duration(at):>6}  ", "dim"), text)


def _completed_text(event: SceneCompleted | FilmCompleted) -> Text:
    done = say("done already" if event.skipped else "done")
    if isinstance(event, FilmCompleted):
        return safe_text(say("film: {}", f"{done}{say(', ')}{short_path(event.path)}"))
    facts = done, format_size(event.video.size), short_path(event.video.path)
    return safe_text(say("{}: {}", event.scene, say(", ").join(facts)))


def failure_line(event: Event, shown: ShownRun) -> RenderableType | None:
    """Return the text about a failure above a live view, which has each cause once.

    It is ``None`` for any other event, and for a scene that failed as another one before it.
    """
    if not isinstance(event, FailureEvent):
        return None
    text, fix = _failure_text(event, shown), _fix(event, shown)
    if fix:
        return Group(text, Padding.indent(fix, 2))
    return text if event is shown.view.failures[key_of(event)].first else None


def _failure_text(event: FailureEvent, shown: ShownRun) -> Text:
    """Return the text of a failure, with its message only if no earlier one had the same cause."""
    match event:
        case WorkerFailed(task=task):
            head, style = say("{} failed", worker_name(shown.view, task)), "yellow"
        case SceneRetried(scene=scene):
            head, style = say("{}: attempt failed, retrying", scene), "yellow"
        case SceneFailed(scene=scene):
            head, style = say("{}: failed", scene), "red"
        case FilmFailed():
            head, style = say("no film"), "red"
    group = shown.view.failures[key_of(event)]
    first = group.first
    if first is None or first is event:
        return safe_text(say("{}: {}", head, first_line(group.message)), style)
    match first:
        case FilmFailed():
            name = say("the film")
        case WorkerFailed(task=task):
            name = worker_name(shown.view, task)
        case _:
            name = first.scene
    return safe_text(say("{}, as above for {}", head, name), style)


def _fix(event: FailureEvent, shown: ShownRun) -> str:
    """Return what to do, at the first scene that is not tried again, and not twice the same."""
    group = shown.view.failures[key_of(event)]
    before = takewhile(lambda one: one is not group, shown.view.failures.values())
    if any(one.fix == group.fix and one.scenes for one in before):
        return ""
    is_first = isinstance(event, SceneFailed) and group.scenes[0] == event.scene
    is_final = is_first or isinstance(event, FilmFailed)
    return say("What to do: {}", say(group.fix)) if is_final and group.fix else ""
