"""Runs of the engine alone in virtual time, with fake backends and without files."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import anyio

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.open_run import open_run
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.run import ClaimedScenes, Run, RunSpec
from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.models.limits import READINESS_BACKOFF, Limits, Timeouts
from cloudburst.models.options import RenderOptions
from cloudburst.models.report import Report
from cloudburst.models.scene import CheckedScene, Scene, SceneLabels
from cloudburst.models.task import TaskSpec
from cloudburst.testing import FakeCloud, VirtualClockLoop

T = TypeVar("T")
TIMEOUTS = Timeouts(scene=None)
"""Timeouts without a limit for a scene, because some encodes take an hour of virtual time."""
OPTIONS = RenderOptions(motion_search=True)
"""Options of all scenes, with which a second of audio is a second of work."""


def log_normal(seed: int, number: int, *, median: float) -> list[float]:
    """Return audio lengths in seconds, from a log-normal distribution with sigma 1."""
    rng = random.Random(seed)
    return [rng.lognormvariate(math.log(median), 1.0) for _ in range(number)]


def scene(name: str, seconds: float) -> CheckedScene:
    """Return a scene whose files do not exist; a second of its audio is a second of work."""
    files = Scene(name=name, image=Path(f"{name}.png"), audio=Path(f"{name}.mp3"))
    return CheckedScene(scene=files, audio_seconds=seconds, image_bytes=1_000_000, options=OPTIONS)


@asynccontextmanager
async def open_pool(
    clouds: Sequence[FakeCloud], limits: Limits, measurements: Measurements
) -> AsyncGenerator[WorkerPool]:
    """Open the worker pool of a client."""
    async with AsyncExitStack() as stack:
        backends = [
            await stack.enter_async_context(cloud.backend(TIMEOUTS, TaskSpec().tier))
            for cloud in clouds
        ]
        tasks = await stack.enter_async_context(anyio.create_task_group())
        pool = WorkerPool(
            tasks,
            backends,
            spec=TaskSpec(),
            timeouts=TIMEOUTS,
            limits=limits,
            backoff=READINESS_BACKOFF,
            measurements=measurements,
        )
        try:
            yield pool
        finally:
            pool.close()
            tasks.cancel_scope.cancel()


async def render_scenes(
    clouds: Sequence[FakeCloud],
    audio_seconds: Mapping[str, float],
    *,
    limits: Limits,
    measurements: Measurements | None = None,
) -> Report:
    """Return the settled report of a run of scenes with these lengths of audio, by name."""
    (report,) = await render_runs(clouds, [audio_seconds], limits=limits, measurements=measurements)
    return report


async def render_runs(
    clouds: Sequence[FakeCloud],
    runs: Sequence[Mapping[str, float]],
    *,
    limits: Limits,
    measurements: Measurements | None = None,
) -> list[Report]:
    """Return the settled reports of runs that one client makes at the same time.

    Args:
        clouds: Backends of the client.
        runs: Audio lengths of the scenes of each run in seconds, by name of the scene.
        limits: Limits of the client.
        measurements: Measurements of earlier runs, to which those of these runs are added.
    """
    reports = dict[int, Report]()

    async def render(number: int, audio_seconds: Mapping[str, float], pool: WorkerPool) -> None:
        scenes = [scene(name, seconds) for name, seconds in audio_seconds.items()]
        async with open_run(
            RunSpec(f"bench-{number}", scenes, lambda name: Path(f"{name}.mp4")), pool
        ) as run:
            await run.until_done()
            reports[number] = await run.settled()

    async with (
        open_pool(clouds, limits, measurements or Measurements()) as pool,
        anyio.create_task_group() as tasks,
    ):
        for number, audio_seconds in enumerate(runs):
            tasks.start_soon(render, number, audio_seconds, pool)
    return [reports[number] for number in range(len(runs))]


class _Intake:
    """Checks of scenes that come, without files; `None` is a faulty scene."""

    async def check(self, scene: object, labels: SceneLabels) -> CheckedScene:  # noqa: ARG002
        if not isinstance(scene, CheckedScene):
            raise InvalidScenesError(faults=[SceneFault("", "image", "no file", "a picture")])
        return scene

    async def claim(self, scene: CheckedScene) -> ClaimedScenes:  # noqa: ARG002
        return ClaimedScenes()


Source = Callable[[Run], AsyncIterator[CheckedScene | None]]
"""Function that yields the scenes of a run one after another; ``None`` is a faulty one."""


async def render_source(
    clouds: Sequence[FakeCloud],
    source: Source,
    *,
    limits: Limits,
    measurements: Measurements | None = None,
) -> Report:
    """Return the settled report of a run whose scenes come while others render.

    An error of the source ends the run.
    """

    async def scenes() -> AsyncGenerator[CheckedScene | None]:
        async for each in source(run):
            yield each

    async with open_pool(clouds, limits, measurements or Measurements()) as pool:
        spec = RunSpec(
            "bench", [], lambda name: Path(f"{name}.mp4"), intake=_Intake(), source=scenes()
        )
        with suppress(SourceError):
            async with open_run(spec, pool) as run:
                await run.until_done()
        return await run.settled()


class SourceError(Exception):
    """Error that a source raises."""


def run_in_virtual_time(function: Callable[[], Awaitable[T]]) -> T:
    """Run an async function on a loop with a virtual clock, and return its result."""
    return anyio.run(function, backend_options={"loop_factory": VirtualClockLoop})
