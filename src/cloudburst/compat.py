"""The calls of ``cloudburst-fargate``, as coroutines: parameters, defaults and keys of old.

Their blocking twins are in `cloudburst.blocking`. Unlike `cloudburst.Client` they read ``.env`` in
the current folder besides the environment.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio.to_thread
from pydantic import ValidationError

from cloudburst.adapters.aws.prices import read_prices
from cloudburst.backends import default_backend
from cloudburst.client import AnyScene, Client
from cloudburst.engine.ledger import MINIMUM_SECONDS
from cloudburst.engine.shares import distribution
from cloudburst.errors import CloudburstError, ConfigurationError
from cloudburst.models.batches import (
    AccountValidity,
    BatchResult,
    CleanupResult,
    CostBreakdown,
    Distribution,
    Efficiency,
    FailedTask,
    FargateCost,
    TaskInfo,
    TaskResult,
)
from cloudburst.models.options import RenderOptions, faults_of
from cloudburst.models.policy import Limits, Timeouts
from cloudburst.models.prices import HOME
from cloudburst.models.report import Report, Status, WorkerReport
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier
from cloudburst.scenes import scan_scenes_from_folder

__all__ = [
    "AccountValidity",
    "BatchResult",
    "CleanupResult",
    "Distribution",
    "FargateCost",
    "FargateOperationV1",
    "TaskInfo",
    "TaskResult",
    "calculate_fargate_cost",
    "calculate_optimal_batch_distribution",
    "execute_parallel_batches",
    "read_settings",
    "scan_scenes_from_folder",
]

logger = logging.getLogger(__name__)

QUOTA = 6
"""vCPU that a new account may have on demand, by ``L-3032A538``: "Amazon ECS endpoints and quotas",
AWS general reference (2026-11)."""

RESULTS = Path("cloudburst_fargate_results")
"""Where videos go when neither the caller nor ``RESULTS_DIR`` says it."""


def read_settings() -> Settings:
    """From the environment and from ``.env`` in the current folder.

    Raises `ConfigurationError` when they cannot be read.
    """
    try:
        return Settings(_env_file=".env")  # pyright: ignore[reportCallIssue]
    except (ValueError, OSError) as exc:
        raise ConfigurationError(f".env or the environment: {exc}") from exc


def calculate_optimal_batch_distribution(
    total_scenes: int,
    scenes_per_batch: int = 10,
    max_parallel_tasks: int = 10,
    min_scenes_per_batch: int = 5,
) -> Distribution:
    """Plan how many tasks to start, and how many scenes each shall take.

    Raises `ConfigurationError` when a number is below 1.
    """
    return distribution(
        total_scenes,
        scenes_per_batch=scenes_per_batch,
        max_parallel_tasks=max_parallel_tasks,
        min_scenes_per_batch=min_scenes_per_batch,
    )


def calculate_fargate_cost(
    seconds: float, task_count: int = 1, config_priority: int = 1
) -> FargateCost:
    """What so many tasks cost that each run for so many seconds, on demand on x86.

    In list prices of the configured region, with AWS's minimum of a minute and, unless the
    settings do without, a public address; 0 seconds cost nothing. Raises `ConfigurationError` for
    figures below 0 and tiers that do not exist.
    """
    if not (math.isfinite(seconds) and seconds >= 0 and task_count >= 0):
        msg = f"{task_count} tasks of {seconds} seconds: expected figures from 0 on"
        raise ConfigurationError(msg)
    tier, settings = _tier(config_priority), read_settings()
    rates = read_prices().rates(settings.region or HOME)
    billed = max(MINIMUM_SECONDS, math.ceil(seconds)) if seconds else 0
    vcpu, memory = tier.vcpu * rates.vcpu, tier.memory_gb * rates.memory_gb
    ipv4 = rates.ipv4 if settings.public_address else Decimal()
    one = billed * (vcpu + memory + ipv4)
    return FargateCost(
        fargate_config=f"{tier.vcpu}vCPU/{tier.memory_gb}GB",
        runtime_seconds=seconds,
        runtime_minutes=seconds / 60,
        runtime_hours=seconds / 3600,
        billed_seconds=billed,
        task_count=task_count,
        cost_per_task_usd=_usd(one),
        total_cost_usd=_usd(one * task_count),
        cost_per_hour=_usd(3600 * (vcpu + memory)),
        cost_breakdown=CostBreakdown(
            vcpu_cost=_usd(billed * vcpu),
            memory_cost=_usd(billed * memory),
            ipv4_cost=_usd(billed * ipv4),
            calculation=f"{billed} s × ({tier.vcpu} vCPU × ${rates.vcpu} "
            f"+ {tier.memory_gb} GB × ${rates.memory_gb} + IPv4 ${ipv4:.9f})",
        ),
    )


async def execute_parallel_batches(  # noqa: PLR0917 - as callers know it
    scenes: Iterable[AnyScene],
    scenes_per_batch: int = 10,
    max_parallel_tasks: int = 10,
    min_scenes_per_batch: int = 5,
    language: str = "chinese",
    enable_zoom: bool = True,
    config_priority: int = 4,
    watermark_path: Path | str | None = None,
    is_portrait: bool = False,
    saving_dir: Path | str | None = None,
    background_box: bool = True,
    background_opacity: float = 0.2,
) -> BatchResult:
    """Render all scenes, on Fargate where a subnet is configured, else on this machine.

    As many tasks are started at most as `calculate_optimal_batch_distribution` plans; all of them
    take scenes from one queue, and each is stopped on every way out. A scene that fails stops no
    other.

    Args:
        scenes: Scenes, or dictionaries with ``scene_name``, ``image_path``, ``audio_path`` and
            perhaps ``subtitle_path``.
        scenes_per_batch: Scenes for which a task is worth it.
        max_parallel_tasks: Tasks at once.
        min_scenes_per_batch: So many scenes a task shall have at least.
        language: ``chinese`` or ``english``: how subtitles look.
        enable_zoom: Zoom in or out, as drawn for each scene.
        config_priority: Size of a task on Fargate: see `Tier`.
        watermark_path: A picture for the top left corner.
        is_portrait: 9:16; else as the picture is.
        saving_dir: Where the folder ``batch_<run>`` with the videos is made; else ``RESULTS_DIR``,
            else ``cloudburst_fargate_results`` in the current folder.
        background_box: A box behind subtitles.
        background_opacity: Its *transparency*: 0 is black, 1 is no box.

    Raises:
        ConfigurationError: What is wrong with parameters, settings or scenes; nothing was started.
    """
    scenes = list(scenes)
    plan = calculate_optimal_batch_distribution(
        len(scenes), scenes_per_batch, max_parallel_tasks, min_scenes_per_batch
    )
    options = _options(
        language=language,
        enable_zoom=enable_zoom,
        watermark_path=watermark_path,
        is_portrait=is_portrait,
        background_box=background_box,
        background_opacity=background_opacity,
    )
    logger.info("%s", "; ".join([plan.strategy, *plan.warnings]))
    tier = _tier(config_priority)
    return await _render(scenes, options, tasks=plan.num_tasks, tier=tier, saving_dir=saving_dir)


class FargateOperationV1:
    """One task, and all tasks of the account.

    Args:
        config_priority: Size of a task on Fargate: see `Tier`.

    Raises `ConfigurationError` for a size that does not exist.
    """

    def __init__(self, config_priority: int = 1) -> None:
        self._tier = _tier(config_priority)

    async def execute_batch(
        self,
        scenes: Iterable[AnyScene],
        language: str = "english",
        enable_zoom: bool = True,
        *,
        auto_terminate: bool = True,
        saving_dir: Path | str | None = None,
        **options: Any,
    ) -> BatchResult:
        """Render all scenes on one task; see `execute_parallel_batches`.

        Args:
            scenes: The same.
            language: The same.
            enable_zoom: The same.
            auto_terminate: Has no effect: a task is always stopped.
            saving_dir: The same.
            options: ``watermark_path``, ``is_portrait``, ``background_box``,
                ``background_opacity``, and what else `RenderOptions` has.

        Raises:
            ConfigurationError: What is wrong with parameters, settings or scenes.
        """
        if not auto_terminate:
            logger.warning("auto_terminate=False has no effect: the task is stopped in the end")
        zoom = {} if "effects" in options else {"enable_zoom": enable_zoom}
        look = _options(language=language, **zoom, **options)
        return await _render(list(scenes), look, tasks=1, tier=self._tier, saving_dir=saving_dir)

    async def list_running_tasks(self, filter_animagent_only: bool = True) -> list[TaskInfo]:
        """The tasks that run in the cluster; without the filter, those of others too.

        Raises:
            LaunchError: AWS cannot be asked, does not answer us, or has no such cluster.
        """
        sweep, settings = await _account()
        tasks = await sweep.list_tasks(settings, everything=not filter_animagent_only)
        return [TaskInfo.model_validate(task, from_attributes=True) for task in tasks]

    async def cleanup_all_tasks(
        self, reason: str = "Cleanup requested", filter_animagent_only: bool = True
    ) -> CleanupResult:
        """Stop all tasks that run in the cluster; without the filter, those of others too.

        Raises:
            LaunchError: The tasks cannot be listed.
        """
        sweep, settings = await _account()
        report = await sweep.cleanup(
            settings, everything=True, tagged_only=filter_animagent_only, reason=reason
        )
        stopped, failed = len(report.stopped), len(report.failed)
        return CleanupResult(
            success=report.success,
            message=f"Terminated {stopped} tasks, {failed} failed",
            terminated_count=stopped,
            failed_count=failed,
            terminated_tasks=[task.task_arn for task in report.stopped],
            failed_tasks=[
                FailedTask(task_arn=one.task.task_arn, error=one.error) for one in report.failed
            ],
        )

    async def check_aws_account_validity(self) -> AccountValidity:
        """Whether AWS takes the credentials; ``cloudburst doctor`` looks at everything else."""
        session = await anyio.to_thread.run_sync(import_module, "cloudburst.adapters.aws.session")
        try:
            settings = await anyio.to_thread.run_sync(read_settings)
            async with session.open_aws(settings) as aws:
                identity: Mapping[str, Any] = await aws.call("sts", "get_caller_identity")
        except CloudburstError as exc:
            return AccountValidity(valid=False, message=f"AWS credentials invalid: {exc}")
        return AccountValidity(
            valid=True,
            message="AWS credentials are valid",
            account_id=identity["Account"],
            user_arn=identity["Arn"],
        )

    def calculate_fargate_cost(self, seconds: float, task_count: int = 1) -> FargateCost:
        """What tasks of this size cost: see the function of that name."""
        return calculate_fargate_cost(seconds, task_count, self._tier.priority)

    def scan_scenes_from_folder(self, path: Path | str) -> list[dict[str, Any]]:
        """The scenes of a folder: see the function of that name."""
        return scan_scenes_from_folder(path)


async def _account() -> tuple[Any, Settings]:
    """What looks at an account, imported in a thread for boto takes its time; and whose it is."""
    sweep = await anyio.to_thread.run_sync(import_module, "cloudburst.account.sweep")
    return sweep, await anyio.to_thread.run_sync(read_settings)


def timeouts_of(settings: Settings) -> Timeouts:
    """The usual ones, but for what the old client's words say."""
    return Timeouts(
        scene=settings.api_timeout_minutes * 60, ready=settings.api_request_timeout_seconds
    )


