"""Looks at all tasks of a backend, a hundred to a call, so that nobody has to ask for his own."""

from __future__ import annotations

import itertools
import logging
import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import anyio

from cloudburst.adapters.aws.network import public_addresses
from cloudburst.adapters.aws.session import AWS
from cloudburst.adapters.aws.sight import Sight, sight
from cloudburst.errors import CloudburstError, LaunchError, Remedy
from cloudburst.models.policy import PATIENT
from cloudburst.models.task import TaskId, TaskState

logger = logging.getLogger(__name__)

MOST = 100
"""Tasks that one DescribeTasks takes: its page in the ECS API reference (2026-11)."""
SOON, LATER = 1.0, 5.0
"""Seconds between two looks at a task: when something is about to change, and when not."""
GRACE = 30.0
"""Seconds for which a task may be unknown to AWS after it was last seen: reads lag behind writes
("eventual consistency" in the page of RunTask, ECS API reference, 2026-11)."""
KEPT = 3600.0
"""Seconds for which a task that has stopped can still be looked up: as long as AWS knows it."""
LOST = "AWS does not know the task any more"
NO_ADDRESS = (
    "it runs and has no public address: its subnet must be a public one, or set "
    "CLOUDBURST_PUBLIC_ADDRESS=false to reach workers inside the VPC"
)


@dataclass(eq=False, slots=True, kw_only=True)
class Watched:
    """One task and what is known of it; times are on anyio's clock."""

    task: TaskId
    seen: Sight | None = None
    at: float | None = None
    """DescribeTasks has found it not stopped yet, at this time or later."""
    asked: float
    """AWS did not know it before; unless it does by `GRACE` after this, it is lost."""
    due: float
    """Time of the next look."""
    public: str | None = None
    """Its public address."""
    address_error: CloudburstError | None = None
    """Why that cannot be found out."""
    no_address: bool = False
    """It runs, and has none."""
    ending: bool = False
    """Its stop was accepted: nobody wants its address any more."""
    looks: int = 0
    """Since it was about to stop, or ran without an address."""
    lost: bool = False

    @property
    def stopped(self) -> bool:
        """Nothing will change any more."""
        return self.lost or (self.seen is not None and self.seen.state is TaskState.STOPPED)


class AWSClock:
    """A lower bound of AWS's clock, from the times that its answers show."""

    def __init__(self) -> None:
        self._ahead = -math.inf

    def showed(self, epoch: float | None, *, arrived: float) -> None:
        """An answer that arrived at a time on anyio's clock showed this time."""
        if epoch is not None:
            self._ahead = max(self._ahead, epoch - arrived)

    def at(self, time: float) -> float:
        """What it showed, at least, at a time on anyio's clock."""
        return time + self._ahead


