"""Functions of ``cloudburst-fargate``, implemented with `cloudburst.Client` and the AWS API."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio.to_thread

from cloudburst.client.client import Client
from cloudburst.client.run_inputs import scene_list
from cloudburst.compat.parameters import (
    backend_of,
    calculate_optimal_batch_distribution,
    checked_settings,
    options_of,
    scan_scenes_from_folder,
    tier_of,
)
from cloudburst.compat.results import batch_result, calculate_fargate_cost
from cloudburst.errors import CloudburstError, ConfigurationError
from cloudburst.models.batches import (
    AccountValidity,
    BatchResult,
    CleanupResult,
    FailedTask,
    FargateCost,
    TaskInfo,
)
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.locations import OutputFolder, parse_output_folder, subfolder
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import AnyScene
from cloudburst.models.settings import Settings
from cloudburst.models.tier import NEW_ACCOUNT_VCPU, Tier
from cloudburst.ports.backend import Backend, OpenBackend

logger = logging.getLogger(__name__)


DEFAULT_RESULTS_FOLDER = Path("cloudburst_fargate_results")
"""Output folder if neither the caller nor ``RESULTS_DIR`` names one."""


async def execute_parallel_batches(  # noqa: PLR0917 - signature of cloudburst-fargate
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
    **options: Any,
) -> BatchResult:
    """Render all scenes on Fargate if a subnet is configured, otherwise on this machine.

    The call starts as many tasks as `calculate_optimal_batch_distribution` plans, even if fewer
    would be as fast. The tasks take scenes from one queue, and all tasks are stopped on success,
    error and cancellation. If a scene fails, the others are still rendered. The logger
    ``cloudburst.runs`` reports progress at level INFO.

    Args:
        scenes: Scenes, or dictionaries with ``scene_name``, ``image_path``, ``audio_path`` and
            optionally ``subtitle_path``: paths, ``s3://bucket/key`` or ``https://…``.
        scenes_per_batch: Number of scenes per task to aim for.
        max_parallel_tasks: Maximum number of tasks at once.
        min_scenes_per_batch: Minimum number of scenes per task.
        language: Subtitle style: ``chinese`` or ``english``.
        enable_zoom: True to zoom in or out, chosen at random for each scene.
        config_priority: Size of a task on Fargate, as the priority of a `Tier`, from 1 to 5.
        watermark_path: Picture for the top left corner.
        is_portrait: True for portrait videos (9:16), false for the orientation of each picture.
        saving_dir: Parent of the new folder ``batch_<run>`` with the videos, also in S3:
            ``s3://bucket/folder/``. The default is ``RESULTS_DIR``, or
            ``cloudburst_fargate_results`` in the current folder.
        background_box: True for a box behind the subtitles.
        background_opacity: *Transparency* of the box, despite the name: 0 is black, 1 is no box.
        options: Any other field of `RenderOptions`; ``effects`` replaces ``enable_zoom``.

    Raises:
        ConfigurationError: Parameters, settings or scenes are invalid; nothing was started.
    """
    scenes = scene_list(scenes)
    numbers = {
        "max_parallel_tasks": max_parallel_tasks,
        "min_scenes_per_batch": min_scenes_per_batch,
    }
    wrong = [f"{k} is {v!r}" for k, v in numbers.items() if isinstance(v, str | bool)]
    if wrong:
        expected = "a whole number" if len(wrong) == 1 else "whole numbers"
        msg = (
            f"{' and '.join(wrong)}; expected {expected}. The order of parameters differs "
            "between releases of cloudburst-fargate: pass all but the first two as keywords"
        )
        raise ConfigurationError(msg)
    plan = calculate_optimal_batch_distribution(
        len(scenes), scenes_per_batch, max_parallel_tasks, min_scenes_per_batch
    )
    look = {
        "language": language,
        "watermark_path": watermark_path,
        "is_portrait": is_portrait,
        "background_box": background_box,
        "background_opacity": background_opacity,
        **({} if "effects" in options else {"enable_zoom": enable_zoom}),
        **options,
    }
    return await _render(
        scenes,
        options_of(**look),
        tasks=plan.num_tasks,
        message="; ".join([plan.strategy, *plan.warnings]),
        tier=tier_of(config_priority),
        saving_dir=saving_dir,
    )


class FargateOperationV1:
    """Class of ``cloudburst-fargate`` that renders on one task and manages the account's tasks.

    Args:
        config_priority: Size of a task on Fargate, as the priority of a `Tier`, from 1 to 5.

    Raises `ConfigurationError` for an unknown size.
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
            scenes: See `execute_parallel_batches`.
            language: See `execute_parallel_batches`.
            enable_zoom: See `execute_parallel_batches`.
            auto_terminate: Ignored: a task is always stopped.
            saving_dir: See `execute_parallel_batches`.
            options: ``watermark_path``, ``is_portrait``, ``background_box``,
                ``background_opacity``, and any other field of `RenderOptions`.

        Raises:
            ConfigurationError: Parameters, settings or scenes are invalid.
        """
        if not auto_terminate:
            logger.warning("auto_terminate=False has no effect: the task is stopped at the end")
        zoom = {} if "effects" in options else {"enable_zoom": enable_zoom}
        look = options_of(language=language, **zoom, **options)
        return await _render(
            scene_list(scenes), look, tasks=1, message="", tier=self._tier, saving_dir=saving_dir
        )

    async def list_running_tasks(self, filter_animagent_only: bool = True) -> list[TaskInfo]:
        """Return the tasks that run in the cluster and were started by this package.

        With ``filter_animagent_only=False``, tasks that other programs started are included.

        Raises:
            LaunchError: AWS does not answer, denies the request, or does not have the cluster.
        """
        sweep, settings = await _account()
        tasks = await sweep.list_tasks(settings, include_foreign=not filter_animagent_only)
        return [TaskInfo.model_validate(task, from_attributes=True) for task in tasks]

    async def cleanup_all_tasks(
        self, reason: str = "Cleanup requested", filter_animagent_only: bool = True
    ) -> CleanupResult:
        """Stop all tasks that run in the cluster and were started by this package.

        With ``filter_animagent_only=False``, tasks that other programs started are stopped, too.
        AWS records ``reason`` as the reason for the stop.

        Raises:
            LaunchError: The tasks cannot be listed.
        """
        sweep, settings = await _account()
        report = await sweep.cleanup(
            settings, all_tasks=True, tagged_only=filter_animagent_only, reason=reason
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
        """Return whether AWS accepts the credentials, and to which account they belong.

        ``cloudburst doctor`` checks everything else that a run needs.
        """
        session = await anyio.to_thread.run_sync(import_module, "cloudburst.aws.client.client")
        try:
            settings = await anyio.to_thread.run_sync(Settings)
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
        """Return the cost of tasks of this size: see `cloudburst.compat.calculate_fargate_cost`."""
        return calculate_fargate_cost(seconds, task_count, self._tier.priority)

    def scan_scenes_from_folder(self, path: Path | str) -> list[dict[str, Any]]:
        """Return the scenes of a folder: see `cloudburst.scan_scenes_from_folder`."""
        return scan_scenes_from_folder(path)


async def scan_and_test_folder(
    folder_path: Path | str,
    language: str = "english",
    enable_zoom: bool = True,
    saving_dir: Path | str | None = None,
) -> BatchResult:
    """Render the scenes that `scan_scenes_from_folder` finds in a folder, on one task of tier 1.

    Raises:
        ConfigurationError: The folder has no scenes, or parameters or settings are invalid.
    """
    scenes = await anyio.to_thread.run_sync(scan_scenes_from_folder, folder_path)
    operation = FargateOperationV1()
    return await operation.execute_batch(scenes, language, enable_zoom, saving_dir=saving_dir)


async def _account() -> tuple[Any, Settings]:
    sweep = await anyio.to_thread.run_sync(import_module, "cloudburst.aws.setup.running_tasks")
    return sweep, await anyio.to_thread.run_sync(Settings)


def _eager(open_backend: OpenBackend) -> OpenBackend:
    """Return the backend, changed to start all planned workers even if fewer would be as fast."""

    @asynccontextmanager
    async def opened(timeouts: Timeouts, tier: Tier) -> AsyncGenerator[Backend]:
        async with open_backend(timeouts, tier) as backend:
            yield replace(backend, eager=True)

    return opened


def _folder(saving_dir: Path | str | None) -> OutputFolder | None:
    try:
        return parse_output_folder(str(saving_dir)) if saving_dir else None
    except ValueError as exc:
        raise ConfigurationError(f"saving_dir: {exc}") from exc


async def _render(
    scenes: Sequence[AnyScene],
    options: RenderOptions,
    *,
    tasks: int,
    message: str,
    tier: Tier,
    saving_dir: Path | str | None,
) -> BatchResult:
    settings = await anyio.to_thread.run_sync(checked_settings)
    folder = _folder(saving_dir) or settings.results or DEFAULT_RESULTS_FOLDER
    timeouts = settings.timeouts()
    limits, backend = Limits(workers=tasks), _eager(backend_of(settings))
    if message:  # logged after the choice of the backend
        logger.info("%s", message)
    if settings.subnets and tasks * tier.vcpu > NEW_ACCOUNT_VCPU:
        logger.warning(
            "%d tasks of %d vCPUs need %d vCPUs; the quota of a new account is %d: check yours "
            "with cloudburst doctor --workers %d --tier %d",
            *(tasks, tier.vcpu, tasks * tier.vcpu, NEW_ACCOUNT_VCPU, tasks, tier.priority),
        )
    name = uuid4().hex[:12]
    to = subfolder(folder, f"batch_{name}")
    async with Client(
        backend, options=options, tier=tier, timeouts=timeouts, limits=limits, settings=settings
    ) as client:
        report = await client.render_all(scenes, to=str(to), name=name)
    # In a thread, because the results of thousands of scenes would block the event loop.
    return await anyio.to_thread.run_sync(batch_result, report)