async def _render(
    scenes: Sequence[AnyScene],
    options: RenderOptions,
    *,
    tasks: int,
    tier: Tier,
    saving_dir: Path | str | None,
) -> BatchResult:
    settings = await anyio.to_thread.run_sync(read_settings)
    timeouts = timeouts_of(settings)
    limits, backend = Limits(workers=tasks), default_backend(settings)
    if settings.subnets and tasks * tier.vcpu > QUOTA:
        logger.warning(
            "%d tasks of %d vCPU are %d; a new account may have %d: cloudburst doctor --workers %d "
            "--tier %d tells what this one may",
            *(tasks, tier.vcpu, tasks * tier.vcpu, QUOTA, tasks, tier.priority),
        )
    name = uuid4().hex[:12]
    to = Path(saving_dir or settings.results or RESULTS) / f"batch_{name}"
    async with Client(
        backend, options=options, tier=tier, timeouts=timeouts, limits=limits
    ) as client:
        async with client.stream(scenes, to=to, name=name) as run:
            await run.until_done()
        # Leaving the client would wait for this as well, and then the bill is final.
        return _result(await run.settled())


def _result(report: Report) -> BatchResult:
    workers = [worker for worker in report.workers if worker.launched is not None]
    tasks = [_task_result(report, worker) for worker in workers]
    seconds = sum(task.total_duration for task in tasks)
    cost = _usd(report.cost.usd if report.cost else Decimal())
    done, total = len(report.videos), len(report.scenes)
    encoding = sum(worker.encoding for worker in workers)
    return BatchResult(
        success=report.status is Status.COMPLETE,
        status=report.status,
        run=report.run,
        total_scenes=total,
        successful_scenes=done,
        failed_scenes=total - done,
        total_cost_usd=cost,
        total_duration=report.seconds,
        downloaded_files=[str(video.path) for video in report.videos],
        task_results=tasks,
        tasks_used=len(tasks),
        efficiency=Efficiency(
            speedup_factor=seconds / report.seconds if report.seconds else 0.0,
            processing_efficiency=100 * encoding / seconds if seconds else 0.0,
            cost_per_scene=cost / total,
        ),
        errors={entry.scene: entry.error for entry in report.scenes if entry.error is not None},
    )