class Watcher:
    """The one task of a backend that asks DescribeTasks. Nothing to watch: it asks nothing."""

    def __init__(self, aws: AWS, *, cluster: str, public: bool) -> None:
        self.clock = AWSClock()
        self._aws = aws
        self._cluster = cluster
        self._public = public
        self._tasks: dict[TaskId, Watched] = {}
        self._awake: dict[TaskId, Watched] = {}
        self._ended: deque[tuple[float, TaskId]] = deque()
        self._changed = anyio.Event()
        self._looked = anyio.Event()
        self._error: CloudburstError | None = None

    def watch(self, task: TaskId, seen: Sight | None = None) -> Watched:
        """Look after a task from now on; ``seen`` is what the answer to its launch showed."""
        now = anyio.current_time()
        while self._ended and self._ended[0][0] < now - KEPT:
            self._tasks.pop(self._ended.popleft()[1], None)
        watched = self._tasks.get(task)
        if watched is None:
            watched = Watched(task=task, asked=now, due=now if seen is None else now + SOON)
            self._tasks[task] = self._awake[task] = watched
        if seen is not None and watched.seen is None:
            watched.seen = seen
            self.clock.showed(seen.newest, arrived=now)
        self._nudge()
        return watched

    def stopping(self, task: TaskId) -> None:
        """Its stop was accepted: look at it often for a while."""
        watched = self._tasks.get(task)
        if watched is not None and not watched.stopped:
            watched.ending = True
            watched.looks = 0
            watched.due = min(watched.due, anyio.current_time() + SOON)
            self._nudge()

    def gone(self, task: TaskId) -> bool:
        """Whether AWS has had the time to know a task, should it ask for one that it does not."""
        watched = self._tasks.get(task)
        return watched is None or watched.stopped or self._forgotten(watched)

    def look(self, task: TaskId) -> Watched:
        """What is known of a task now.

        Raises:
            CredentialsError: AWS does not take the credentials, so nothing new will be known.
            AccessDeniedError: They may not look.
            ResourceMissingError: The cluster is not there.
        """
        watched = self._tasks.get(task) or self.watch(task)
        unreachable = None if watched.ending else watched.address_error
        if not watched.stopped and (error := self._error or unreachable):
            raise type(error)(str(error)) from error
        return watched

    async def look_anew(self, task: TaskId) -> Watched:
        """The same, as a look that begins now shows it: the caller brings the deadline."""
        now = anyio.current_time()
        while not (watched := self.look(task)).stopped and watched.asked < now:
            watched.due = min(watched.due, now)
            self._nudge()
            await self._looked.wait()
        return watched

    async def run(self) -> None:
        """Watch until cancelled. No error ends this."""
        delays = PATIENT.delays()
        while True:
            if not (due := self._due()):
                await self._wait()
                continue
            errors: list[CloudburstError] = []
            for some in due:  # one after another: to read a hundred takes the loop 20 ms or more
                await self._describe(some, errors)
            self._error = next(filter(_is_final, errors), None)
            await self._find_addresses(itertools.chain(*due), errors)
            self._looked.set()
            self._looked = anyio.Event()
            if errors:
                delay = SOON + next(delays)
                logger.warning("tasks are not seen, for %.0f s: %s", delay, errors[0])
                await anyio.sleep(delay)
            else:
                delays = PATIENT.delays()

    def _due(self) -> list[list[Watched]]:
        """The tasks to ask for now, and for as many others as fit the same calls."""
        now = anyio.current_time()
        order = sorted(self._awake.values(), key=lambda watched: watched.due)
        count = sum(watched.due <= now for watched in order)
        order = order[: -(-count // MOST) * MOST]
        return [order[start : start + MOST] for start in range(0, len(order), MOST)]

    async def _wait(self) -> None:
        self._changed = anyio.Event()
        next_due = min((watched.due for watched in self._awake.values()), default=math.inf)
        with anyio.move_on_after(next_due - anyio.current_time()):
            await self._changed.wait()

    def _nudge(self) -> None:
        self._changed.set()

    async def _describe(self, some: Sequence[Watched], errors: list[CloudburstError]) -> None:
        began = anyio.current_time()
        arns = [watched.task for watched in some]
        try:
            answer = await self._aws.call(
                "ecs", "describe_tasks", cluster=self._cluster, tasks=arns
            )
        except CloudburstError as exc:
            errors.append(exc)
            return
        arrived = anyio.current_time()
        described = {task["taskArn"]: task for task in answer["tasks"]}
        for watched in some:
            if task := described.get(watched.task):
                self._saw(watched, sight(task), began, arrived)
            elif self._forgotten(watched):
                logger.warning("%s: %s", watched.task, LOST)
                watched.lost = True
            self._settle(watched, arrived)

    def _saw(self, watched: Watched, seen: Sight, began: float, arrived: float) -> None:
        self.clock.showed(seen.newest, arrived=arrived)
        if watched.seen is not None and watched.seen.leaving != seen.leaving:
            watched.looks = 0
        watched.seen, watched.asked = seen, began
        if seen.state is not TaskState.STOPPED:
            watched.at = began

    def _forgotten(self, watched: Watched) -> bool:
        return anyio.current_time() > watched.asked + GRACE

    def _settle(self, watched: Watched, now: float) -> None:
        """When to look again, if ever."""
        if watched.stopped and watched.task in self._awake:
            del self._awake[watched.task]
            self._ended.append((now, watched.task))
        watched.looks += 1
        watched.due = now + self._pause(watched)

    def _pause(self, watched: Watched) -> float:
        seen = watched.seen
        if seen is None:
            return SOON
        if seen.leaving or watched.no_address:
            return min(LATER, SOON * 1.5 ** (watched.looks - 1))
        return LATER if (watched.public if self._public else seen.private) else SOON

    async def _find_addresses(
        self, looked_at: Iterable[Watched], errors: list[CloudburstError]
    ) -> None:
        """Ask EC2 for the public addresses that are missing, all at once."""
        wanted = {
            watched.seen.interface: watched
            for watched in looked_at
            if self._public and watched.seen and not watched.stopped
            if watched.seen.interface and not watched.seen.leaving and not watched.public
        }
        if not wanted:
            return
        try:
            found = await public_addresses(self._aws, tuple(wanted))
        except CloudburstError as exc:
            for watched in wanted.values():
                watched.address_error = exc if _is_final(exc) else None
            errors.append(exc)
            return
        now = anyio.current_time()
        for interface, watched in wanted.items():
            watched.address_error = None
            self._has(watched, found.get(interface), now)

    def _has(self, watched: Watched, address: str | None, now: float) -> None:
        """Take note of a public address, or of there being none."""
        runs = watched.seen is not None and watched.seen.state is TaskState.RUNNING
        missing = runs and address is None
        if missing and not watched.no_address:
            logger.warning("%s: %s", watched.task, NO_ADDRESS)
            watched.looks = 1
        watched.public, watched.no_address = address, missing
        watched.due = now + self._pause(watched)


def _is_final(error: CloudburstError) -> bool:
    """Whether it goes on until somebody mends it: then whoever asks for a task is told."""
    return isinstance(error, LaunchError) and error.remedy is Remedy.WHOLE_RUN
