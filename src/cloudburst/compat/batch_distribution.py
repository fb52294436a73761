"""Distribution of scenes over tasks, for `calculate_optimal_batch_distribution`. No I/O.

Examples with ``min_scenes_per_batch=5``. A task has fewer than five scenes only if "per batch"
(``scenes_per_batch``) is less than five, or if there are fewer than five scenes in all:

======  =========  =========  =================
scenes  per batch  max tasks  tasks x scenes
======  =========  =========  =================
     4          2          2  2 x 2
     8          2          4  4 x 2
    50         10         10  5 x 10
   120         10         10  10 x 12
   101         10         10  1 x 11 and 9 x 10
     3         10         10  1 x 3
======  =========  =========  =================
"""

from __future__ import annotations

from cloudburst.errors import ConfigurationError
from cloudburst.models.batches import Distribution


def distribute_scenes(
    scenes: int, *, scenes_per_batch: int, max_parallel_tasks: int, min_scenes_per_batch: int
) -> Distribution:
    """Return the number of tasks and the number of scenes of each.

    The number of tasks is the number of scenes divided by ``scenes_per_batch``, rounded up, but at
    most ``max_parallel_tasks``. Fewer tasks are planned, but at least one, if a task would have
    fewer scenes than ``min_scenes_per_batch`` (or than ``scenes_per_batch``, if that is smaller).
    The numbers of scenes of two tasks differ by at most one.

    Raises `ConfigurationError` if an argument is not a whole number of at least 1.
    """
    for name, number in (
        ("total_scenes", scenes),
        ("scenes_per_batch", scenes_per_batch),
        ("max_parallel_tasks", max_parallel_tasks),
        ("min_scenes_per_batch", min_scenes_per_batch),
    ):
        if type(number) is not int or number < 1:
            raise ConfigurationError(f"{name} is {number!r}; expected a whole number, at least 1")
    wanted = -(-scenes // scenes_per_batch)
    least = min(min_scenes_per_batch, scenes_per_batch)
    tasks = max(1, min(wanted, max_parallel_tasks, scenes // least))
    size, larger = divmod(scenes, tasks)
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
            f"{_counted(scenes, 'scene')} on {_counted(tasks, 'task')}: "
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
