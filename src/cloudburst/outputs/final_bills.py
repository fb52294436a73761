"""Completion of the bills of ended runs, some of whose tasks had not stopped yet when they ended.

Every function blocks.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from cloudburst.errors import CloudburstError
from cloudburst.models.journal_entries import JournalState, TaskEntry
from cloudburst.models.settings import Settings
from cloudburst.models.task import Usage
from cloudburst.outputs.folder import lock_inactive_runs
from cloudburst.outputs.journal.file import JournalFile
from cloudburst.outputs.journal.reader import journal_path

logger = logging.getLogger(__name__)

# Seconds since a task was last seen for which AWS is asked about it. AWS forgets a task an hour
# after its stop, and a task whose stop was not accepted ends by itself within hours.
MAX_ASKED_AGE = 86_400.0
# Maximum seconds to wait for AWS's answers, so that a list of runs does not hang.
ANSWER_TIMEOUT = 10.0
NOT_KNOWN = "some bills are not final yet (≥); AWS cannot be asked now, try again later: %s"


@dataclass(frozen=True, slots=True, eq=False)
class JournaledRun:
    """Run with the state that its journal has."""

    # Folder whose ``.cloudburst`` has the journal of the run.
    folder: Path
    name: str
    state: JournalState


def complete_bills(runs: Sequence[JournaledRun], settings: Settings) -> list[JournalState]:
    """Ask AWS once for tasks that are not settled, and return the states of the runs after that.

    What AWS reports about stopped tasks is written into the journals. If AWS does not answer, or a
    journal cannot be written, a warning is logged, and the next call tries again.
    """
    tasks = [(run, task) for run in runs for task in _open_tasks(run.state)]
    usages = {task.task: task.usage for _, task in tasks if task.usage is not None}
    final = _find_final_usages(settings, usages) if usages else dict[str, Usage]()
    settled = defaultdict[JournaledRun, dict[str, TaskEntry]](dict)
    for run, task in tasks:
        if task.task in final:
            settled[run][task.task] = _settled(task, final[task.task])
    _write(settled)
    return [
        replace(run.state, tasks={**run.state.tasks, **settled[run]})
        if run in settled
        else run.state
        for run in runs
    ]


def _open_tasks(state: JournalState) -> Iterator[TaskEntry]:
    oldest = time.time() - MAX_ASKED_AGE
    for task in state.tasks.values():
        if task.settled or task.usage is None or not task.task.startswith("arn:"):
            continue
        if max(task.usage.last_seen_at, task.stopped_at or 0.0) >= oldest:
            yield task


def _find_final_usages(settings: Settings, usages: Mapping[str, Usage]) -> Mapping[str, Usage]:
    # Imported here: boto takes a while to import, and most lists of runs need no answer of AWS.
    from cloudburst.aws.fargate.cluster_tasks import find_final_usages  # noqa: PLC0415

    async def find() -> Mapping[str, Usage]:
        with anyio.fail_after(ANSWER_TIMEOUT):
            return await find_final_usages(settings, usages)

    try:
        return anyio.run(find)
    except (CloudburstError, TimeoutError) as exc:
        reason = str(exc) or f"AWS did not answer within {ANSWER_TIMEOUT:g} s"
        logger.warning(NOT_KNOWN, reason)
        return {}


def _settled(task: TaskEntry, usage: Usage) -> TaskEntry:
    stopped_at = usage.stopped_at if task.stopped_at is None else task.stopped_at
    return replace(task, usage=usage, settled=True, stopped_at=stopped_at)


def _write(settled: Mapping[JournaledRun, Mapping[str, TaskEntry]]) -> None:
    by_folder = defaultdict[Path, list[JournaledRun]](list)
    for run in settled:
        by_folder[run.folder].append(run)
    for folder, runs in by_folder.items():
        try:
            with lock_inactive_runs(folder, [run.name for run in runs]) as ours:
                for run in (run for run in runs if run.name in ours):
                    _write_journal(run, settled[run].values())
        except (OSError, CloudburstError) as exc:
            logger.warning("final bills of runs in %s are not recorded: %s", folder, exc)


def _write_journal(run: JournaledRun, entries: Iterable[TaskEntry]) -> None:
    path = journal_path(run.folder, run.name)
    if not path.is_file():
        return  # it was removed meanwhile
    with closing(JournalFile(path)) as journal:
        now, before = journal.read().tasks, run.state.tasks
        journal.commit([each for each in entries if now.get(each.task) == before[each.task]])
