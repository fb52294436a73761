"""Tasks that run in the cluster: their list, and the cleanup of orphans."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import anyio

from cloudburst.aws.client.client import AWSClient, open_aws
from cloudburst.aws.client.price_list import load_prices
from cloudburst.aws.fargate.cluster_tasks import (
    MAX_STOP_REASON_LENGTH,
    describe_tasks,
    list_task_arns,
    parse_running_task,
)
from cloudburst.aws.fargate.ec2 import find_public_addresses
from cloudburst.aws.fargate.run_registry import RegisteredRun, registered_runs, remove_run
from cloudburst.concurrency import collapse_single, poll
from cloudburst.errors import (
    CloudburstError,
    ConfigurationError,
    NoAnswerError,
    ThrottledError,
)
from cloudburst.models.account_tasks import CleanupReport, FailedStop, RunningTask, TaskOwner
from cloudburst.models.limits import RETRY_BACKOFF
from cloudburst.models.prices import PriceTable
from cloudburst.models.settings import Settings

__all__ = ["cleanup", "list_tasks"]

logger = logging.getLogger(__name__)

STOP_REQUEST_TIMEOUT = 60.0
"""Seconds for which the request to stop one task is repeated until AWS accepts it."""
# Seconds between two lists of tasks during a cleanup. AWS does not list a new task at once:
# "Eventual consistency" in the ECS API reference (2026-11).
LIST_INTERVAL = 2.0
MAX_LISTS = 8
"""Maximum number of times that a cleanup lists the tasks, in case other processes keep launching
tasks in the cluster."""
CLEANUP_REASON = "cloudburst cleanup"
"""Reason that AWS shows for the tasks that a cleanup stops, unless the caller gives another one."""


async def list_tasks(
    settings: Settings, *, include_foreign: bool = False
) -> tuple[RunningTask, ...]:
    """Return the running tasks of the cluster with their cost so far, oldest first.

    Args:
        settings: Account, region and cluster.
        include_foreign: True to include tasks without the tag of cloudburst.

    Raises:
        CredentialsError: There are no usable credentials.
        AccessDeniedError: The credentials do not allow listing tasks.
        ResourceMissingError: The cluster does not exist.
    """
    async with open_aws(settings) as aws:
        cluster = _Cluster(aws, settings, await load_prices(), addresses=settings.public_address)
        tasks = await cluster.tasks()
    return tuple(task for task in tasks if include_foreign or task.owner is not TaskOwner.FOREIGN)


async def cleanup(
    settings: Settings,
    *,
    run: str | None = None,
    all_tasks: bool = False,
    older_than: float | None = None,
    dry_run: bool = False,
    tagged_only: bool = True,
    reason: str = CLEANUP_REASON,
) -> CleanupReport:
    """Stop orphans: tasks of runs whose process on this machine has ended.

    Args:
        settings: Account, region and cluster.
        run: Name of the run whose tasks are stopped in place of orphans, even if the run is in
            progress or was started on another machine; ``None`` to stop orphans.
        all_tasks: True to stop all tasks of cloudburst in the cluster, not only orphans.
        older_than: Minimum age of the tasks to stop, in seconds since their launch; ``None`` for
            any.
        dry_run: True to stop nothing and return what would be stopped.
        tagged_only: False to stop tasks without the tag of cloudburst too; only with ``all_tasks``.
        reason: Stop reason that AWS shows for the tasks.

    Raises:
        ConfigurationError: ``run`` is empty or given together with ``all_tasks``, or
            ``tagged_only`` is false without ``all_tasks``.
        CredentialsError: There are no usable credentials.
        AccessDeniedError: The credentials do not allow listing tasks.
        ResourceMissingError: The cluster does not exist.
    """
    if run is not None and (all_tasks or not run):
        raise ConfigurationError(f"run={run!r}; expected the name of a run, or all tasks, not both")
    if not tagged_only and not all_tasks:
        raise ConfigurationError("tagged_only=False; expected all_tasks=True with it")

    def selects(task: RunningTask) -> bool:
        if tagged_only and task.owner is TaskOwner.FOREIGN:
            return False
        if older_than is not None and task.age_seconds < older_than:
            return False
        if run is not None:
            return task.run == run
        return all_tasks or task.owner is TaskOwner.ORPHAN

    async with open_aws(settings) as aws:
        cluster = _Cluster(aws, settings, await load_prices(), addresses=False)
        work = _Cleanup(
            cluster,
            selects,
            only_orphans=run is None and not all_tasks,
            reason=reason[:MAX_STOP_REASON_LENGTH],
        )
        return await (work.dry_run() if dry_run else work.run())


@dataclass(slots=True)
class _Cluster:
    aws: AWSClient
    settings: Settings
    prices: PriceTable
    addresses: bool
    """True to look up the public addresses of tasks."""
    runs: Sequence[RegisteredRun] = ()
    """Runs that were registered on this machine when the tasks were last listed."""

    async def tasks(self) -> list[RunningTask]:
        # Runs are read first: a new run is registered before it launches a task.
        self.runs = await registered_runs()
        active_runs = {run.run: False for run in self.runs}
        active_runs |= {run.run: True for run in self.runs if run.active}
        cluster = self.settings.cluster
        described = await describe_tasks(self.aws, cluster, await list_task_arns(self.aws, cluster))
        addresses = await find_public_addresses(self.aws, described) if self.addresses else None
        tasks = [
            parse_running_task(
                task,
                region=self.aws.region,
                prices=self.prices,
                active_runs=active_runs,
                addresses=addresses,
            )
            for task in described
        ]
        return sorted(tasks, key=lambda task: (task.created_at, task.task_arn))


@dataclass(eq=False, slots=True, repr=False)
class _Cleanup:
    """A cleanup, which lists and stops tasks until a list has no further task to stop."""

    _cluster: _Cluster
    _selects: Callable[[RunningTask], bool]
    only_orphans: bool
    reason: str
    _stopped: dict[str, RunningTask] = field(default_factory=dict[str, RunningTask])
    _failed: dict[str, FailedStop] = field(default_factory=dict[str, FailedStop])

    async def dry_run(self) -> CleanupReport:
        tasks = await self._cluster.tasks()
        selected = tuple(task for task in tasks if self._selects(task))
        return CleanupReport(stopped=selected, kept=self._kept(tasks), dry_run=True)

    async def run(self) -> CleanupReport:
        tasks: Sequence[RunningTask] = ()
        for number in range(MAX_LISTS):
            tasks = await self._cluster.tasks()
            new = [task for task in tasks if self._is_new(task)]
            with collapse_single():
                async with anyio.create_task_group() as group:
                    for task in new:
                        group.start_soon(self._stop, task)
            if not new and (number or not self._may_appear()):
                break
            await anyio.sleep(LIST_INTERVAL)
        listed = {task.task_arn for task in tasks}
        for arn in self._failed.keys() - listed:  # the task has ended for another reason
            self._stopped[arn] = self._failed.pop(arn).task
        return CleanupReport(
            stopped=tuple(self._stopped.values()),
            failed=tuple(self._failed.values()),
            kept=self._kept(tasks),
            forgotten_runs=await self._forget_runs(tasks),
        )

    def _is_new(self, task: RunningTask) -> bool:
        known = self._stopped.keys() | self._failed.keys()
        return task.task_arn not in known and self._selects(task)

    def _may_appear(self) -> bool:
        """Return whether tasks to stop may exist that AWS does not list yet."""
        return not self.only_orphans or any(not run.active for run in self._cluster.runs)

    async def _stop(self, task: RunningTask) -> None:
        error = f"not answered within {STOP_REQUEST_TIMEOUT:.0f} s"

        async def ask() -> bool | None:
            nonlocal error
            try:
                await self._cluster.aws.call(
                    "ecs",
                    "stop_task",
                    cluster=self._cluster.settings.cluster,
                    task=task.task_arn,
                    reason=self.reason,
                )
            except (NoAnswerError, ThrottledError) as exc:
                error = str(exc)
                return None
            return True

        try:
            with anyio.move_on_after(STOP_REQUEST_TIMEOUT):
                await poll(ask, delays=RETRY_BACKOFF.delays())
                self._stopped[task.task_arn] = task
                return
        except CloudburstError as exc:
            error = str(exc)
        logger.warning("task %s was not stopped: %s", task.task_id, error)
        self._failed[task.task_arn] = FailedStop(task=task, error=error)

    def _kept(self, tasks: Sequence[RunningTask]) -> tuple[RunningTask, ...]:
        return tuple(
            task
            for task in tasks
            if task.owner is not TaskOwner.FOREIGN
            and task.task_arn not in self._stopped
            and not self._selects(task)
        )

    async def _forget_runs(self, tasks: Sequence[RunningTask]) -> tuple[str, ...]:
        ours = [task for task in tasks if task.owner is not TaskOwner.FOREIGN]
        with_tasks = {task.run for task in ours if task.task_arn not in self._stopped}
        ended = [
            run for run in self._cluster.runs if self._ended_here(run) and run.run not in with_tasks
        ]
        for run in ended:
            await remove_run(run)
        return tuple(run.run for run in ended)

    def _ended_here(self, run: RegisteredRun) -> bool:
        settings = self._cluster.settings
        listed = (self._cluster.aws.region, settings.cluster, settings.endpoint_url)
        return not run.active and (run.region, run.cluster, run.endpoint_url) == listed
