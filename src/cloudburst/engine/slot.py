"""One worker as the pool sees it, and the scenes that are on it."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import anyio

from cloudburst.engine.worker import Worker
from cloudburst.errors import CloudburstError, WorkerError
from cloudburst.models.options import Language
from cloudburst.models.task import FoundTask, TaskSpec, TaskState, TaskStatus, Usage
from cloudburst.ports import Backend


class MovedError(CloudburstError):
    """The scene is wanted on a worker that is free; its next lease is reserved there."""


class Stage(Enum):
    """Where a scene is on its way over a worker."""

    UPLOADING = auto()
    WAITING = auto()
    """Uploaded, no encoder slot yet."""
    ENCODING = auto()
    DOWNLOADING = auto()


Work: TypeAlias = Literal["uploading", "generating", "downloading"]


class Span(NamedTuple):
    """A piece of work, from and to on anyio's clock."""

    work: Work
    began: float
    ended: float


@dataclass(eq=False, slots=True, kw_only=True)
class Visit:
    """One attempt at a scene on one worker."""

    run: str
    scene: str
    spans: list[Span] = field(default_factory=list[Span])
    done: bool = False
    """The scene was finished by it."""

    def seconds(self, work: Work) -> float:
        """Of one kind of work."""
        return sum(span.ended - span.began for span in self.spans if span.work == work)


@dataclass(eq=False, slots=True, kw_only=True)
class Ticket:
    """A scene's place in the queue, and its lane once it has one."""

    run: str
    scene: str
    """Its name."""
    language: Language
    """Of its run."""
    seconds: float
    """Length of its sound: by it the queue is sorted."""
    work: float = 0.0
    """What it is to an encoder: see `cloudburst.engine.figures.work`."""
    due: float | None = None
    """On anyio's clock: when its run shall be done, at any price that is allowed."""
    avoid: set[str] = field(default_factory=set[str])
    """Tasks on which it has failed."""
    suspect: bool = False
    """A worker ended while it encoded the scene: it encodes alone from now on."""
    waiting: bool = False
    """In the queue."""
    since: float | None = None
    """On anyio's clock: from here on it waits for an attempt to begin."""
    lane: Lane | None = None
    copy: Lane | None = None
    """Where it is encoded a second time."""
    on_copy: Callable[[Lane], None] | None = None
    """Called with the lane of a copy; ``None`` when there may be none."""
    error: CloudburstError | None = None
    """Why there will be no lane."""
    begin: Callable[[Ticket], None]
    """Called when there is a lane or an error for the first time: a scene that waits in the queue
    needs no task of its own."""
    begun: bool = False
    called: anyio.Event | None = None
    """A scene waits for another lane, or an error."""

    def waited_since(self) -> float:
        """An attempt begins: from when on it was waited for."""
        since, self.since = self.since, None
        return anyio.current_time() if since is None else since

    def leave(self, lane: Lane) -> None:
        """That lane is not the scene's any more."""
        if self.lane is lane:
            self.lane = None
        if self.copy is lane:
            self.copy = None

    def call(self) -> None:
        """There is a lane or an error."""
        if not self.begun:
            self.begun = True
            self.begin(self)
        elif self.called is not None:
            self.called.set()


@dataclass(eq=False, slots=True, kw_only=True)
class Lane:
    """One scene on one worker."""

    ticket: Ticket
    slot: Slot
    worker: Worker
    stage: Stage = Stage.UPLOADING
    encoding_since: float | None = None
    """On anyio's clock."""
    ends: float | None = None
    """On anyio's clock: when the encode will be done, as far as is known."""
    progress: float = 0.0
    """Of the encode, between 0 and 1; 0 also where the worker does not tell it."""
    beaten: bool = False
    """The scene was encoded elsewhere first."""
    granted: anyio.Event = field(default_factory=anyio.Event)
    """Set when an encoder slot is this lane's."""
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    on_change: Callable[[Slot], None]

    @property
    def is_copy(self) -> bool:
        """The scene encodes elsewhere too, and has done so for longer."""
        return self.ticket.copy is self

    def wins(self) -> bool:
        """The scene is encoded here: whether that was first. The other one is cut off."""
        if self.beaten:
            return False
        other = self.ticket.lane if self.is_copy else self.ticket.copy
        if other is not None:
            other.beaten = True
            other.scope.cancel()
        return True

    def visit(self) -> Visit:
        """An attempt begins."""
        visit = Visit(run=self.ticket.run, scene=self.ticket.scene)
        self.slot.record.visits.append(visit)
        return visit

    @asynccontextmanager
    async def encoder(self) -> AsyncGenerator[None]:
        """An encoder slot: the next scene uploads, and the last one downloads, meanwhile."""
        self._enter(Stage.WAITING)
        await self.granted.wait()
        try:
            yield
        except WorkerError:
            # The worker may be dead: nobody begins there, who would be a suspect for nothing.
            self.slot.doubted = True
            raise
        finally:
            self._enter(Stage.DOWNLOADING)

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self.on_change(self.slot)


