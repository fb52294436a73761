"""What was wrong with what we were asked, so that it can be mended in one go."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cloudburst.cli.words import count, short_path, shown
from cloudburst.errors import CloudburstError, InvalidScenesError, OutputExistsError, SceneFault

_MOST = 100
"""Faults or paths to show; nobody reads more of them."""


def complaint(error: CloudburstError) -> RenderableType:
    """The error for a person at a terminal."""
    match error:
        case InvalidScenesError(faults=faults) if faults:
            return _faults(faults)
        case OutputExistsError(paths=paths) if paths:
            head = f"{count(len(paths), 'video')} there already; --overwrite replaces them:"
            told = [shown(f"  {short_path(path)}") for path in paths[:_MOST]]
            return Group(Text(head, "red"), *told, *_more(len(paths)))
        case _:
            return shown(str(error), "red")


def _faults(faults: tuple[SceneFault, ...]) -> Group:
    told: list[RenderableType] = []
    for scene, those in groupby(faults[:_MOST], key=lambda fault: fault.scene):
        told += [shown(scene, "bold"), _of_one(those)]
    head = f"{count(len(faults), 'fault')}; nothing was started."
    return Group(*told, *_more(len(faults)), Text(head, "red"))


def _of_one(faults: Iterable[SceneFault]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=0)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for fault in faults:
        found = shown(fault.found, "red")
        grid.add_row("", shown(fault.field, "cyan"), found)
        grid.add_row("", "", Text.assemble(("expected ", "dim"), shown(fault.expected)))
    return grid


def _more(number: int) -> list[Text]:
    return [Text(f"… and {number - _MOST} more", "dim")] if number > _MOST else []
