"""Finding tasks that still run, and stopping those that nobody needs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from cloudburst.adapters.aws.prices import load_prices
from cloudburst.adapters.aws.runs import KnownRun, forget_run, known_runs
from cloudburst.adapters.aws.session import AWS, open_aws
from cloudburst.adapters.aws.sweep import (
    addresses_of,
    described,
    listed,
    running_task,
)
from cloudburst.engine.groups import unwrapped
from cloudburst.engine.polling import poll
from cloudburst.errors import (
    CloudburstError,
    ConfigurationError,
    NoAnswerError,
    ThrottledError,
)
from cloudburst.models.policy import PATIENT
from cloudburst.models.prices import PriceTable
from cloudburst.models.running import CleanupReport, FailedStop, RunningTask, Whose
from cloudburst.models.settings import Settings

__all__ = ["cleanup", "list_tasks"]

logger = logging.getLogger(__name__)

AT_ONCE = 20
"""Stops under way; the session sees to AWS's rates."""
STOP = 60.0
"""Seconds to insist on one stop."""
PAUSE = 2.0
"""Seconds between two looks: a task is not listed in the very moment it was asked for, "Eventual
consistency" in the ECS API reference (2026-11)."""
LOOKS = 8
"""So often at most, while others go on launching."""
REASON = "cloudburst cleanup"
_REASON_LENGTH = 255


async def list_tasks(settings: Settings, *, everything: bool = False) -> tuple[RunningTask, ...]:
    """The tasks of the cluster that nobody has stopped, oldest first, with what they have cost.

    Args:
        settings: Account, region and cluster.
        everything: Those without our tag too.

    Raises:
        CredentialsError, AccessDeniedError, ResourceMissingError: AWS is not asked, does not
            answer us, or has no such cluster.
    """
    async with open_aws(settings) as aws:
        look = _Look(aws, settings, await load_prices(), addresses=settings.public_address)
        tasks = await look.tasks()
    return tuple(task for task in tasks if everything or task.whose is not Whose.FOREIGN)


async def cleanup(
    settings: Settings,
    *,
    run: str | None = None,
    everything: bool = False,
    older_than: float | None = None,
    dry_run: bool = False,
    tagged_only: bool = True,
    reason: str = REASON,
) -> CleanupReport:
    """Stop tasks that nobody needs: those of this machine's runs whose process is gone.

    Args:
        settings: Account, region and cluster.
        run: Those of this run instead, wherever it was started and whether it lives or not.
        everything: All of them instead.
        older_than: Only tasks that were asked for so many seconds ago.
        dry_run: Stop nothing; tell what would be stopped.
        tagged_only: ``False``: with ``everything``, those without ``CreatedBy=animagent`` too.
        reason: What AWS shows as the reason of the stop.

    Raises:
        ConfigurationError: ``run`` and ``everything``, or neither with ``tagged_only=False``.
        CredentialsError, AccessDeniedError, ResourceMissingError: The tasks cannot be listed.
    """
    if run is not None and (everything or not run):
        raise ConfigurationError(f"run={run!r}: the name of a run, and not with everything")
    if not tagged_only and not everything:
        raise ConfigurationError("tasks without our tag are stopped with everything only")
    wish = _Wish(run=run, everything=everything, older_than=older_than, tagged_only=tagged_only)
    async with open_aws(settings) as aws:
        look = _Look(aws, settings, await load_prices(), addresses=False)
        sweep = _Sweep(look, wish, reason=reason[:_REASON_LENGTH])
        return await (sweep.rehearse() if dry_run else sweep.sweep())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """Which tasks shall go."""

    run: str | None
    everything: bool
    older_than: float | None
    tagged_only: bool

    def wants(self, task: RunningTask) -> bool:
        if self.tagged_only and task.whose is Whose.FOREIGN:
            return False
        if self.older_than is not None and task.age < self.older_than:
            return False
        if self.run is not None:
            return task.run == self.run
        return self.everything or task.whose is Whose.DEAD


