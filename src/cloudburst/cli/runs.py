"""``cloudburst runs``: lists the runs of a folder and their state."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cloudburst.cli.options import RESULTS_FOLDER, FolderOption
from cloudburst.cli.output import print_output, write_json
from cloudburst.display.language import say
from cloudburst.display.terminal_texts import safe_text, unwrapped
from cloudburst.display.texts import format_usd, short_path
from cloudburst.errors import JournalError
from cloudburst.models.journal_entries import SCENES_ARE_MISSING, JournalState
from cloudburst.models.locations import OutputFolder, absolute_location
from cloudburst.models.report import Status
from cloudburst.models.settings import Settings
from cloudburst.models.task import usd_billed
from cloudburst.outputs.earlier_runs import successor
from cloudburst.outputs.final_bills import JournaledRun, complete_bills
from cloudburst.outputs.folder import active_runs
from cloudburst.outputs.journal.reader import (
    folders_with_journals,
    journal_folder,
    journal_paths,
    read_journal,
)

RUNNING, UNREADABLE, OPEN = "running", "unreadable", "open"

_STYLES = {
    RUNNING: "cyan",
    UNREADABLE: "red",
    OPEN: "yellow",
    Status.COMPLETE: "green",
    Status.PARTIAL: "yellow",
    Status.FAILED: "red",
    Status.BUDGET: "yellow",
    Status.INTERRUPTED: "yellow",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """A run, as its journal describes it."""

    run: str
    folder: OutputFolder
    """Folder of the videos."""
    state: str
    """A value of `Status`, ``running``, ``unreadable``, or ``open``: only the program that gives
    the scenes can go on."""
    process: str = ""
    """Process that continues the run; empty if there is none."""
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    """Time at which the last process ended normally; ``None`` if it did not."""
    processes: int = 0
    """Number of processes that have worked on the run."""
    scenes: int = 0
    videos: int = 0
    """Number of scenes whose video is up to date with its inputs."""
    workers: int = 0
    """Number of workers, without launches that were never answered."""
    sizes: Sequence[str] = ()
    """Sizes of the billed tasks, each once: ``2 vCPU, 4 GB``."""
    usd: Decimal | None = None
    """Known cost so far, in USD; ``None`` if nothing is billed."""
    final: bool = False
    """True if every task is known to have stopped, so that the cost is final."""
    error: str = ""
    """Reason why the journal cannot be read; empty if it can."""
    successor: str = ""
    """Name of a later, complete run that made the videos of all scenes; empty if there is none."""


def runs_command(
    *,
    to: FolderOption | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """List the runs of a folder, the newest one first.

    AWS is asked for the final bills of runs that ended before all of their tasks had stopped.

    $ cloudburst runs --to videos

    Parameters
    ----------
    to
        Folder of the videos; the runs of its subfolders are listed too. Default: RESULTS_DIR, else
        ./cloudburst_results. For a folder in S3, runs that were started on this machine are listed.
    as_json
        Print one JSON list.
    """
    settings = Settings()
    folder = to or settings.results or RESULTS_FOLDER
    runs = list_runs(folder, settings)
    if as_json:
        write_json([asdict(run) | {"folder": str(run.folder)} for run in runs])
    else:
        print_output(*_run_lines(runs, folder, default=to is None))
    return 0


def list_runs(folder: OutputFolder, settings: Settings) -> list[ListedRun]:
    """Return the runs with a journal in a folder or its subfolders, the newest first. Blocks.

    AWS is asked once for the final bills of ended runs that do not have theirs.
    """
    folders = folders_with_journals(absolute_location(folder))
    found = {each: _read_folder(each) for each in folders}
    ended = [run for runs, _, active in found.values() for run in runs if run.name not in active]
    states = dict(zip(ended, complete_bills(ended, settings), strict=True))
    listed = list[ListedRun]()
    for each, (runs, unreadable, active) in found.items():
        journals = [(run.name, states.get(run, run.state)) for run in runs]
        readable = [
            _listed_run(name, each, state, active.get(name, ""), successor(state, journals))
            for name, state in journals
        ]
        listed += sorted([*unreadable, *readable], key=_start_time, reverse=True)
    return listed


def _read_folder(
    folder: OutputFolder,
) -> tuple[list[JournaledRun], list[ListedRun], Mapping[str, str]]:
    """Return the runs of a folder, those without a readable journal, and the active processes."""
    journals_in = journal_folder(folder)
    paths = journal_paths(journals_in)
    active = active_runs(journals_in) if paths else {}
    runs, unreadable = list[JournaledRun](), list[ListedRun]()
    for path in paths:
        name, process = path.stem, active.get(path.stem, "")
        try:
            runs.append(JournaledRun(journals_in, name, read_journal(path)))
        except JournalError as exc:
            state = RUNNING if process else UNREADABLE
            unreadable.append(
                ListedRun(run=name, folder=folder, state=state, process=process, error=str(exc))
            )
    return runs, unreadable, active


def _listed_run(
    name: str, folder: OutputFolder, journal: JournalState, process: str, later: str | None
) -> ListedRun:
    usages = [task.usage for task in journal.tasks.values() if task.usage is not None]
    state = str(journal.end.status if journal.end else Status.INTERRUPTED)
    videos = len(journal.finished)
    if journal.source_ended is False and videos == len(journal.scenes):
        state = OPEN
    return ListedRun(
        run=name,
        folder=folder,
        state=RUNNING if process else state,
        process=process,
        started_at=_to_datetime(journal.processes[0].started_at) if journal.processes else None,
        ended_at=_to_datetime(journal.end.ended_at) if journal.end else None,
        processes=len(journal.processes),
        scenes=len(journal.scenes),
        videos=videos,
        workers=len(journal.tasks),
        sizes=sorted({usage.size for usage in usages}),
        usd=sum(map(usd_billed, usages), Decimal()) if usages else None,
        final=all(task.settled for task in journal.tasks.values()),
        successor=later or "",
    )


def _run_lines(
    runs: Sequence[ListedRun], folder: OutputFolder, *, default: bool
) -> Iterator[RenderableType]:
    if not runs:
        where = "in" if isinstance(folder, Path) else "of this machine in"
        yield unwrapped(f"No runs {where} ", safe_text(short_path(folder)), ".")
        return
    for each, group in groupby(runs, key=lambda run: run.folder):
        yield unwrapped(safe_text(say("in {}", short_path(each)), "bold"))
        yield _table(group, header=each == runs[0].folder)
    yield Text()
    yield from _notes(runs)
    not_resumable = {RUNNING, UNREADABLE, OPEN, Status.COMPLETE}
    resumable = [
        run
        for run in runs
        if run.started_at and run.state not in not_resumable and not run.successor
    ]
    if resumable:
        run = max(resumable, key=_start_time)
        to = ["--to", short_path(run.folder)]
        if default and run.folder == absolute_location(folder):
            to = []
        command = shlex.join(["cloudburst", "resume", run.run, *to])
        yield unwrapped(say("resume with: "), safe_text(command, "bold"))


def _notes(runs: Sequence[ListedRun]) -> Iterator[Text]:
    for run in runs:
        if run.process:
            yield safe_text(f"{run.run}: {run.process} continues it")
        if run.state == OPEN:
            yield safe_text(f"{run.run}: {SCENES_ARE_MISSING}")
        if run.successor:
            by = f"its videos are from run {run.successor}, which is complete"
            yield safe_text(f"{run.run}: {by}")
        if run.error:
            yield safe_text(run.error, "red")


def _table(runs: Iterable[ListedRun], *, header: bool) -> Table:
    table = Table(box=None, show_header=header, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(say("run"), overflow="fold", min_width=12)
    table.add_column(say("state"), no_wrap=True, min_width=11)
    for name, width in (("scenes", 8), ("workers", 9), ("cost", 8)):
        table.add_column(say(name), no_wrap=True, min_width=width, justify="right")
    table.add_column(say("started"), no_wrap=True)
    for run in runs:
        started = run.started_at and run.started_at.astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(
            safe_text(run.run),
            safe_text(say(run.state), _STYLES[run.state]),
            f"{run.videos}/{run.scenes}" if run.started_at else "",
            _workers_cell(run),
            "" if run.usd is None else f"{'' if run.final else '≥'}{format_usd(run.usd)}",
            Text(started or "", "dim"),
        )
    return table


def _workers_cell(run: ListedRun) -> str:
    """Return ``3``, or ``3×4 vCPU`` if all of them are tasks of one size."""
    if len(run.sizes) != 1:
        return str(run.workers or "")
    return f"{run.workers}×{run.sizes[0].partition(',')[0]}"


def _start_time(run: ListedRun) -> float:
    return run.started_at.timestamp() if run.started_at else 0.0


def _to_datetime(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
