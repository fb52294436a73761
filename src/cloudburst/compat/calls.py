"""The calls of old themselves: what each asks of a client or of an account."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio.to_thread

from cloudburst.backends import default_backend
from cloudburst.client import AnyScene, Client
from cloudburst.compat.figures import batch_result, calculate_fargate_cost
from cloudburst.compat.parameters import (
    calculate_optimal_batch_distribution,
    options_of,
    read_settings,
    tier_of,
    timeouts_of,
)
from cloudburst.errors import CloudburstError
from cloudburst.models.batches import (
    AccountValidity,
    BatchResult,
    CleanupResult,
    FailedTask,
    FargateCost,
    TaskInfo,
)
from cloudburst.models.options import RenderOptions
from cloudburst.models.policy import Limits
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier
from cloudburst.scenes import scan_scenes_from_folder

logger = logging.getLogger(__name__)

QUOTA = 6
"""vCPU that a new account may have on demand, by ``L-3032A538``: "Amazon ECS endpoints and quotas",
AWS general reference (2026-11)."""

RESULTS = Path("cloudburst_fargate_results")
"""Where videos go when neither the caller nor ``RESULTS_DIR`` says it."""


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
    options = options_of(
        language=language,
        enable_zoom=enable_zoom,
        watermark_path=watermark_path,
        is_portrait=is_portrait,
        background_box=background_box,
        background_opacity=background_opacity,
    )
    return await _render(
        scenes,
        options,
        tasks=plan.num_tasks,
        told="; ".join([plan.strategy, *plan.warnings]),
        tier=tier_of(config_priority),
        saving_dir=saving_dir,
    )


class FargateOperationV1:
    """One task, and all tasks of the account.

    Args:
        config_priority: Size of a task on Fargate: see `Tier`.

    Raises `ConfigurationError` for a size that does not exist.
    """

    def __init__(self, config_priority: int = 1) -> None:
        self._tier = tier_of(config_priority)

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
        look = options_of(language=language, **zoom, **options)
        return await _render(
            list(scenes), look, tasks=1, told="", tier=self._tier, saving_dir=saving_dir
        )

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


async def _render(
    scenes: Sequence[AnyScene],
    options: RenderOptions,
    *,
    tasks: int,
    told: str,
    tier: Tier,
    saving_dir: Path | str | None,
) -> BatchResult:
    settings = await anyio.to_thread.run_sync(read_settings)
    timeouts = timeouts_of(settings)
    limits, backend = Limits(workers=tasks), default_backend(settings)
    if told:  # after where it is: that is what comes first
        logger.info("%s", told)
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
        return batch_result(await run.settled())
