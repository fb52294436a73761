"""State that scheduler, supervisor and attempts share: workers, tickets and assignments."""

# Times are in seconds on anyio's clock.

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto
from typing import NamedTuple

import anyio

from cloudburst.engine.records import WorkerRecord
from cloudburst.engine.worker import WorkerConnection
from cloudburst.errors import CloudburstError, WorkerError
from cloudburst.models.options import Language
from cloudburst.models.task import FoundTask, TaskSpec, TaskState
from cloudburst.ports.backend import Backend


@dataclass(eq=False, slots=True, kw_only=True)
class Ticket:
    """Entry of a scene in the queue, with the scene's assignment once it has a worker."""

    run: str
    scene: str
    language: Language
    audio_seconds: float
    work: float
    """Weighted length, by which the queue is sorted: see `scene_work`."""
    bytes_to_send: int = 0
    """Size of the scene's files on this machine."""
    deadline: float = math.inf
    """Time at which the run should be done; infinite: no deadline."""
    avoided_tasks: set[str] = field(default_factory=set[str])
    """Tasks on which an attempt at the scene failed."""
    suspect: bool = False
    """True if a worker ended while it encoded the scene."""
    is_film: bool = False
    """True for the film of the run: no copy, and nothing is learned from its times."""
    queued: bool = False
    waiting_since: float | None = None
    """Time at which the scene began to wait for its next attempt."""
    assignment: Assignment | None = None
    copy: Assignment | None = None
    """Speculative copy."""
    on_copy: Callable[[Assignment], None] | None = None
    """Function that starts a speculative copy; ``None`` while none is allowed."""
    error: CloudburstError | None = None
    """Error because of which the scene gets no assignment."""
    start: Callable[[Ticket], None] | None = None
    """Function that starts the anyio task of the scene at its first assignment or error; ``None``
    if it has a task."""
    notified: anyio.Event | None = None
    """Event of a further assignment or error."""

    def unassign(self, assignment: Assignment) -> None:
        """Remove an assignment from the scene: the first one or that of the speculative copy."""
        if self.assignment is assignment:
            self.assignment = None
        if self.copy is assignment:
            self.copy = None

    def notify(self) -> None:
        """Start or wake the task of the scene, because the scene has an assignment or an error."""
        if self.start is not None:
            start, self.start = self.start, None
            start(self)
        elif self.notified is not None:
            self.notified.set()


class AssignmentState(Enum):
    """State of a scene on its worker."""

    UPLOADING = auto()
    WAITING = auto()
    """The scene is uploaded, and the worker was not asked to encode it yet."""
    QUEUED = auto()
    """The worker was asked to encode the scene, and has not begun yet."""
    ENCODING = auto()
    DOWNLOADING = auto()


class ProgressSample(NamedTuple):
    """Report of the progress of an encode."""

    share: float
    at: float


def _do_nothing() -> None: ...


@dataclass(eq=False, slots=True, kw_only=True)
class Assignment:
    """Assignment of a scene to a worker, from its upload to its download."""

    ticket: Ticket
    worker: PoolWorker
    connection: WorkerConnection
    state: AssignmentState = AssignmentState.UPLOADING
    encoding_since: float | None = None
    first_progress: ProgressSample | None = None
    """First report above 0, if the worker reports any."""
    last_progress: ProgressSample | None = None
    sending: bool = False
    """True while a file of the scene has its turn on the uplink."""
    # Not a second one: if the first could not take the copy, the next one could not either.
    copy_worker_started: bool = False
    """True once a worker was started only for a copy of this encode."""
    superseded: bool = False
    """True if the other assignment of the scene has encoded it first."""
    granted: anyio.Event = field(default_factory=anyio.Event)
    """Event that is set when the worker may be asked to encode the scene."""
    requested_at: float = math.inf
    """Time at which the worker was asked to encode the scene."""
    has_slot: bool = False
    """True once an encoder slot of the worker encodes the scene, or is free for it."""
    on_slot_change: Callable[[], None] = _do_nothing
    """Function that is called when ``has_slot`` changes while the scene is queued."""
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Scope that is cancelled to take the scene off the worker."""
    on_phase_end: Callable[[PoolWorker], None]
    """Function that is called when the upload or encode has ended, and when a queued encode has
    begun."""

    @property
    def waits_for_slot(self) -> bool:
        """True until an encoder slot of the worker encodes the scene, or is free for it."""
        return self.state is not AssignmentState.DOWNLOADING and not self.has_slot

    @property
    def is_copy(self) -> bool:
        """True if this is the assignment of the scene's speculative copy."""
        return self.ticket.copy is self

    def finish_first(self) -> bool:
        """Note that this assignment has encoded the scene, and cancel the scene's other assignment.

        Returns:
            False, without a cancellation, if the other assignment has encoded the scene first.
        """
        if self.superseded:
            return False
        other = self.ticket.assignment if self.is_copy else self.ticket.copy
        if other is not None:
            other.superseded = True
            other.scope.cancel()
        return True

    @asynccontextmanager
    async def encoder_slot(self) -> AsyncGenerator[None]:
        """Wait until the worker may be asked to encode the scene, which the ``with`` block does."""
        # In the block, the scene is QUEUED until `start_encode`, or ENCODING if the worker has no
        # queue.
        self._set_state(AssignmentState.WAITING)
        await self.granted.wait()
        try:
            yield
        except WorkerError:
            # The worker may have ended. A scene that started to encode there now would be suspected
            # of having ended it.
            self.worker.move_to(WorkerState.FAILING)
            raise
        finally:
            self._set_state(AssignmentState.DOWNLOADING)

    def start_encode(self) -> bool:
        """Note that the worker has begun to encode the queued scene."""
        if self.state is not AssignmentState.QUEUED or self.scope.cancel_called:
            return False
        self.encoding_since, self.has_slot = anyio.current_time(), True
        self._set_state(AssignmentState.ENCODING)
        return True

    def note_progress(self, share: float) -> None:
        """Note the share of the encode that is done, between 0 and 1."""
        if share > 0:
            self.last_progress = ProgressSample(share, anyio.current_time())
            self.first_progress = self.first_progress or self.last_progress

    def note_slot(self, *, is_free: bool) -> None:
        """Note whether an encoder slot is free for the queued scene."""
        if is_free != self.has_slot:
            self.has_slot = is_free
            self.on_slot_change()

    def _set_state(self, state: AssignmentState) -> None:
        self.state = state
        self.on_phase_end(self.worker)


