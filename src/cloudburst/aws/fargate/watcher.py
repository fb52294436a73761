"""Watcher of the tasks of a backend: a poller that describes up to 100 tasks in one call."""

from __future__ import annotations

import itertools
import logging
import math
from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass

import anyio

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.fargate.cluster_tasks import MAX_DESCRIBED_TASKS
from cloudburst.aws.fargate.ec2 import describe_public_addresses
from cloudburst.aws.fargate.task_description import TaskDescription, parse_task_description
from cloudburst.errors import CloudburstError, LaunchError, Remedy
from cloudburst.models.limits import RETRY_BACKOFF
from cloudburst.models.settings import Settings
from cloudburst.models.task import TaskId, TaskState

logger = logging.getLogger(__name__)

FAST_INTERVAL, SLOW_INTERVAL = 1.0, 5.0
"""Seconds between two polls of a task: the fast interval while its state is about to change, the
slow interval at other times."""
# Seconds for which a task that DescribeTasks does not find may still exist, because reads lag
# behind writes ("eventual consistency" in the page of RunTask, ECS API reference, 2026-11). A task
# that is missing for longer is lost.
UNKNOWN_TASK_GRACE = 30.0
STOPPED_TASK_RETENTION = 3600.0
"""Seconds for which the state of a stopped task is kept: about as long as ECS keeps it."""
LOST_REASON = "AWS does not know the task any more"
NO_PUBLIC_ADDRESS_REASON = (
    "it runs and has no public address: its subnet must be a public one, or set "
    "CLOUDBURST_PUBLIC_ADDRESS=false to reach workers inside the VPC"
)


@dataclass(eq=False, slots=True, kw_only=True)
class WatchedTask:
    """A task and its last known state. Times are in seconds of `anyio.current_time`."""

    task: TaskId
    description: TaskDescription | None = None
    """Latest description; ``None`` if AWS has not described the task yet."""
    last_active_at: float | None = None
    """Start of the latest poll in which the task had not stopped; ``None`` if there was none."""
    last_known_at: float
    """Start of the latest poll that found the task; before the first one, the time at which the
    watcher began to poll it. If AWS still does not know the task `UNKNOWN_TASK_GRACE` seconds
    later, the task is lost."""
    next_poll_at: float
    public_ip: str | None = None
    address_error: CloudburstError | None = None
    """Error of the latest lookup of the public address if no retry can fix it, else ``None``."""
    has_no_address: bool = False
    """True if the task runs without a public address although workers need one."""
    stop_accepted: bool = False
    """True if AWS has accepted the stop of the task, so that its address is no longer needed."""
    backoff_polls: int = 0
    """Number of polls since it became known that the task will stop, or that it has no public
    address. The time to the next poll grows with this number."""
    lost: bool = False
    """True if AWS does not know the task any more."""

    @property
    def stopped(self) -> bool:
        """True if the task has stopped or is lost, so that its state is final."""
        description = self.description
        return self.lost or (description is not None and description.state is TaskState.STOPPED)


class AWSClock:
    """Estimate of AWS's clock from the times in its responses.

    The estimate may be behind AWS's clock, but never ahead of it.
    """

    def __init__(self) -> None:
        self._ahead = -math.inf

    def observe(self, epoch: float | None, *, received_at: float) -> None:
        """Improve the estimate with a time in a response of AWS."""
        if epoch is not None:
            self._ahead = max(self._ahead, epoch - received_at)

    def at(self, time: float) -> float:
        """Return AWS's time, in seconds since the epoch, at a ``time`` of `anyio.current_time`.

        Before the first response, the result is minus infinity.
        """
        return time + self._ahead


