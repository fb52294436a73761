"""Consequences of failed launches and stopped tasks for the next launches.

A lack of capacity, a lack of memory and Spot interruptions change the placement. A launch whose
execution role ECS cannot assume is retried for a while, because IAM takes some seconds, at most
about a minute, to make a new role known everywhere. If the role cannot be assumed for longer, the
role is wrong. The same is true of the permissions of a role, until a first task has started.
"""

from __future__ import annotations

from dataclasses import replace

import anyio

from cloudburst.aws.fargate.placement import Placement, PlacementPolicy
from cloudburst.aws.fargate.task_description import TaskDescription
from cloudburst.errors import CapacityError, CloudburstError, LaunchError, Remedy
from cloudburst.models.failures import (
    ROLE_NOT_READY_AT_LAUNCH,
    ROLE_NOT_READY_AT_START,
    Failure,
)
from cloudburst.models.failures.stops import (
    PULL_NOT_PERMITTED,
    SPOT_INTERRUPTION,
    START_NOT_PERMITTED,
)
from cloudburst.models.task import TaskId, TaskState
from cloudburst.text import short_task

ROLE_TIMEOUT = 60.0
"""Seconds for which launches are retried after the first refusal of an execution role. Most new
roles can be assumed after some seconds, few after a minute:
https://github.com/DataDog/stratus-red-team/issues/358 (2026-11)."""
FORGET_REFUSALS_AFTER = 600.0
"""Seconds without a refusal after which the next one counts as the first again: more than a task
takes to be stopped because of its role. Otherwise a wrong role would be tried without end."""
MAX_REMEMBERED_TASKS = 10_000
"""Maximum number of tasks whose placement is kept: more than can run at once."""
_ROLE_REFUSED = (
    f"the execution role could not be assumed for {ROLE_TIMEOUT:.0f} s: it does not exist, or does "
    "not trust ecs-tasks.amazonaws.com"
)


class RolePropagation:
    """Time limit for refusals of an execution role that may be too new to be known everywhere."""

    def __init__(self) -> None:
        self._first_refusal_at: float | None = None
        self._last_refusal_at = 0.0

    def succeed(self) -> None:
        """Forget earlier refusals, because ECS has assumed the role."""
        self._first_refusal_at = None

    def error_of(self, refusal: CapacityError) -> LaunchError:
        """Return the error to raise for a refused launch: a final error after the time limit.

        Refusals that are not about the role are returned unchanged.
        """
        # The only lack of capacity that the same request may overcome is that of a new role.
        if refusal.remedy is not Remedy.REPEAT_REQUEST or not self.record_refusal():
            return refusal
        return LaunchError(f"{refusal} ({_ROLE_REFUSED}: {ROLE_NOT_READY_AT_LAUNCH.action})")

    def failure_of(self, failure: Failure) -> Failure:
        """Return the failure row of a stopped task: a final failure after the time limit.

        Failures that are not about the role are returned unchanged.
        """
        if failure is not ROLE_NOT_READY_AT_START or not self.record_refusal():
            return failure
        return replace(failure, remedy=Remedy.FIX_SETUP, meaning=_ROLE_REFUSED)

    def record_refusal(self) -> bool:
        """Record a refusal at this moment, and return whether it is beyond the time limit."""
        now = anyio.current_time()
        # After a long time without a refusal, the role may have been created again.
        if self._first_refusal_at is None or now - self._last_refusal_at >= FORGET_REFUSALS_AFTER:
            self._first_refusal_at = now
        self._last_refusal_at = now
        return now - self._first_refusal_at >= ROLE_TIMEOUT


class LaunchFailures:
    """Reactions of one backend to failed launches and stopped tasks."""

    def __init__(self, policy: PlacementPolicy) -> None:
        self._policy = policy
        self._options: dict[TaskId, int] = {}
        self._role = RolePropagation()
        self._permissions = RolePropagation()
        self._any_started = False
        """True if the role of a task had all permissions to start the task."""

    def record_launch(self, task: TaskId, placement: Placement) -> None:
        """Remember with which placement option a task was started."""
        self._options[task] = placement.option
        if len(self._options) > MAX_REMEMBERED_TASKS:
            del self._options[next(iter(self._options))]

    def after_refusal(self, refusal: CloudburstError, placement: Placement) -> CloudburstError:
        """Adapt the placement of the next launch to a refusal, and return the error to raise."""
        if not isinstance(refusal, CapacityError):
            return refusal
        if refusal.remedy is Remedy.OTHER_SUBNET:
            self._policy.report_no_capacity(placement.option, str(refusal))
        return self._role.error_of(refusal)

    def after_description(self, task: TaskId, description: TaskDescription) -> Failure | None:
        """Adapt the next launch's placement to a task's stop, and return the failure row.

        The result is ``None`` before the stop begins.
        """
        failure = description.failure
        if failure is not None:
            self._change_placement(task, failure, description.state)
            if failure in (PULL_NOT_PERMITTED, START_NOT_PERMITTED):
                final = self._any_started or self._permissions.record_refusal()
                return failure if final else replace(failure, remedy=Remedy.REPEAT_REQUEST)
        elif description.state is TaskState.RUNNING:
            self._any_started = True
        if description.pull_started_at is not None and failure is not ROLE_NOT_READY_AT_START:
            self._role.succeed()
        return None if failure is None else self._role.failure_of(failure)

    def _change_placement(self, task: TaskId, failure: Failure, state: TaskState) -> None:
        reason = f"task {short_task(task)}: {failure.meaning}"
        if failure is SPOT_INTERRUPTION:
            self._policy.report_spot_interruption(task)
        elif task not in self._options or state is not TaskState.STOPPED:
            return
        elif failure.remedy is Remedy.OTHER_SUBNET:
            self._policy.report_no_capacity(self._options.pop(task), reason)
        elif failure.remedy is Remedy.OTHER_SIZE:
            self._policy.report_out_of_memory(self._options.pop(task), reason)
