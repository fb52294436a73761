"""Runs of the engine alone, with fakes for the cloud and no files, so that time can be virtual."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.run import open_run
from cloudburst.models.limits import READINESS_BACKOFF, Limits, Timeouts
from cloudburst.models.report import Report
from cloudburst.models.scene import CheckedScene, Scene
from cloudburst.models.task import TaskSpec
from cloudburst.testing import FakeCloud, VirtualClockLoop

T = TypeVar("T")
TIMEOUTS = Timeouts(scene=None)
"""Encodes may take an hour here."""


def log_normal(seed: int, number: int, *, middle: float) -> list[float]:
    """Seconds of sound of so many scenes: sigma 1, half of them shorter than the middle."""
    rng = random.Random(seed)
    return [rng.lognormvariate(math.log(middle), 1.0) for _ in range(number)]


def scene(name: str, seconds: float) -> CheckedScene:
    """One without files."""
    files = Scene(name=name, image=Path(f"{name}.png"), audio=Path(f"{name}.mp3"))
    return CheckedScene(scene=files, audio_seconds=seconds, image_bytes=1_000_000)


@asynccontextmanager
async def opened(
    clouds: Sequence[FakeCloud], limits: Limits, measurements: Measurements
) -> AsyncGenerator[WorkerPool]:
    """Open the pool of a client."""
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


async def rendered(
    clouds: Sequence[FakeCloud],
    sounds: Mapping[str, float],
    *,
    limits: Limits,
    measurements: Measurements | None = None,
) -> Report:
    """Return the settled report of a run of scenes with these lengths of audio, by name."""
    scenes = [scene(name, seconds) for name, seconds in sounds.items()]
    async with (
        opened(clouds, limits, measurements or Measurements()) as pool,
        open_run(
            "bench",
            scenes,
            pool,
            to={name: Path(f"{name}.mp4") for name in sounds},
            timeouts=TIMEOUTS,
            limits=limits,
        ) as run,
    ):
        await run.until_done()
        return await run.settled()
    raise AssertionError("unreachable: nobody cancels that scope")


def in_virtual_time(what: Callable[[], Awaitable[T]]) -> T:
    """Its result, in no time."""
    return anyio.run(what, backend_options={"loop_factory": VirtualClockLoop})
