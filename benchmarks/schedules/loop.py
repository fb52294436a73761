"""Load of the client's event loop by a run with many tasks: CPU time, longest callback, polls."""

from __future__ import annotations

import gc
import time
from asyncio import events
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path

from cloud.virtual import open_pool, run_in_virtual_time, scene

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.open_run import open_run
from cloudburst.engine.run import RunSpec
from cloudburst.models.limits import Limits
from cloudburst.models.report import Status
from cloudburst.models.scene import CheckedScene
from cloudburst.models.task import TaskId, TaskStatus
from cloudburst.testing import FakeCloud
from schedules.scenarios import Scenario, equal
from schedules.table import print_goal
from schedules.task_model import TaskModel

LOOP_ROW = "loop"
LOOP_TASKS = (100, 500, 1000)
"""Numbers of tasks; each has twenty scenes."""
CALLBACK_GOAL = 0.05
"""CPU seconds of the longest callback without garbage collections, at most."""
SCENE_GOAL = 0.003
"""CPU seconds of the process for each scene, at most."""


@dataclass(slots=True)
class LoopLoad:
    """Load of an event loop; times are CPU seconds of its thread."""

    callback: float = 0.0
    """Longest callback, without garbage collections in it."""
    collections: list[float] = field(default_factory=list[float])
    """Garbage collections."""
    cpu: float = 0.0
    """All callbacks, garbage collections, and the loop itself."""


@contextmanager
def measured_loop() -> Generator[LoopLoad]:
    """Measure the event loop of the ``with`` block, which must not be in a callback of it."""
    load, run_handle = LoopLoad(), events.Handle._run  # noqa: SLF001 - there is no public hook
    collected, began = 0.0, 0.0

    def on_collection(phase: str, _: Mapping[str, int]) -> None:
        nonlocal began, collected
        if phase == "start":
            began = time.thread_time()
        else:
            load.collections.append(time.thread_time() - began)
            collected += load.collections[-1]

    def run(handle: events.Handle) -> None:
        start = time.thread_time() - collected
        run_handle(handle)
        load.callback = max(load.callback, time.thread_time() - collected - start)

    gc.callbacks.append(on_collection)
    events.Handle._run = run  # type: ignore[method-assign,assignment] # noqa: SLF001
    start = time.thread_time()
    try:
        yield load
    finally:
        load.cpu = time.thread_time() - start
        events.Handle._run = run_handle  # type: ignore[method-assign] # noqa: SLF001
        gc.callbacks.remove(on_collection)


def measure_loop(model: TaskModel, hour_usd: Decimal) -> bool:
    """Print the load of the loop for each number of tasks, and return whether the goals are met."""
    met = True
    for tasks in LOOP_TASKS:
        number, measurements = 20 * tasks, Measurements()
        lengths = equal(number, 10)
        case = Scenario(name="", title="", audio_seconds=lengths, workers=tasks).case(model, 0)
        scenes = [scene(name, seconds) for name, seconds in case.audio_seconds.items()]
        limits = Limits(workers=tasks, hour_usd=hour_usd)
        for run in ("first", "later"):
            cloud, described = _counted(case.cloud())
            gc.collect()
            with measured_loop() as load:
                run_in_virtual_time(partial(_render, cloud, scenes, limits, measurements))
            print(
                f"{LOOP_ROW:4} {tasks} tasks, {number} scenes, {run} run: "
                f"{1000 * load.cpu / number:.2f} ms of CPU a scene, longest callback "
                f"{1000 * load.callback:.0f} ms; {len(load.collections)} garbage collections, "
                f"{1000 * max(load.collections, default=0):.0f} ms at most, "
                f"{1000 * sum(load.collections) / number:.2f} ms a scene; "
                f"{len(described) / number:.1f} descriptions a scene",
                flush=True,
            )
            met &= load.callback <= CALLBACK_GOAL and load.cpu <= SCENE_GOAL * number
    return print_goal(
        f"{LOOP_ROW}: callbacks of {1000 * CALLBACK_GOAL:.0f} ms at most, "
        f"{1000 * SCENE_GOAL:.0f} ms of CPU a scene",
        met=met,
    )


def _counted(cloud: FakeCloud) -> tuple[FakeCloud, list[TaskId]]:
    """Return the cloud, and the list to which it adds each task whose state is asked for."""
    described, describe = list[TaskId](), cloud.describe

    async def note(task: TaskId, *, refresh: bool = False) -> TaskStatus:
        described.append(task)
        return await describe(task, refresh=refresh)

    cloud.describe = note  # type: ignore[method-assign]
    return cloud, described


async def _render(
    cloud: FakeCloud, scenes: Sequence[CheckedScene], limits: Limits, measurements: Measurements
) -> None:
    spec = RunSpec("bench", scenes, lambda name: Path(f"{name}.mp4"))
    async with open_pool([cloud], limits, measurements) as pool, open_run(spec, pool) as run:
        report = await run.until_done()
    assert report.status is Status.COMPLETE
