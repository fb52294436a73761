"""Parameters and settings of ``cloudburst-fargate``, converted to those of this package."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from traceback import walk_stack
from typing import Any

from cloudburst.client.backends import default_backend, local, only_for_fargate
from cloudburst.errors import ConfigurationError
from cloudburst.inputs import scenes
from cloudburst.inputs.remote_inputs import open_remote_inputs
from cloudburst.models.batches import Distribution
from cloudburst.models.locations import is_s3
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import SceneDict
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier
from cloudburst.ports.backend import OpenBackend


def calculate_optimal_batch_distribution(
    total_scenes: int,
    scenes_per_batch: int = 10,
    max_parallel_tasks: int = 10,
    min_scenes_per_batch: int = 5,
) -> Distribution:
    """Return the number of tasks and the number of scenes of each.

    The number of tasks is the number of scenes divided by ``scenes_per_batch``, rounded up, but at
    most ``max_parallel_tasks``. Fewer tasks are planned, but at least one, if a task would have
    fewer scenes than ``min_scenes_per_batch`` (or than ``scenes_per_batch``, if that is smaller).
    The numbers of scenes of two tasks differ by at most one.

    Raises `ConfigurationError` if an argument is not a whole number of at least 1.
    """
    for name, number in (
        ("total_scenes", total_scenes),
        ("scenes_per_batch", scenes_per_batch),
        ("max_parallel_tasks", max_parallel_tasks),
        ("min_scenes_per_batch", min_scenes_per_batch),
    ):
        if type(number) is not int or number < 1:
            raise ConfigurationError(f"{name} is {number!r}; expected a whole number, at least 1")
    wanted = -(-total_scenes // scenes_per_batch)
    least = min(min_scenes_per_batch, scenes_per_batch)
    tasks = max(1, min(wanted, max_parallel_tasks, total_scenes // least))
    size, larger = divmod(total_scenes, tasks)
    shares = [size + 1] * larger + [size] * (tasks - larger)
    warnings: list[str] = []
    if wanted > max_parallel_tasks:
        warnings.append(
            f"tasks have more scenes than scenes_per_batch={scenes_per_batch}, "
            f"because max_parallel_tasks={max_parallel_tasks}"
        )
    if tasks < min(wanted, max_parallel_tasks):
        warnings.append(
            f"{tasks} instead of {min(wanted, max_parallel_tasks)} tasks, "
            f"so that each has at least {least} scenes"
        )
    return Distribution(
        num_tasks=tasks,
        batch_distribution=shares,
        total_batches=tasks,
        strategy=(
            f"{_counted(total_scenes, 'scene')} on {_counted(tasks, 'task')}: "
            f"{_describe(size, larger, tasks)}"
        ),
        warnings=warnings,
    )


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _describe(size: int, larger: int, tasks: int) -> str:
    some = f"{larger} × {size + 1}"
    others = f"{tasks - larger} × {size}"
    return f"{some} and {others}" if larger else others


def checked_settings() -> Settings:
    """Return the settings; blocks.

    Raises `ConfigurationError` if there is no subnet although other settings are for Fargate.
    """
    settings = Settings()
    if not settings.subnets and (given := only_for_fargate(settings)):
        msg = (
            f"{given} is set, but AWS_SUBNET_ID is not: add a subnet (`cloudburst init` finds "
            f"one) to render on Fargate, or remove {given} to render on this machine"
        )
        raise ConfigurationError(msg)
    return settings


def backend_of(settings: Settings) -> OpenBackend:
    """Return the Fargate backend if a subnet is configured, otherwise the local backend.

    A `UserWarning` announces the local backend, because the program may not have configured
    logging.
    """
    if not settings.subnets:
        warnings.warn(
            "AWS_SUBNET_ID is not set: rendering on this machine, not on Fargate",
            stacklevel=_callers_level(),
        )
        return local()
    return default_backend(settings)


def _callers_level() -> int:
    """Return the ``stacklevel`` for a warning that points to the user's program.

    The warning then names the line that called this package, directly or through an event loop.
    """
    frames = [frame for frame, _ in walk_stack(inspect.currentframe())][1:]
    roots = [str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame in frames]
    level = max(place for place, root in enumerate(roots) if root == "cloudburst") + 1
    while level < len(roots) and roots[level] in {"asyncio", "anyio"}:
        level += 1
    return level + 1


def scan_scenes_from_folder(path: Path | str) -> list[SceneDict]:
    """Return the scenes in ``images/scene_*.png`` and ``audio/scene_*.mp3`` of a folder.

    The folder may be in S3: ``s3://bucket/folder/``. The dictionaries have the keys of
    ``cloudburst-fargate``. Raises `ConfigurationError` as `cloudburst.read_scenes` does.
    """
    if not is_s3(path):
        return scenes.scan_scenes_from_folder(path)
    with open_remote_inputs(Settings()) as remote:
        return scenes.scan_scenes_from_folder(path, remote=remote)


def options_of(**look: Any) -> RenderOptions:
    """Return the render options for parameters of ``cloudburst-fargate``.

    If ``is_portrait`` is false, each video has the orientation of its picture. An empty watermark
    means no watermark. Raises `ConfigurationError` for invalid parameters.
    """
    for name in look.keys() & {"is_portrait", "watermark", "watermark_path"}:
        look[name] = look[name] or None
    return RenderOptions(**look)


def tier_of(config_priority: int) -> Tier:
    """Return the tier with a priority. Raises `ConfigurationError` unless it is 1 to 5."""
    try:
        return Tier.by_priority(config_priority)
    except ValueError as exc:
        raise ConfigurationError(str(exc)) from exc
