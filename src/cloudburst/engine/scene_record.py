"""Record of one scene of a run, and the rules by which failed attempts are counted."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from cloudburst.engine.worker_record import Attempt, Phase, PhaseSpan
from cloudburst.errors import (
    CloudburstError,
    PoisonedSceneError,
    WorkerDiskFullError,
    WorkerError,
    WorkerProtocolError,
    WorkerStoppedError,
)
from cloudburst.models.failures import is_spot_interruption
from cloudburst.models.scene import Video

MAX_WORKER_FAILURES = 10
"""A scene fails once this number of its attempts have failed because of their workers."""
MAX_WORKER_LOSSES = 2
"""A scene fails once this number of workers have ended by themselves while they encoded it.
Two are enough evidence against the scene, because the second worker encoded nothing else."""


@dataclass(eq=False, slots=True, kw_only=True)
class SceneRecord:
    """Record of one scene of a run, from which its `SceneReport` is made.

    Durations are in seconds.
    """

    name: str
    task: str | None = None
    """Id of the task of the current or last attempt; ``None`` until the attempt has a worker."""
    attempts: int = 0
    queued_seconds: float = 0.0
    """Seconds that the scene waited for a worker, summed over all attempts."""
    slot_wait_seconds: float = 0.0
    """Seconds that the last attempt waited for an encoder slot."""
    phase_seconds: dict[Phase, float] = field(default_factory=dict[Phase, float])
    """Seconds that the last attempt spent in each phase."""
    bytes_sent: int = 0
    """Number of bytes uploaded, summed over all attempts."""
    bytes_fetched: int = 0
    """Number of bytes that workers got from S3 and web servers, summed over all attempts."""
    failures: int = 0
    """Number of attempts that failed for a reason that may lie in the scene."""
    worker_failures: int = 0
    """Number of attempts that failed because of their worker."""
    worker_losses: int = 0
    """Number of workers that ended by themselves while they encoded the scene."""
    spot_interruptions: int = 0
    """Number of attempts that ended because Spot took back the worker's machine."""
    losses: list[WorkerStoppedError] = field(default_factory=list[WorkerStoppedError])
    """Errors of the workers that ended while they encoded the scene, as far as this process saw
    them."""
    encode_unfinished: bool = False
    """True while the current attempt encodes, and after the attempt if it ended during the
    encode."""
    video: Video | None = None
    written_by_worker: bool = False
    """True if a worker wrote the video to S3, so that it did not pass through this machine."""
    skipped: bool = False
    """True if an earlier process of the run made the video."""
    error: CloudburstError | None = None

    @contextmanager
    def measure(self, phase: Phase, attempt: Attempt) -> Generator[None]:
        """Record the time of the ``with`` block as a phase of the attempt, even if it raises."""
        started_at = anyio.current_time()
        try:
            yield
        finally:
            ended_at = anyio.current_time()
            self.phase_seconds[phase] = ended_at - started_at
            attempt.spans.append(PhaseSpan(phase, started_at, ended_at))

    def start_attempt(self) -> None:
        """Count a new attempt, and reset the task and the times of the last one."""
        self.attempts += 1
        self.task, self.encode_unfinished = None, False
        self.slot_wait_seconds, self.phase_seconds = 0.0, {}

    def copy_from(self, copy: SceneRecord) -> None:
        """Take over task and times from the speculative copy, which has encoded the scene first."""
        self.task, self.encode_unfinished = copy.task, False
        self.slot_wait_seconds, self.phase_seconds = copy.slot_wait_seconds, copy.phase_seconds

    def may_retry(self, error: CloudburstError, max_attempts: int) -> bool:
        """Count a failed attempt, and return whether another one may follow.

        An attempt counts as a failure of its worker if the worker ended before or after the encode,
        was interrupted, has a full disk or breaks the protocol. `MAX_WORKER_FAILURES` limits these
        attempts. Every other failed attempt counts against the scene, because the scene may be the
        cause, for example if the worker ended during the encode. ``max_attempts`` limits these.
        """
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
