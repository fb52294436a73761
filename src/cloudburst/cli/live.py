"""The picture of a run that goes on: one bar in all, one line for each worker."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cloudburst.cli.view import RunView, SceneView, Stage, WorkerView
from cloudburst.cli.words import clock, count, shown

_BAR = 12


def picture(view: RunView, *, now: float) -> RenderableType:
    """What to show ``now`` seconds after the run began.

    The bar comes first: a screen that is too low cuts off workers and not it.
    """
    if not view.scenes:
        return Text("checking the scenes", "dim")
    return Group(_overall(view, now), _workers(view, now))


def _overall(view: RunView, now: float) -> Table:
    told = Text(f"{view.done} of {count(len(view.scenes), 'scene')}")
    if view.failed:
        told.append(f" · {view.failed} failed", "red")
    if view.stopping:
        told.append(" · stopping", "yellow")
    elif view.settling:
        told.append(" · waiting for the final bill", "dim")
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, justify="right", min_width=5)
    grid.add_row(_bar(view.share), told, Text(clock(now), "dim"))
    return grid


def _workers(view: RunView, now: float) -> Table:
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, width=_BAR)
    grid.add_column(no_wrap=True, justify="right", width=5)
    for task, worker in view.workers.items():
        grid.add_row(Text(f"worker {worker.number}", "cyan"), *_busy(worker, view.on(task), now))
    return grid


def _busy(worker: WorkerView, scenes: list[SceneView], now: float) -> tuple[RenderableType, ...]:
    """What a worker does: scene, stage, bar and percent."""
    blank = Text()
    if not worker.ready:
        waited = clock(max(now - worker.since, 0))
        return Text(f"starting, {waited}", "dim"), blank, blank, blank
    if not scenes:
        return Text("waiting for a scene", "dim"), blank, blank, blank
    scene = scenes[0]
    stage = Text(scene.stage.value)
    if len(scenes) > 1:
        stage.append(f" +{len(scenes) - 1}", "dim")
    if scene.stage is not Stage.ENCODING:
        return shown(scene.name, "bold"), stage, blank, blank
    percent = Text(f"{scene.progress:.0%}")
    return shown(scene.name, "bold"), stage, _bar(scene.progress, _BAR), percent


def _bar(share: float, width: int | None = None) -> ProgressBar:
    return ProgressBar(
        total=1,
        completed=share,
        width=width,
        complete_style="cyan",
        finished_style="green",
        style="bright_black",
    )