@dataclass(eq=False, slots=True, kw_only=True)
class WorkerRecord:
    """What happened to one worker; times on anyio's clock."""

    backend: str
    run: str
    """The run that it was started for."""
    task: str = ""
    token: str | None = None
    """Of its launch; ``None`` for a task that was found."""
    launched: float | None = None
    ready: float | None = None
    stopped: float | None = None
    error: CloudburstError | None = None
    usage: Usage | None = None
    """What is billed for it, as far as is known."""
    settled: bool = False
    """It was seen to have stopped: nothing more will be billed."""
    may_run: bool = False
    """Its stop was not accepted, and it was not seen to have stopped."""
    ours: bool = False
    """Its error is why we gave it up, not why it failed."""
    post_mortem: Path | None = None
    """What was written about its end."""
    visits: list[Visit] = field(default_factory=list[Visit])

    def gave_back(self, accepted: bool) -> None:
        """Its stop was accepted, or there will be no more tries."""
        self.may_run = not accepted

    def saw(self, status: TaskStatus) -> None:
        """Take note of what the backend says of it."""
        self.usage = status.usage or self.usage
        self.settled = status.state is TaskState.STOPPED
        self.may_run = self.may_run and not self.settled


@dataclass(eq=False, slots=True, kw_only=True)
class Slot:
    """One worker, or the promise of one."""

    backend: Backend
    number: int
    """In the order of their making."""
    spec: TaskSpec
    record: WorkerRecord
    most_lanes: int
    expected: float
    """Seconds of sound of the scene that it was started for."""
    needed: bool = False
    """It was started for another reason than the time that it saves, and is not given up for want
    of that."""
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    asking: bool = True
    """Its launch was not answered yet."""
    found: FoundTask | None = None
    """It is not launched: an earlier life of the run has done that."""
    held: bool = False
    """Its task will be stopped, whatever happens."""
    worker: Worker | None = None
    retired: bool = False
    doubted: bool = False
    """It has failed, and its backend is asked why: it gets nothing new to do."""
    draining: bool = False
    """Others will stop it: it gets no new scenes, and those that encode may end."""
    lanes: list[Lane] = field(default_factory=list[Lane])
    ends: tuple[float, ...] = ()
    """On anyio's clock: when its encodes will be done, as far as is known, the first one first."""
    last_used: float = 0.0
    changed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def starting(self) -> bool:
        """Not ready yet."""
        return self.worker is None and not self.retired

    @property
    def found_running(self) -> bool:
        """An earlier life of the run has started it, and it ran when it was found."""
        return self.found is not None and self.found.status.state is TaskState.RUNNING

    @property
    def usable(self) -> bool:
        """It has room for scenes, or will have."""
        return not (self.retired or self.draining or self.doubted)

    def _count(self, *stages: Stage) -> int:
        return sum(lane.stage in stages for lane in self.lanes)

    @property
    def busy(self) -> int:
        """Scenes that take an encoder slot, or will."""
        return self._count(Stage.UPLOADING, Stage.WAITING, Stage.ENCODING)

    @property
    def encoders(self) -> int:
        """Scenes that may encode here at once: a suspect has no company."""
        if any(lane.ticket.suspect and lane.stage is not Stage.DOWNLOADING for lane in self.lanes):
            return 1
        return self.backend.encoders

    @property
    def unclaimed(self) -> int:
        """Encoder slots that no scene on this worker will take; negative when scenes wait."""
        return self.encoders - self.busy

    @property
    def next_free(self) -> float:
        """On anyio's clock: when an encoder slot will be free that no scene waits for."""
        waiting = max(0, -self.unclaimed)
        return self.ends[waiting] if waiting < len(self.ends) else math.inf

    def may_take(self, ticket: Ticket) -> bool:
        """A suspect comes to a worker on which nothing else is to be encoded."""
        return not ticket.suspect or self.backend.encoders == 1 or not self.busy

    def has_room(self, *, ahead: bool) -> bool:
        """Room for a scene that can encode at once, or with ``ahead`` for one that will wait.

        Scenes come ahead only while all encoder slots encode, so that they take no bandwidth from
        those that are to encode first, and at most one for each slot: enough to keep the encoder
        busy, and few enough to leave the rest of the queue to whoever is free first.
        """
        if self.worker is None or not self.usable:
            return False
        if len(self.lanes) >= self.most_lanes:
            return False
        if not ahead:
            return self.unclaimed > 0
        encoders = self.encoders
        return self._count(Stage.ENCODING) == encoders and self.unclaimed > -encoders

    def grant(self) -> None:
        """Give free encoder slots to the scenes that wait for them, longest first."""
        if self.retired or self.doubted:
            return
        free = max(0, self.encoders - self._count(Stage.ENCODING))
        waiting = [lane for lane in self.lanes if lane.stage is Stage.WAITING]
        waiting.sort(key=lambda lane: -lane.ticket.seconds)
        for lane in waiting[:free]:
            lane.stage, lane.encoding_since = Stage.ENCODING, anyio.current_time()
            lane.granted.set()

    def lose(self, error: CloudburstError, *, ours: bool = False) -> None:
        """Give the worker up: every scene on it has to go elsewhere; ``ours``: it is well."""
        self.retired = True
        if self.record.error is None:
            self.record.error, self.record.ours = error, ours
        self.changed.set()
        for lane in self.lanes:
            lane.scope.cancel()

    def idle_left(self, idle: float) -> float:
        """Seconds until nobody will have used it for ``idle`` seconds; endless while it works."""
        return math.inf if self.lanes else self.last_used + idle - anyio.current_time()
