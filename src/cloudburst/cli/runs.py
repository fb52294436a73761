"""``cloudburst runs``: which runs a folder knows of, and what has become of them."""

from __future__ import annotations

import datetime as dt
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from cloudburst.cli.displays import write_line
from cloudburst.cli.running import RESULTS
from cloudburst.cli.settings import read_settings
from cloudburst.cli.words import short_path, shown, usd
from cloudburst.engine.ledger import usd_billed
from cloudburst.errors import JournalError
from cloudburst.journal.reading import journals, read_past
from cloudburst.models.past import Past
from cloudburst.models.report import Status
from cloudburst.outputs import holders

WIDE = 76
"""Cells in which there is room for everything."""
RUNNING, UNREADABLE = "running", "unreadable"

_STYLES = {
    RUNNING: "cyan",
    UNREADABLE: "red",
    Status.COMPLETE: "green",
    Status.PARTIAL: "yellow",
    Status.FAILED: "red",
    Status.BUDGET: "yellow",
    Status.INTERRUPTED: "yellow",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """A run as its journal tells it."""

    run: str
    folder: Path
    """Where its videos are."""
    state: str
    """`Status`, or ``running`` or ``unreadable``."""
    holder: str = ""
    """The process that works on it."""
    began: dt.datetime | None = None
    ended: dt.datetime | None = None
    """The last time that it ended in order."""
    lives: int = 0
    """Processes that have worked on it."""
    scenes: int = 0
    done: int = 0
    tasks: int = 0
    """Without those whose launch was never answered."""
    usd: Decimal | None = None
    """Billed so far, as far as it was seen; ``None``: nothing is."""
    final: bool = False
    """All tasks were seen to have stopped."""
    error: str = ""
    """Why it cannot be read."""


def runs_command(
    *,
    to: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """List the runs of a folder, the newest one first.

    Parameters
    ----------
    to
        The folder of their videos; those in its folders are listed too. Default: RESULTS_DIR, else
        ./cloudburst_results.
    as_json
        One JSON list on the standard output.
    """
    folder = to or read_settings().results or RESULTS
    runs = list_runs(folder)
    if as_json:
        write_line(json.dumps([asdict(run) for run in runs], default=_as_json))
        return 0
    Console(highlight=False).print(Listing(runs, folder, default=to is None))
    return 0


def list_runs(folder: Path) -> list[ListedRun]:
    """Those with a journal in the folder or in a folder of it, the newest first. Blocks."""
    homes = [folder, *sorted(path.parent for path in folder.glob("*/.cloudburst"))]
    return [run for home in homes for run in _newest_first(home)]


def _newest_first(folder: Path) -> list[ListedRun]:
    paths = journals(folder)
    alive = holders(folder) if paths else {}
    runs = [_listed(path, holder=alive.get(path.stem, "")) for path in paths]
    return sorted(runs, key=_began, reverse=True)


def _listed(path: Path, *, holder: str) -> ListedRun:
    name, folder = path.stem, path.parent.parent
    try:
        past = read_past(path)
    except JournalError as exc:
        state = RUNNING if holder else UNREADABLE
        return ListedRun(run=name, folder=folder, state=state, holder=holder, error=str(exc))
    usages = [task.usage for task in past.tasks.values() if task.usage is not None]
    return ListedRun(
        run=name,
        folder=folder,
        state=RUNNING if holder else str(past.end.status if past.end else Status.INTERRUPTED),
        holder=holder,
        began=_moment(past.lives[0].began) if past.lives else None,
        ended=_moment(past.end.ended) if past.end else None,
        lives=len(past.lives),
        scenes=len(past.scenes),
        done=_done(past),
        tasks=len(past.tasks),
        usd=sum(map(usd_billed, usages), Decimal()) if usages else None,
        final=all(task.settled for task in past.tasks.values()),
    )


def _done(past: Past) -> int:
    """Scenes whose video is of what they are now."""
    return sum(
        name in past.results and past.results[name].fingerprint == scene.fingerprint
        for name, scene in past.scenes.items()
    )


class Listing:
    """Runs by folder, and how to go on with those that are not complete."""

    def __init__(self, runs: Sequence[ListedRun], folder: Path, *, default: bool) -> None:
        self._runs = runs
        self._folder = folder
        self._default = default

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out for the width that there is."""
        if not self._runs:
            yield shown(f"No runs in {short_path(self._folder)}.")
            return
        columns = _Columns(self._runs, width=options.max_width)
        yield columns.table((), head=True)
        for folder, some in groupby(self._runs, key=lambda run: run.folder):
            group = list(some)
            yield shown(f"in {short_path(folder)}", "bold")
            yield columns.table(group)
        yield from self._words()

    def _words(self) -> Iterator[RenderableType]:
        """What a table has no room for."""
        yield Text()
        for run in self._runs:
            if run.holder:
                yield shown(f"{run.run}: {run.holder} works on it")
            if run.error:
                yield shown(run.error, "red")
        done = {RUNNING, UNREADABLE, Status.COMPLETE}
        waiting = [run for run in self._runs if run.began and run.state not in done]
        for run in sorted(waiting, key=_began, reverse=True)[:1]:
            default = self._default and run.folder == self._folder.absolute()
            to = "" if default else f" --to {shlex.quote(short_path(run.folder))}"
            told = shown(f"cloudburst resume {run.run}{to}", "bold")
            # Not wrapped: it is there to be copied.
            yield Text.assemble("resume with: ", told, no_wrap=True, overflow="ignore")


class _Columns:
    """The columns that all tables of a listing share."""

    def __init__(self, runs: Sequence[ListedRun], *, width: int) -> None:
        self._wide = width >= WIDE
        self._scenes = max(*(len(_scenes(run)) for run in runs), 7)
        self._cost = max(*(len(_cost(run)) for run in runs), 7)
        self._begun = 16 if self._wide else 11
        others = [11, self._scenes, self._cost, self._begun, *([5] if self._wide else [])]
        room = width - sum(column + 2 for column in others) - 2
        self._name = max(12, min(room, max(len(run.run) for run in runs)))

    def table(self, runs: Sequence[ListedRun], *, head: bool = False) -> Table:
        """One row for each run."""
        table = Table(box=None, show_header=head, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("run", overflow="fold", width=self._name)
        table.add_column("state", no_wrap=True, width=11)
        table.add_column("scenes", no_wrap=True, width=self._scenes, justify="right")
        if self._wide:
            table.add_column("tasks", no_wrap=True, width=5, justify="right")
        table.add_column("cost", no_wrap=True, width=self._cost, justify="right")
        table.add_column("begun", no_wrap=True, width=self._begun)
        for run in runs:
            table.add_row(
                shown(run.run),
                shown(run.state, _STYLES[run.state]),
                _scenes(run),
                *([str(run.tasks or "")] if self._wide else []),
                _cost(run),
                Text(self._when(run), "dim"),
            )
        return table

    def _when(self, run: ListedRun) -> str:
        if run.began is None:
            return ""
        told = run.began.astimezone().strftime("%Y-%m-%d %H:%M")
        return told if self._wide else told[5:]


def _scenes(run: ListedRun) -> str:
    return f"{run.done}/{run.scenes}" if run.began else ""


def _cost(run: ListedRun) -> str:
    return "" if run.usd is None else f"{'' if run.final else '≥'}{usd(run.usd)}"


def _began(run: ListedRun) -> float:
    return run.began.timestamp() if run.began else 0.0


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _as_json(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)