@dataclass(slots=True)
class _Look:
    """Looks at a cluster."""

    aws: AWS
    settings: Settings
    prices: PriceTable
    addresses: bool
    runs: Sequence[KnownRun] = ()
    """Of this machine; as of the last look."""

    async def tasks(self) -> list[RunningTask]:
        """Oldest first."""
        # Runs first: one that begins now writes itself down before it launches anything.
        self.runs = await known_runs()
        alive = {run.run: False for run in self.runs}
        alive |= {run.run: True for run in self.runs if run.alive}
        cluster = self.settings.cluster
        shown = await described(self.aws, cluster, await listed(self.aws, cluster))
        addresses = await addresses_of(self.aws, shown) if self.addresses else None
        tasks = [
            running_task(
                task,
                region=self.aws.region,
                prices=self.prices,
                alive=alive,
                addresses=addresses,
            )
            for task in shown
        ]
        return sorted(tasks, key=lambda task: (task.created_at, task.task_arn))


class _Sweep:
    """Looks and stops until there is nothing new."""

    def __init__(self, look: _Look, wish: _Wish, *, reason: str) -> None:
        self._look = look
        self._wish = wish
        self._reason = reason
        self._stopped: dict[str, RunningTask] = {}
        self._failed: dict[str, FailedStop] = {}

    async def rehearse(self) -> CleanupReport:
        tasks = await self._look.tasks()
        wanted = tuple(task for task in tasks if self._wish.wants(task))
        return CleanupReport(stopped=wanted, left=self._left(tasks), dry_run=True)

    async def sweep(self) -> CleanupReport:
        tasks: Sequence[RunningTask] = ()
        for number in range(LOOKS):
            tasks = await self._look.tasks()
            new = [task for task in tasks if self._is_new(task)]
            await self._stop_all(new)
            if not new and (number or not self._may_come()):
                break
            await anyio.sleep(PAUSE)
        listed = {task.task_arn for task in tasks}
        for arn in self._failed.keys() - listed:  # it has ended in another way
            self._stopped[arn] = self._failed.pop(arn).task
        return CleanupReport(
            stopped=tuple(self._stopped.values()),
            failed=tuple(self._failed.values()),
            left=self._left(tasks),
            forgotten=await self._forget(tasks),
        )

    def _is_new(self, task: RunningTask) -> bool:
        known = self._stopped.keys() | self._failed.keys()
        return task.task_arn not in known and self._wish.wants(task)

    def _may_come(self) -> bool:
        """Whether there may be tasks to stop that are not listed yet."""
        wish = self._wish
        dead = any(not run.alive for run in self._look.runs)
        return wish.everything or wish.run is not None or dead

    async def _stop_all(self, tasks: Sequence[RunningTask]) -> None:
        turn = anyio.CapacityLimiter(AT_ONCE)

        async def stop(task: RunningTask) -> None:
            async with turn:
                await self._stop(task)

        with unwrapped():
            async with anyio.create_task_group() as group:
                for task in tasks:
                    group.start_soon(stop, task)

    async def _stop(self, task: RunningTask) -> None:
        error = f"not answered within {STOP:.0f} s"

        async def ask() -> bool | None:
            nonlocal error
            try:
                await self._look.aws.call(
                    "ecs",
                    "stop_task",
                    cluster=self._look.settings.cluster,
                    task=task.task_arn,
                    reason=self._reason,
                )
            except (NoAnswerError, ThrottledError) as exc:
                error = str(exc)
                return None
            return True

        try:
            with anyio.move_on_after(STOP):
                await poll(ask, backoff=PATIENT)
                self._stopped[task.task_arn] = task
                return
        except CloudburstError as exc:
            error = str(exc)
        logger.warning("task %s was not stopped: %s", task.task_id, error)
        self._failed[task.task_arn] = FailedStop(task=task, error=error)

    def _left(self, tasks: Sequence[RunningTask]) -> tuple[RunningTask, ...]:
        return tuple(
            task
            for task in tasks
            if task.whose is not Whose.FOREIGN
            and task.task_arn not in self._stopped
            and not self._wish.wants(task)
        )

    async def _forget(self, tasks: Sequence[RunningTask]) -> tuple[str, ...]:
        """Remove what this machine knows of dead runs in this cluster of which nothing is left."""
        ours = [task for task in tasks if task.whose is not Whose.FOREIGN]
        left = {task.run for task in ours if task.task_arn not in self._stopped}
        ended = [run for run in self._look.runs if self._was_here(run) and run.run not in left]
        for run in ended:
            await forget_run(run)
        return tuple(run.run for run in ended)

    def _was_here(self, run: KnownRun) -> bool:
        """Whether it is dead, and had its tasks where we have looked."""
        settings, place = self._look.settings, (run.region, run.cluster, run.endpoint_url)
        here = (self._look.aws.region, settings.cluster, settings.endpoint_url)
        return not run.alive and place == here
