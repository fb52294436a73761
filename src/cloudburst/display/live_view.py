"""Live view of a run: the whole run, its workers and its scenes, in the lines of a window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from cloudburst.display.language import say
from cloudburst.display.texts import (
    first_line,
    format_duration,
    format_limit,
    format_range,
    format_usd,
    pluralize,
)
from cloudburst.engine.run import Run
from cloudburst.engine.run_view import RunView, SceneStage, SceneView
from cloudburst.models.run_progress import RunProgress, WorkerProgress
from cloudburst.text import printable, short_task

Row: TypeAlias = list[Segment]

_REST = Style.parse("dim bright_black")
"""Style of the part of a bar that is not done."""
_GAP = Segment("  ")
_MIN_BAR, _MAX_BAR = 8, 24
"""Minimum width of a bar, and maximum width of that of a scene."""
_MAX_NAME = 44
_NAMES_MEASURED = 1000
"""Maximum number of scenes whose names decide the width of their column."""
_STAGE_WIDTH, _STATE_WIDTH, _PERCENT_WIDTH = 17, 23, 4
"""Widths of the stage of a scene, the state of a worker with its scenes, and a percentage."""
_URGENCY = tuple(
    map(SceneStage, ("encoding", "downloading", "failed", "uploading", "waiting to encode"))
)
"""Order of the scenes if not all of them fit into the window."""


@dataclass(eq=False, slots=True)
class ShownRun:
    """Run that a display shows; without scenes until these are checked."""

    view: RunView = field(default_factory=RunView)
    progress: Callable[[], RunProgress | None] = lambda: None
    """Function that returns the bill and the time left; ``None`` until the scenes are checked."""
    stopping: bool = False
    """True if the run is being stopped by a signal."""

    def begin(self, run: Run) -> None:
        """Show this run, whose scenes were checked."""
        self.view, self.progress = run.view, run.progress


def worker_name(view: RunView, task: str) -> str:
    """Return the name of a worker for people: ``worker 2``, or ``a worker`` if not launched."""
    number = view.numbers.get(task)
    return say("a worker") if number is None else say("worker {}", number)


class LiveView:
    """Lines that fit into a window. A table of rich takes much more time, which the run needs."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        has_colour = console.color_system is not None and not console.no_color
        for row in self.rows:
            for segment in row:
                is_rest = segment.style is _REST and not has_colour
                yield Segment(" " * len(segment.text)) if is_rest else segment
            yield Segment.line()


