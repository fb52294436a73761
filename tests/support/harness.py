"""The engine without a client: no files, no threads, so that time can be virtual."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.lowlevel

from cloudburst.concurrency import collapse_single
from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.forecast.scene_work import scene_work
from cloudburst.engine.open_run import open_run
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.records import RecoveredState
from cloudburst.engine.run import ClaimedScenes, RunSpec
from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.models.limits import READINESS_BACKOFF, Limits, Timeouts
from cloudburst.models.options import RenderOptions
from cloudburst.models.performance import Sample
from cloudburst.models.scene import CheckedScene, Scene, fold_name
from cloudburst.models.task import TaskSpec

# With these options, a second is a second of work.
SEARCHED = RenderOptions(motion_search=True)


def checked(name: str, seconds: float = 1.0) -> CheckedScene:
    scene = Scene(name=name, image=Path(f"{name}.png"), audio=Path(f"{name}.mp3"))
    return CheckedScene(scene=scene, audio_seconds=seconds, image_bytes=1000, options=SEARCHED)


def working(name, seconds):
    """A scene that is so many seconds of work."""
    first, second = (scene_work(checked(name, sound)) for sound in (1, 2))
    return checked(name, 1 + (seconds - first) / (second - first))


def known(*clouds, ratio=1.0, starts=True):
    """Figures as if the clouds had been measured: an encode takes its work times ``ratio``."""
    measurements = Measurements()
    for cloud in clouds:
        if starts:
            boot = cloud.usual_boot if callable(cloud.boot) else cloud.boot
            measurements.add(Sample(kind=cloud.name, measure="startup", seconds=boot))
        moving = cloud.upload + cloud.download
        measurements.add(Sample(kind=cloud.name, measure="transfer", seconds=moving))
        for seconds in (5, 10, 20, 60) * 25:
            taken = ratio * seconds
            sample = Sample(kind=cloud.name, measure="encode", seconds=taken, work=seconds)
            measurements.add(sample)
    return measurements


@dataclass
class Intake:
    """The client's checks and claims of names, or scenes, without files; an error is refused."""

    earlier: RecoveredState | None = None

    async def check(self, scene, labels):
        await anyio.lowlevel.checkpoint()
        if isinstance(scene, Exception):
            raise scene
        scene = checked(scene) if isinstance(scene, str) else scene
        if fold_name(scene.scene.name) in labels:
            raise InvalidScenesError(
                faults=[SceneFault(scene.scene.name, "name", "used before", "a unique name")]
            )
        return scene

    async def claim(self, scene):
        await anyio.lowlevel.checkpoint()
        return ClaimedScenes(self.earlier)


@dataclass
class Engine:
    pool: WorkerPool

    def open(self, scenes, name="run", journal=None, *, earlier=None, **more):
        """Open a run; ``more`` are other fields of `RunSpec`."""
        scenes = [checked(scene) if isinstance(scene, str) else scene for scene in scenes]
        more = {"to": lambda scene: Path(f"{scene}.mp4")} | more
        spec = RunSpec(name, scenes, claimed=ClaimedScenes(earlier), journal=journal, **more)
        return open_run(spec, self.pool)

    def open_source(self, source=None, name="run", *, earlier=None, **more):
        """Open a run whose scenes come from a source, or by `Run.submit`."""
        more = {"intake": Intake(earlier), "source": source} | more
        return self.open([], name, earlier=earlier, **more)

    async def render(self, scenes, name="run", journal=None):
        async with self.open(scenes, name, journal) as run:
            return await run.until_done()


@asynccontextmanager
async def engine(*clouds, timeouts=None, limits=None, backoff=READINESS_BACKOFF, measurements=None):
    timeouts, limits = timeouts or Timeouts(), limits or Limits()
    with collapse_single():
        async with AsyncExitStack() as stack:
            backends = [
                await stack.enter_async_context(cloud.backend(timeouts, TaskSpec().tier))
                for cloud in clouds
            ]
            tasks = await stack.enter_async_context(anyio.create_task_group())
            pool = WorkerPool(
                tasks,
                backends,
                spec=TaskSpec(),
                timeouts=timeouts,
                limits=limits,
                backoff=backoff,
                measurements=measurements,
            )
            try:
                yield Engine(pool)
            finally:
                pool.close()
                tasks.cancel_scope.cancel()
