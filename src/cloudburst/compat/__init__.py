"""Functions of the older package ``cloudburst-fargate``, as coroutines.

Parameters, defaults and keys of the results are those of that package. Blocking variants are in
`cloudburst.blocking`. Unlike `cloudburst.Client`, these functions also read ``.env`` in the current
folder.
"""

from __future__ import annotations

from cloudburst.compat.calls import (
    FargateOperationV1,
    execute_parallel_batches,
    scan_and_test_folder,
)
from cloudburst.compat.parameters import (
    calculate_optimal_batch_distribution,
    scan_scenes_from_folder,
)
from cloudburst.compat.results import calculate_fargate_cost
from cloudburst.models.batches import (
    AccountValidity,
    BatchResult,
    CleanupResult,
    Distribution,
    FargateCost,
    TaskInfo,
    TaskResult,
)

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
    "scan_and_test_folder",
    "scan_scenes_from_folder",
]