def live_view(shown: ShownRun, *, width: int, height: int) -> LiveView:
    """Return the live view of a run at this moment, which has fewer than ``height`` lines.

    The run is read here and not when the view is rendered, which another thread does.
    """
    view, progress = shown.view, shown.progress()
    if progress is None:
        return LiveView([[Segment(say("checking the scenes"), Style.parse("dim"))]])
    rows = _head(shown, progress, width)
    names = (worker_name(view, worker.task) for worker in progress.workers)
    label = max(map(cell_len, names), default=0)
    rows += _worker_rows(view, progress, label=label, room=height // 3)
    rows += _scene_rows(view, label=label, width=width, room=height - 1 - len(rows))
    return LiveView(rows[: height - 1])


def whole_run(
    shown: ShownRun, progress: RunProgress
) -> tuple[list[tuple[str, str]], str, list[str]]:
    """Return texts about the whole run: counts with their styles, the bill, and the time left.

    The time left comes with and without its range; there is none while it is not known.
    """
    view = shown.view
    counts = [(say("{} of {}", view.done, pluralize(len(view.scenes), "scene")), "")]
    if view.failed:
        counts.append((say(" · {} failed", view.failed), "red"))
    if shown.stopping:
        counts.append((say(" · stopping"), "yellow"))
    elif view.film is not None:
        counts.append((say(" · joining the film {:.0%}", view.film), "cyan"))
    bill = ""
    if progress.usd is not None:
        bill = format_usd(progress.usd)
        if progress.max_usd is not None:
            bill = say("{} of {}", bill, format_limit(progress.max_usd))
    if progress.seconds_left is None or shown.stopping:
        return counts, bill, []
    form = "about {} + film" if progress.film == 0 else "about {} left"
    time = say(form, format_duration(progress.seconds_left))
    low, high = progress.seconds_left_low, progress.seconds_left_high
    spread = "" if low is None or high is None else format_range(low, high)
    return counts, bill, [f"{time} ({spread})", time] if spread else [time]


def _head(shown: ShownRun, progress: RunProgress, width: int) -> list[Row]:
    """Return one line, or two if the bar would be too short."""
    view = shown.view
    counts, bill, times = whole_run(shown, progress)
    times = times or [format_duration(progress.at)]
    share = view.share if view.film is None else view.film
    facts = [Segment(text, Style.parse(style)) for text, style in counts]
    if bill:
        facts += [_GAP, Segment(bill)]
    room = width - Segment.get_line_length(facts) - 2 * len(_GAP.text)
    if room - cell_len(times[0]) >= _MIN_BAR:
        bar = _bar(share, room - cell_len(times[0]))
        return [[*bar, *facts, _GAP, Segment(times[0])]]
    room = width - len(_GAP.text)
    time = next((each for each in times if room - cell_len(each) >= _MIN_BAR), times[-1])
    return [[*_bar(share, max(room - cell_len(time), 0)), Segment(time)], facts]


def _worker_rows(view: RunView, progress: RunProgress, *, label: int, room: int) -> Iterator[Row]:
    workers = progress.workers
    shown = workers if len(workers) <= room else workers[: max(room - 1, 0)]
    places = [_place(each) for each in shown]
    place_width = max(map(cell_len, places), default=0)
    for worker, place in zip(shown, places, strict=True):
        state = say("waiting for a scene" if worker.state == "idle" else worker.state)
        if len(worker.scenes) > 1:
            state = say("{}, {} scenes", state, len(worker.scenes))
        since = max(progress.at - view.workers[worker.task].since, 0)
        yield [
            _cell(worker_name(view, worker.task), label, "cyan"),
            _cell(place, place_width, "dim"),
            _cell(state, _STATE_WIDTH, "" if worker.scenes else "dim"),
            Segment(format_duration(since), Style.parse("dim")),
        ]
    if rest := workers[len(shown) :]:
        counts = Counter(each.state for each in rest)
        yield [_rest({f"workers {state}": count for state, count in counts.items()})]


def _place(worker: WorkerProgress) -> str:
    if worker.size:
        return worker.size
    return say("this machine") if worker.place == "machine" else short_task(worker.task)


def _scene_rows(view: RunView, *, label: int, width: int, room: int) -> Iterator[Row]:
    busy = view.in_work()
    waiting = len(view.scenes) - len(busy) - view.failed - view.done
    if view.done or waiting or len(busy) + view.failed > room:
        room -= 1  # for the sums
    reasons = {name: group.message for group in view.failures.values() for name in group.scenes}
    shown = [*busy, *(view.scenes[name] for name in islice(reasons, max(room, 0)))]
    if len(shown) > room:
        shown = sorted(shown, key=lambda scene: _URGENCY.index(scene.stage))[: max(room, 0)]
    longest = min(max(map(cell_len, islice(view.scenes, _NAMES_MEASURED))), _MAX_NAME)
    left = width - label - _STAGE_WIDTH - _PERCENT_WIDTH - 3 * len(_GAP.text)
    bar = min(left - longest - len(_GAP.text), _MAX_BAR)
    name_width, bar = min(longest, left), bar if bar >= _MIN_BAR else 0
    for scene in shown:
        row = [_cell(scene.name, name_width, "bold")]
        if scene.stage is SceneStage.FAILED:
            text = f"{say('failed')}: {first_line(reasons[scene.name])}"
            row.append(_cell(text, width - name_width - 2 * len(_GAP.text), "red"))
        else:
            row += _stage_cells(view, scene, label, bar)
        yield row
    failures_shown = sum(scene.stage is SceneStage.FAILED for scene in shown)
    sums = {
        "in work": len(busy) + failures_shown - len(shown),
        "failed": view.failed - failures_shown,
        "waiting": waiting,
        "done": view.done,
    }
    if any(sums.values()):
        yield [_rest(sums)]


def _stage_cells(view: RunView, scene: SceneView, label: int, bar: int) -> Row:
    worker = "" if scene.task is None else worker_name(view, scene.task)
    stage = say(scene.stage.value) + (say(" + copy") if scene.copy_task else "")
    row = [_cell(worker, label, "cyan"), _cell(stage, _STAGE_WIDTH)]
    if scene.stage is SceneStage.ENCODING:
        row += [*_bar(scene.progress, bar), Segment(f"{scene.progress:{_PERCENT_WIDTH}.0%}")]
    return row


def _bar(share: float, width: int) -> Row:
    done = round(2 * width * min(share, 1.0))
    full = "━" * (done // 2) + "╸" * (done % 2)
    rest = Segment("━" * (width - len(full)), _REST)
    return (
        [Segment(full, Style.parse("green" if share >= 1 else "cyan")), rest, _GAP] if width else []
    )


def _cell(text: str, width: int, style: str = "") -> Segment:
    """Return text that is cut or filled up to a width in cells, with a gap behind it."""
    text = printable(text)
    if cell_len(text) > width:
        text = set_cell_size(text, max(width - 1, 0)) + "…"
    return Segment(set_cell_size(text, max(width, 0)) + _GAP.text, Style.parse(style))


def _rest(sums: Mapping[str, int]) -> Segment:
    text = say(", ").join(say(f"{{}} {name}", count) for name, count in sums.items() if count)
    return Segment(f"… {text}", Style.parse("dim"))
