"""What earlier lives of a run have left, brought back into the records that reports are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloudburst import errors
from cloudburst.engine.scene import SceneRecord
from cloudburst.engine.slot import Span, Visit, WorkerRecord
from cloudburst.models.entries import FaultEntry, LaunchEntry, ResultEntry, TaskEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """Of the lives before this one. Times are those of the journal's clock."""

    done: Mapping[str, ResultEntry] = field(default_factory=dict[str, ResultEntry])
    """By scene: its video is there, verified, and what it was made of has not changed."""
    results: tuple[ResultEntry, ...] = ()
    """All of them: what workers have done."""
    faults: Mapping[str, FaultEntry] = field(default_factory=dict[str, FaultEntry])
    """By scene, where what it is made of has not changed."""
    tasks: tuple[TaskEntry, ...] = ()
    unanswered: tuple[LaunchEntry, ...] = ()
    """Launches of which no task is known."""


def workers(run: str, earlier: Earlier, *, ahead: float) -> dict[str, WorkerRecord]:
    """The tasks by id; ``ahead`` is the journal's clock less anyio's.

    A task that nobody has seen to stop is billed as far as it was seen, and that is not final: for
    as long as the backend remembers it, it is asked.
    """
    visits = dict[str, list[Visit]]()
    for entry in earlier.results:
        spans = [Span(work, began - ahead, ended - ahead) for work, began, ended in entry.spans]
        visit = Visit(run=run, scene=entry.video.scene, spans=spans, done=True)
        visits.setdefault(entry.video.task, []).append(visit)
    return {
        entry.task: _worker(run, entry, visits.get(entry.task, []), ahead)
        for entry in earlier.tasks
    }


def _worker(run: str, entry: TaskEntry, visits: list[Visit], ahead: float) -> WorkerRecord:
    def ours(time: float | None) -> float | None:
        return None if time is None else time - ahead

    ends = [span.ended for visit in visits for span in visit.spans]
    seen = [time - ahead for time in (entry.launched, entry.ready) if time is not None]
    stopped = max([*seen, *ends]) if entry.stopped is None else entry.stopped - ahead
    return WorkerRecord(
        backend=entry.backend,
        run=run,
        task=entry.task,
        token=entry.token,
        launched=ours(entry.launched),
        ready=ours(entry.ready),
        stopped=stopped,
        error=_error(entry.error),
        usage=entry.usage,
        settled=entry.settled,
        visits=visits,
    )


def _error(told: str | None) -> errors.CloudburstError | None:
    """The error that was written down as ``Kind: message``."""
    if told is None:
        return None
    kind, _, message = told.partition(": ")
    made = getattr(errors, kind, None)
    if isinstance(made, type) and issubclass(made, errors.CloudburstError):
        return made(message)
    return errors.CloudburstError(told)


def restore(record: SceneRecord, earlier: Earlier) -> None:
    """Bring back what is known of a scene.

    One that was given up is tried afresh, unless it was given up for ending its workers.
    """
    entry, fault = earlier.done.get(record.name), earlier.faults.get(record.name)
    if fault is not None:
        record.attempts = fault.failures + fault.moves
        record.kills = fault.kills
        if fault.kind is None:
            record.failures, record.moves = fault.failures, fault.moves
        if (poison := record.poison()) is not None:
            same = fault.kind == type(poison).__name__
            record.error = _error(f"{fault.kind}: {fault.message}") if same else poison
    if entry is not None:
        record.attempts = entry.attempts
        record.task, record.video, record.skipped = entry.video.task, entry.video, True
        for work, began, ended in entry.spans:
            setattr(record, work, ended - began)