class WorkerState(IntEnum):
    """State of a worker. It changes only to a state that is defined after the current one."""

    LAUNCHING = auto()
    STARTING = auto()
    """Launched or found; the worker has not passed a health check yet."""
    READY = auto()
    FAILING = auto()
    """A call to the worker failed, and the backend is asked for the reason."""
    CLOSING = auto()
    """It takes no new scenes, and is stopped as soon as its encodes are done."""
    DRAINING = auto()
    """The backend has announced that it will stop the task."""
    STOPPING = auto()


@dataclass(eq=False, slots=True, kw_only=True)
class PoolWorker:
    """Worker of a pool, from the decision to launch it to its stop."""

    backend: Backend
    number: int
    """Number in the order of creation."""
    spec: TaskSpec
    record: WorkerRecord
    expected_audio_seconds: float
    """Length of the audio of the scene for which the worker was started."""
    state: WorkerState = WorkerState.LAUNCHING
    exempt_from_scaling_rule: bool = False
    """True if the worker was started although it may save no time, as for a scene that has failed
    on all others."""
    slowness: float = 1.0
    """Factor by which encodes take longer than on others of its kind; 1 if unknown."""
    late: bool = False
    """True if the start-up takes longer than that of most workers."""
    overdue: bool = False
    """True if the worker is stopped when another one needs its place."""
    replaces: PoolWorker | None = None
    """Late worker that is stopped when this one is ready first."""
    late_starts_before: int = 0
    """Number of late starts in a row that this start replaces."""
    # It does not count against the limits on the number of workers then.
    tasks_beside: int = 0
    """Number of tasks that the backend had when it last refused this one for want of quota."""
    stop_announced: bool = False
    """True once the backend has announced that it will stop the task."""
    stop_guaranteed: bool = False
    """True once the supervisor of an adopted task is certain to stop it."""
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Scope that is cancelled to give up the worker before it is ready."""
    found: FoundTask | None = None
    """Adopted task of an earlier process."""
    # ``record.ready`` is then the time at which this process first saw it ready.
    ready_unknown: bool = False
    """True if an earlier process may have seen the worker ready."""
    connection: WorkerConnection | None = None
    closing_error: CloudburstError | None = None
    assignments: list[Assignment] = field(default_factory=list[Assignment])
    encode_ends: tuple[float, ...] = ()
    """Times at which the encodes are expected to end, in ascending order."""
    last_used: float = 0.0
    """Time at which the last scene left the worker or, before that, at which it became ready; at
    the end, the time of the decision to stop it."""
    changed: anyio.Event = field(default_factory=anyio.Event)
    """Event that wakes the supervisor."""

    def move_to(self, state: WorkerState) -> None:
        """Change the state of the worker to a later one; do nothing if it is in a later one."""
        self.state = max(self.state, state)

    @property
    def starting(self) -> bool:
        """True until the worker is ready, unless it was given up."""
        return self.state <= WorkerState.STARTING

    @property
    def stopping(self) -> bool:
        """True after the decision to stop the worker at once."""
        return self.state is WorkerState.STOPPING

    @property
    def usable(self) -> bool:
        """True if the worker takes scenes, or will once it is ready."""
        return self.state <= WorkerState.READY

    @property
    def found_running(self) -> bool:
        """True if an earlier process started the task and it was running when it was found."""
        return self.found is not None and self.found.status.state is TaskState.RUNNING

    @property
    def description(self) -> Mapping[str, str]:
        """Place and size of the worker, as events give them."""
        # Until the task is described, its size is that of its tier.
        planned = self.spec.tier.size if self.backend.usd_per_second else ""
        return {"place": self.backend.place, "size": self.record.size or planned}

    @property
    def age(self) -> float:
        """Seconds since the launch was accepted; 0 until then."""
        launched = self.record.launched
        return 0.0 if launched is None else anyio.current_time() - launched

    def give_up(self, error: CloudburstError, *, deliberate: bool = False) -> None:
        """Take every scene off the worker and have its task stopped."""
        self.move_to(WorkerState.STOPPING)
        if self.record.error is None:
            self.record.error, self.record.deliberate = error, deliberate
        self.changed.set()
        for assignment in self.assignments:
            assignment.scope.cancel()
