"""Records of workers, attempts and scenes, also as they are restored from a journal."""

# Times are in seconds on anyio's clock.

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import anyio

from cloudburst.errors import (
    CloudburstError,
    PoisonedSceneError,
    WorkerDiskFullError,
    WorkerError,
    WorkerProtocolError,
    WorkerStoppedError,
)
from cloudburst.models.failures import is_spot_interruption
from cloudburst.models.fingerprint import HashedInputs
from cloudburst.models.journal_entries import (
    AttemptEntry,
    LaunchEntry,
    ResultEntry,
    SceneFailureEntry,
    TaskEntry,
)
from cloudburst.models.locations import S3Object
from cloudburst.models.scene import Video
from cloudburst.models.task import TaskState, TaskStatus, Usage

# Name of one of the three phases of an attempt.
Phase: TypeAlias = Literal["upload", "encode", "download"]


class PhaseSpan(NamedTuple):
    """Start and end of one phase of an attempt, in seconds on anyio's clock."""

    phase: Phase
    started_at: float
    ended_at: float


@dataclass(eq=False, slots=True, kw_only=True)
class Attempt:
    """Attempt at a scene on one worker: upload, encode and download."""

    run: str
    scene: str
    spans: list[PhaseSpan] = field(default_factory=list[PhaseSpan])
    finished: bool = False
    is_film: bool = False
    shared_seconds: float = 0.0
    """Seconds that other encoder slots of the worker have spent on the video."""
    uplink_wait_seconds: float = 0.0
    """Part of the upload in which a file waited for the uplink."""

    def seconds(self, phase: Phase) -> float:
        """Return the seconds that the attempt spent in a phase."""
        return sum(span.ended_at - span.started_at for span in self.spans if span.phase == phase)


@dataclass(eq=False, slots=True, kw_only=True)
class WorkerRecord:
    """Record of one worker, for the report, the bill and the journal."""

    backend: str
    run: str
    """Run for which the worker was started."""
    task: str = ""
    """Id of the task; empty until the launch is answered."""
    token: str | None = None
    """Idempotency token of the launch request, if known."""
    launched: float | None = None
    """Time at which the launch was accepted."""
    ready: float | None = None
    """Time of the first successful health check."""
    stopped: float | None = None
    """Time at which the stop was accepted or seen."""
    error: CloudburstError | None = None
    """Error because of which the worker failed or was given up."""
    deliberate: bool = False
    """True if the worker was given up although it had not failed."""
    usage: Usage | None = None
    """Billed resources and times so far; ``None`` if nothing is billed."""
    spot: bool = False
    settled: bool = False
    """True once the task was seen to have stopped, so that its bill is final."""
    possibly_running: bool = False
    """True if the stop was neither accepted nor seen."""
    post_mortem: Path | None = None
    attempts: list[Attempt] = field(default_factory=list[Attempt])

    @property
    def size(self) -> str:
        """Size of a billed task; empty if nothing is billed or the size is not known yet."""
        return "" if self.usage is None else self.usage.size

    @property
    def failure(self) -> CloudburstError | None:
        """Error because of which the worker failed; ``None`` if it was given up deliberately."""
        return None if self.deliberate else self.error

    def update(self, status: TaskStatus) -> None:
        """Record a status of the task that the backend has reported."""
        self.usage, self.spot = status.usage or self.usage, status.spot or self.spot
        self.settled = status.state is TaskState.STOPPED
        self.possibly_running = self.possibly_running and not self.settled


# A scene fails once this number of its attempts have failed because of their workers.
MAX_WORKER_FAILURES = 10
# A scene fails once this number of workers have ended by themselves while they encoded it. Two
# are enough evidence against the scene, because the second worker encoded nothing else.
MAX_WORKER_LOSSES = 2