class Watcher:
    """Poller of the states of all tasks of a backend, with DescribeTasks.

    It polls only while there are tasks that have not stopped.
    """

    def __init__(self, aws: AWSClient, settings: Settings, *, containers: Container[str]) -> None:
        self.clock = AWSClock()
        self._aws = aws
        self._cluster = settings.cluster
        self._containers = containers
        self._public = settings.public_address
        self._tasks: dict[TaskId, WatchedTask] = {}
        self._active: dict[TaskId, WatchedTask] = {}
        self._stopped: deque[tuple[float, TaskId]] = deque()
        self._changed = anyio.Event()
        self._polled = anyio.Event()
        self._error: CloudburstError | None = None

    def watch(self, task: TaskId, description: TaskDescription | None = None) -> WatchedTask:
        """Start to poll a task, unless it is already polled, and return its record."""
        now = anyio.current_time()
        while self._stopped and self._stopped[0][0] < now - STOPPED_TASK_RETENTION:
            self._tasks.pop(self._stopped.popleft()[1], None)
        watched = self._tasks.get(task)
        if watched is None:
            next_poll_at = now if description is None else now + FAST_INTERVAL
            watched = WatchedTask(task=task, last_known_at=now, next_poll_at=next_poll_at)
            self._tasks[task] = self._active[task] = watched
        if description is not None and watched.description is None:
            watched.description = description
            self.clock.observe(description.latest_time, received_at=now)
        self._changed.set()
        return watched

    def record_stop(self, task: TaskId) -> None:
        """Record that the stop of a task was accepted, and poll the task often for a while."""
        watched = self._tasks.get(task)
        if watched is not None and not watched.stopped:
            watched.stop_accepted = True
            watched.backoff_polls = 0
            watched.next_poll_at = min(watched.next_poll_at, anyio.current_time() + FAST_INTERVAL)
            self._changed.set()

    def is_gone(self, task: TaskId) -> bool:
        """Return whether a task unknown to AWS has ended, rather than being too new to be known."""
        watched = self._tasks.get(task)
        return watched is None or watched.stopped or self._exceeds_grace(watched)

    def has_stopped(self, task: TaskId) -> bool:
        """Return whether a task was seen to have stopped."""
        watched = self._tasks.get(task)
        return watched is not None and watched.stopped

    def get(self, task: TaskId) -> WatchedTask:
        """Return the last known state of a task.

        Raises:
            CredentialsError: AWS does not accept the credentials, so that no poll can succeed.
            AccessDeniedError: The credentials do not allow the polls.
            ResourceMissingError: The cluster does not exist.
        """
        watched = self._tasks.get(task) or self.watch(task)
        address_error = None if watched.stop_accepted else watched.address_error
        if not watched.stopped and (error := self._error or address_error):
            raise type(error)(str(error)) from error
        return watched

    async def refresh(self, task: TaskId) -> WatchedTask:
        """Wait for a new poll of a task, and return the state of the task in that poll.

        There is no timeout: the caller sets the deadline. Raises the errors of `get`.
        """
        now = anyio.current_time()
        while not (watched := self.get(task)).stopped and watched.last_known_at < now:
            watched.next_poll_at = min(watched.next_poll_at, now)
            self._changed.set()
            await self._polled.wait()
        return watched

    async def run(self) -> None:
        """Poll the tasks until cancelled; log errors and continue."""
        delays = RETRY_BACKOFF.delays()
        while True:
            if not (batches := self._due_batches()):
                await self._wait()
                continue
            errors: list[CloudburstError] = []
            for batch in batches:  # one by one: parsing a hundred blocks the loop for 20 ms or more
                await self._describe(batch, errors)
            self._error = next(filter(_is_final, errors), None)
            await self._find_addresses(list(itertools.chain(*batches)), errors)
            self._polled.set()
            self._polled = anyio.Event()
            if errors:
                delay = FAST_INTERVAL + next(delays)
                logger.warning("the state of tasks is unknown for %.0f s: %s", delay, errors[0])
                await anyio.sleep(delay)
            else:
                delays = RETRY_BACKOFF.delays()

    def _due_batches(self) -> list[list[WatchedTask]]:
        """Return the tasks to poll now, in batches that are filled up with the tasks due next."""
        now = anyio.current_time()
        order = sorted(self._active.values(), key=lambda watched: watched.next_poll_at)
        count = sum(watched.next_poll_at <= now for watched in order)
        size = MAX_DESCRIBED_TASKS
        order = order[: -(-count // size) * size]
        return [order[start : start + size] for start in range(0, len(order), size)]

    async def _wait(self) -> None:
        self._changed = anyio.Event()
        next_poll_at = min(
            (watched.next_poll_at for watched in self._active.values()), default=math.inf
        )
        with anyio.move_on_after(next_poll_at - anyio.current_time()):
            await self._changed.wait()

    async def _describe(self, batch: Sequence[WatchedTask], errors: list[CloudburstError]) -> None:
        began = anyio.current_time()
        arns = [watched.task for watched in batch]
        try:
            response = await self._aws.call(
                "ecs", "describe_tasks", cluster=self._cluster, tasks=arns
            )
            received_at = anyio.current_time()
            described = {
                task["taskArn"]: parse_task_description(task, containers=self._containers)
                for task in response["tasks"]
            }
        except CloudburstError as exc:
            errors.append(exc)
            return
        for watched in batch:
            if description := described.get(watched.task):
                self._update(watched, description, began, received_at)
            elif self._exceeds_grace(watched):
                logger.warning("%s: %s", watched.task, LOST_REASON)
                watched.lost = True
            if watched.stopped and watched.task in self._active:
                del self._active[watched.task]
                self._stopped.append((received_at, watched.task))
            watched.backoff_polls += 1
            watched.next_poll_at = received_at + self._interval(watched)

    def _update(
        self,
        watched: WatchedTask,
        description: TaskDescription,
        began: float,
        received_at: float,
    ) -> None:
        self.clock.observe(description.latest_time, received_at=received_at)
        before = watched.description
        if before is not None and before.stop_announced != description.stop_announced:
            watched.backoff_polls = 0
        watched.description, watched.last_known_at = description, began
        if description.state is not TaskState.STOPPED:
            watched.last_active_at = began

    def _exceeds_grace(self, watched: WatchedTask) -> bool:
        return anyio.current_time() > watched.last_known_at + UNKNOWN_TASK_GRACE

    def _interval(self, watched: WatchedTask) -> float:
        description = watched.description
        if description is None:
            return FAST_INTERVAL
        if description.stop_announced or watched.has_no_address:
            return min(SLOW_INTERVAL, FAST_INTERVAL * 1.5 ** (watched.backoff_polls - 1))
        address = watched.public_ip if self._public else description.private_ip
        return SLOW_INTERVAL if address else FAST_INTERVAL

    async def _find_addresses(
        self, polled: Sequence[WatchedTask], errors: list[CloudburstError]
    ) -> None:
        missing = {
            watched.description.network_interface: watched
            for watched in polled
            if self._public and watched.description and not watched.stopped
            if watched.description.network_interface and not watched.public_ip
            if not watched.description.stop_announced
        }
        if not missing:
            return
        try:
            found = await describe_public_addresses(self._aws, tuple(missing))
        except CloudburstError as exc:
            for watched in missing.values():
                watched.address_error = exc if _is_final(exc) else None
            errors.append(exc)
            return
        now = anyio.current_time()
        for interface, watched in missing.items():
            watched.address_error = None
            self._set_address(watched, found.get(interface), now)

    def _set_address(self, watched: WatchedTask, address: str | None, now: float) -> None:
        description = watched.description
        runs = description is not None and description.state is TaskState.RUNNING
        has_no_address = runs and address is None
        if has_no_address and not watched.has_no_address:
            logger.warning("%s: %s", watched.task, NO_PUBLIC_ADDRESS_REASON)
            watched.backoff_polls = 1
        watched.public_ip, watched.has_no_address = address, has_no_address
        watched.next_poll_at = now + self._interval(watched)


def _is_final(error: CloudburstError) -> bool:
    """Return whether an error lasts until the setup is fixed."""
    return isinstance(error, LaunchError) and error.remedy is Remedy.FIX_SETUP
