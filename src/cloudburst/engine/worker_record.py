"""Records of workers and of the attempts on them, for the report, the bill and the journal.

Times are in seconds on anyio's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from cloudburst.errors import CloudburstError
from cloudburst.models.task import TaskState, TaskStatus, Usage

Phase: TypeAlias = Literal["upload", "encode", "download"]
"""Name of one of the three phases of an attempt."""


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
    """True once the attempt has made the video."""
    shared_seconds: float = 0.0
    """Seconds for which other encoder slots of the worker have encoded parts of the video."""
    uplink_wait_seconds: float = 0.0
    """Part of the upload, in seconds, in which a file of the scene waited for a place on the
    uplink."""

    def seconds(self, phase: Phase) -> float:
        """Return the seconds that the attempt spent in a phase."""
        return sum(span.ended_at - span.started_at for span in self.spans if span.phase == phase)


@dataclass(eq=False, slots=True, kw_only=True)
class WorkerRecord:
    """Record of one worker, for the report, the bill and the journal."""

    backend: str
    """Name of the worker's backend."""
    run: str
    """Name of the run for which the worker was started."""
    task: str = ""
    """Id of the task; empty until the launch is answered."""
    token: str | None = None
    """Idempotency token of the launch request; ``None`` before the launch, or if it is not
    known."""
    launched: float | None = None
    """Time at which the launch was accepted; ``None`` until then."""
    ready: float | None = None
    """Time of the first successful health check; ``None`` until then."""
    stopped: float | None = None
    """Time at which the stop was accepted or the task was seen to have stopped; ``None`` until
    then."""
    error: CloudburstError | None = None
    """Error because of which the worker failed or was given up; ``None`` if there was none."""
    deliberate: bool = False
    """True if the client gave up the worker although it had not failed; ``error`` is the reason."""
    usage: Usage | None = None
    """Billed resources and times of the task, as far as they are known; ``None`` if nothing is
    billed."""
    spot: bool = False
    """True if the task runs on Fargate Spot."""
    settled: bool = False
    """True once the task was seen to have stopped, so that its bill is final."""
    possibly_running: bool = False
    """True if the stop was not accepted and the task was not seen to have stopped."""
    post_mortem: Path | None = None
    """Path of the page that explains why the task failed; ``None`` if no page was written."""
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
