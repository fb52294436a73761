"""What the parameters of old mean here, and which settings the calls of old read."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from cloudburst.engine.shares import distribution
from cloudburst.errors import ConfigurationError
from cloudburst.models.batches import Distribution
from cloudburst.models.options import RenderOptions, faults_of
from cloudburst.models.policy import Timeouts
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier


def read_settings() -> Settings:
    """From the environment and from ``.env`` in the current folder.

    Raises `ConfigurationError` when they cannot be read.
    """
    try:
        return Settings(_env_file=".env")  # pyright: ignore[reportCallIssue]
    except (ValueError, OSError) as exc:
        raise ConfigurationError(f".env or the environment: {exc}") from exc


def timeouts_of(settings: Settings) -> Timeouts:
    """The usual ones, but for what the old client's words say."""
    return Timeouts(
        scene=settings.api_timeout_minutes * 60, ready=settings.api_request_timeout_seconds
    )


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


def options_of(**look: Any) -> RenderOptions:
    """As the old parameters say: false means "by the picture", and nothing means no watermark."""
    for name in look.keys() & {"is_portrait", "watermark", "watermark_path"}:
        look[name] = look[name] or None
    try:
        return RenderOptions.model_validate(look)
    except ValidationError as exc:
        raise ConfigurationError("; ".join(faults_of(exc))) from exc


def tier_of(config_priority: int) -> Tier:
    """The size of that number. Raises `ConfigurationError` where there is none."""
    try:
        return Tier.by_priority(config_priority)
    except ValueError as exc:
        raise ConfigurationError(str(exc)) from exc
