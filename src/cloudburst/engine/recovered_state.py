"""State of a run that earlier processes left in its journal, and the records restored from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloudburst.engine.scene_record import SceneRecord
from cloudburst.engine.worker_record import Attempt, PhaseSpan, WorkerRecord
from cloudburst.errors import PoisonedSceneError
from cloudburst.models.journal_entries import LaunchEntry, ResultEntry, SceneFailureEntry, TaskEntry
from cloudburst.models.locations import S3Object


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredState:
    """State of a run as earlier processes left it in the journal.

    Times are seconds on the journal's clock.
    """

    finished: Mapping[str, ResultEntry] = field(default_factory=dict[str, ResultEntry])
    """Results whose video is verified and up to date with its inputs, by scene name."""
    results: tuple[ResultEntry, ...] = ()
    """Results of all finished scenes, even if their inputs have changed since. The cost of tasks is
    divided among them."""
    failures: Mapping[str, SceneFailureEntry] = field(default_factory=dict[str, SceneFailureEntry])
    """Failed attempts at scenes whose inputs have not changed, by scene name."""
    tasks: tuple[TaskEntry, ...] = ()
    unanswered_launches: tuple[LaunchEntry, ...] = ()
    """Launch requests whose task is not known, because no answer was recorded."""


def recover_workers(run: str, state: RecoveredState, *, ahead: float) -> dict[str, WorkerRecord]:
    """Return the records of the workers of earlier processes, by task id.

    If a task was not seen to have stopped, its bill is provisional and ends when the task was last
    seen. It is corrected later if the backend still has information about the task.

    Args:
        run: Name of the run.
        state: State of the run from its journal.
        ahead: Time of the journal's clock minus time of anyio's clock, in seconds.
    """
    attempts = dict[str, list[Attempt]]()
    for entry in state.results:
        spans = [PhaseSpan(phase, a - ahead, b - ahead) for phase, a, b in entry.phases]
        attempt = Attempt(run=run, scene=entry.video.scene, spans=spans, finished=True)
        attempts.setdefault(entry.video.task, []).append(attempt)
    return {
        entry.task: _worker_record(run, entry, attempts.get(entry.task, []), ahead)
        for entry in state.tasks
    }


def _worker_record(
    run: str, entry: TaskEntry, attempts: list[Attempt], ahead: float
) -> WorkerRecord:
    def local(time: float | None) -> float | None:
        return None if time is None else time - ahead

    ends = [span.ended_at for attempt in attempts for span in attempt.spans]
    seen = [time - ahead for time in (entry.launched_at, entry.ready_at) if time is not None]
    last_seen = max([*seen, *ends])
    return WorkerRecord(
        backend=entry.backend,
        run=run,
        task=entry.task,
        token=entry.token,
        launched=local(entry.launched_at),
        ready=local(entry.ready_at),
        stopped=last_seen if entry.stopped_at is None else local(entry.stopped_at),
        error=None if entry.error is None else entry.error.restore(),
        usage=entry.usage,
        settled=entry.settled,
        attempts=attempts,
    )


def recover_scene(record: SceneRecord, state: RecoveredState) -> None:
    """Restore the record of a scene from the state that earlier processes left.

    A scene that an earlier process gave up is tried again, unless too many workers ended while they
    encoded it.
    """
    result, failure = state.finished.get(record.name), state.failures.get(record.name)
    if failure is not None:
        record.attempts = failure.failures + failure.worker_failures
        record.worker_losses = failure.worker_losses
        if not failure.given_up:
            record.failures = failure.failures
            record.worker_failures = failure.worker_failures
        if (poisoned := record.poisoned_error()) is not None:
            error = failure.error.restore() if failure.given_up and failure.error else poisoned
            record.error = error if isinstance(error, PoisonedSceneError) else poisoned
    if result is not None:
        record.attempts = result.attempts
        record.task, record.video, record.skipped = result.video.task, result.video, True
        record.written_by_worker = isinstance(result.video.path, S3Object)
        for phase, started_at, ended_at in result.phases:
            record.phase_seconds[phase] = ended_at - started_at
