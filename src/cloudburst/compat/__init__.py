"""The calls of ``cloudburst-fargate``, as coroutines: parameters, defaults and keys of old.

Their blocking twins are in `cloudburst.blocking`. Unlike `cloudburst.Client` they read ``.env`` in
the current folder besides the environment.
"""

from __future__ import annotations

from cloudburst.compat.calls import FargateOperationV1, execute_parallel_batches
from cloudburst.compat.figures import calculate_fargate_cost
from cloudburst.compat.parameters import (
    calculate_optimal_batch_distribution,
    read_settings,
    timeouts_of,
)
from cloudburst.models.batches import (
    AccountValidity,
    BatchResult,
    CleanupResult,
    Distribution,
    FargateCost,
    TaskInfo,
    TaskResult,
)
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
    "timeouts_of",
]
