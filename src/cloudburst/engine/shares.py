"""How many tasks a number of scenes is worth. Pure.

Examples, with 5 as the smallest share:

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


def distribution(
    scenes: int, *, scenes_per_batch: int, max_parallel_tasks: int, min_scenes_per_batch: int
) -> Distribution:
    """Shares that differ by one at most, the larger ones first.

    As many tasks as there are batches, at most ``max_parallel_tasks``, and so few that the
    smallest share is no smaller than ``min_scenes_per_batch`` and ``scenes_per_batch`` both ask
    for; one task at least.

    Raises `ConfigurationError` when a number is no whole one, or below 1.
    """
    for name, number in (
        ("total_scenes", scenes),
        ("scenes_per_batch", scenes_per_batch),
        ("max_parallel_tasks", max_parallel_tasks),
        ("min_scenes_per_batch", min_scenes_per_batch),
    ):
        if type(number) is not int or number < 1:
            raise ConfigurationError(f"{name} is {number!r}; expected a whole number from 1 on")
    wanted = -(-scenes // scenes_per_batch)
    least = min(min_scenes_per_batch, scenes_per_batch)
    tasks = max(1, min(wanted, max_parallel_tasks, scenes // least))
    size, larger = divmod(scenes, tasks)
    shares = [size + 1] * larger + [size] * (tasks - larger)
    warnings: list[str] = []
    if wanted > max_parallel_tasks:
        warnings.append(
            f"shares are larger than scenes_per_batch={scenes_per_batch}, "
            f"for there may be {_counted(max_parallel_tasks, 'task')} at most"
        )
    if tasks < min(wanted, max_parallel_tasks):
        warnings.append(
            f"{tasks} instead of {min(wanted, max_parallel_tasks)} tasks, "
            f"so that each has {least} scenes at least"
        )
    return Distribution(
        num_tasks=tasks,
        batch_distribution=shares,
        total_batches=tasks,
        strategy=(
            f"{_counted(scenes, 'scene')} on {_counted(tasks, 'task')}: "
            f"{_told(size, larger, tasks)}"
        ),
        warnings=warnings,
    )


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _told(size: int, larger: int, tasks: int) -> str:
    some = f"{larger} × {size + 1}"
    others = f"{tasks - larger} × {size}"
    return f"{some} and {others}" if larger else others