@dataclass(eq=False, slots=True, kw_only=True)
class SceneRecord:
    """Record of one scene of a run, from which its `SceneReport` is made.

    Durations are in seconds.
    """

    name: str
    task: str | None = None
    """Task of the current or last attempt."""
    attempts: int = 0
    queued_seconds: float = 0.0
    """Wait for a worker, over all attempts."""
    slot_wait_seconds: float = 0.0
    started_at: float | None = None
    """Time at which the first attempt got its worker."""
    phases: dict[Phase, PhaseSpan] = field(default_factory=dict[Phase, PhaseSpan])
    """Phases of the last attempt; one that has not ended yet has the length 0."""
    finished_at: float | None = None
    """Time at which the scene got its video or error."""
    bytes_sent: int = 0
    """Bytes uploaded, over all attempts."""
    bytes_fetched: int = 0
    """Bytes that workers got from S3 and web servers, over all attempts."""
    failures: int = 0
    """Attempts that failed for a reason that may lie in the scene."""
    worker_failures: int = 0
    """Attempts that failed because of their worker."""
    worker_losses: int = 0
    """Workers that ended by themselves while they encoded the scene."""
    spot_interruptions: int = 0
    losses: list[WorkerStoppedError] = field(default_factory=list[WorkerStoppedError])
    """Errors of these workers, as far as this process saw them."""
    encode_unfinished: bool = False
    """True while the attempt encodes, and after it if it ended in the encode."""
    video: Video | None = None
    written_by_worker: bool = False
    """True if a worker wrote the video to S3."""
    skipped: bool = False
    """True if an earlier process of the run made the video."""
    error: CloudburstError | None = None
    inputs: HashedInputs = field(default_factory=HashedInputs)
    """Files of the last attempt that has hashed them."""
    ended: anyio.Event = field(default_factory=anyio.Event)
    """Set when the scene has its video or error, and when the run ends."""

    @contextmanager
    def measure(self, phase: Phase, attempt: Attempt) -> Generator[None]:
        """Record the time of the ``with`` block as a phase of the attempt, even if it raises."""
        began = anyio.current_time()
        self.phases[phase] = PhaseSpan(phase, began, began)
        try:
            yield
        finally:
            self.phases[phase] = span = PhaseSpan(phase, began, anyio.current_time())
            attempt.spans.append(span)

    def start_attempt(self) -> None:
        """Count a new attempt, and reset the task and the times of the last one."""
        self.attempts += 1
        self.task, self.encode_unfinished = None, False
        self.slot_wait_seconds, self.phases = 0.0, {}

    def copy_from(self, copy: SceneRecord) -> None:
        """Take over task and times from the speculative copy, which has encoded the scene first."""
        self.task, self.encode_unfinished = copy.task, False
        self.slot_wait_seconds, self.phases = copy.slot_wait_seconds, copy.phases

    def may_retry(self, error: CloudburstError, max_attempts: int) -> bool:
        """Count a failed attempt, and return whether another one may follow."""
        # An attempt counts against its worker if the worker ended before or after the encode, was
        # interrupted, has a full disk or breaks the protocol.
        # Every other failed attempt counts against the scene, because the scene may be the cause,
        # for example if the worker ended during the encode.
        interrupted = isinstance(error, WorkerStoppedError) and (
            is_spot_interruption(error.stop_code)
        )
        self.spot_interruptions += interrupted
        of_worker = isinstance(error, (WorkerDiskFullError, WorkerProtocolError))
        if isinstance(error, WorkerError) and (
            interrupted or of_worker or not self.encode_unfinished
        ):
            self.worker_failures += 1
        else:
            self.failures += 1
        return self.failures < max_attempts and self.worker_failures < MAX_WORKER_FAILURES

    def note_encode_failure(self, error: CloudburstError) -> None:
        """Count a lost worker if the error of an encode is that the worker ended by itself."""
        if isinstance(error, WorkerStoppedError) and error.crashed:
            self.worker_losses += 1
            self.losses.append(error)

    def poisoned_error(self) -> PoisonedSceneError | None:
        """Return an error if too many workers ended while they encoded the scene, else ``None``."""
        if self.worker_losses < MAX_WORKER_LOSSES:
            return None
        reasons = "; ".join(map(str, self.losses)) or "in an earlier process of the run"
        return PoisonedSceneError(
            f"set aside: {self.worker_losses} workers ended while they encoded it: {reasons}",
            scene=self.name,
            tasks=[error.task for error in self.losses],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredState:
    """State of a run as earlier processes left it in the journal.

    Times are seconds on the journal's clock.
    """

    finished: Mapping[str, ResultEntry] = field(default_factory=dict[str, ResultEntry])
    """Results whose video is verified and up to date with its inputs, by scene."""
    results: tuple[ResultEntry, ...] = ()
    """Results of all finished scenes, also with other inputs."""
    failures: Mapping[str, SceneFailureEntry] = field(default_factory=dict[str, SceneFailureEntry])
    """Failed attempts at scenes with the same inputs, by scene."""
    fingerprints: Mapping[str, str] = field(default_factory=dict[str, str])
    """Fingerprints of the scenes whose files were compared."""
    tasks: tuple[TaskEntry, ...] = ()
    unanswered_launches: tuple[LaunchEntry, ...] = ()
    """Launch requests without a recorded answer."""


def recover_workers(run: str, state: RecoveredState, *, ahead: float) -> dict[str, WorkerRecord]:
    """Return the records of the workers of earlier processes, by task id."""
    # If a task was not seen to have stopped, its bill ends when it was last seen. It is corrected
    # later if the backend still knows the task.
    attempts = dict[str, list[Attempt]]()
    for entry in state.results:
        spans = _local_spans(entry, ahead)
        attempt = Attempt(run=run, scene=entry.video.scene, spans=spans, finished=True)
        attempts.setdefault(entry.video.task, []).append(attempt)
    for task in state.tasks:
        attempts.setdefault(task.task, []).extend(
            Attempt(
                run=run, scene=each.scene, spans=_local_spans(each, ahead), finished=each.finished
            )
            for each in task.attempts
        )
    return {
        entry.task: _worker_record(run, entry, attempts.get(entry.task, []), ahead)
        for entry in state.tasks
    }


def _local_spans(entry: ResultEntry | AttemptEntry, ahead: float) -> list[PhaseSpan]:
    return [PhaseSpan(phase, start - ahead, end - ahead) for phase, start, end in entry.phases]


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


def recover_scene(record: SceneRecord, state: RecoveredState, *, ahead: float) -> None:
    """Restore the record of a scene from the state that earlier processes left."""
    # A scene that an earlier process gave up is tried again, unless it has ended too many
    # workers.
    result, failure = state.finished.get(record.name), state.failures.get(record.name)
    if failure is not None:
        record.attempts = failure.failures + failure.worker_failures
        record.worker_losses = failure.worker_losses
        record.inputs = HashedInputs(fingerprint=failure.fingerprint)
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
        for span in _local_spans(result, ahead):
            record.phases[span.phase] = span
            record.started_at = record.started_at or span.started_at
            record.finished_at = span.ended_at