def _task_result(report: Report, worker: WorkerReport) -> TaskResult:
    scenes = [entry for entry in report.scenes if entry.task == worker.task]
    files = [str(entry.video.path) for entry in scenes if entry.video is not None]
    end = report.seconds if worker.stopped is None else worker.stopped
    return TaskResult(
        task_arn=worker.task,
        success=worker.error is None and len(files) == len(scenes),
        total_scenes=len(scenes),
        successful_scenes=len(files),
        failed_scenes=len(scenes) - len(files),
        total_cost_usd=_usd(worker.cost.usd if worker.cost else Decimal()),
        total_duration=end - (worker.launched or 0.0),
        downloaded_files=files,
        error=worker.error,
        may_run=worker.may_run,
    )


def _options(**look: Any) -> RenderOptions:
    """As the old parameters say: false means "by the picture", and nothing means no watermark."""
    for name in look.keys() & {"is_portrait", "watermark", "watermark_path"}:
        look[name] = look[name] or None
    try:
        return RenderOptions.model_validate(look)
    except ValidationError as exc:
        raise ConfigurationError("; ".join(faults_of(exc))) from exc


def _tier(config_priority: int) -> Tier:
    try:
        return Tier.by_priority(config_priority)
    except ValueError as exc:
        raise ConfigurationError(str(exc)) from exc


def _usd(amount: Decimal) -> float:
    return float(amount)
