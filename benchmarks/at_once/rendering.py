"""A set of mixed scenes, rendered by the service's own queue."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import anyio
from renders.inputs import SCENARIOS
from tinytag import TinyTag

from at_once.watching import Cores
from cloudburst.models.options import RenderOptions
from cloudburst.renderer.job import AUDIO, IMAGE, JOB_FILE, SUBTITLE, JobOptions, RenderJob
from cloudburst.service.config import ServiceSettings
from cloudburst.service.jobs import Job, Jobs
from cloudburst.service.subprocesses import Subprocesses

STORY = Path(__file__).parents[2] / "examples" / "story"
LOOKS = tuple(SCENARIOS[place] for place in (3, 0, 2, 1))


class Scene(NamedTuple):
    job: RenderJob
    files: Mapping[str, Path]


def make_set(number: int) -> list[Scene]:
    """Longest sound first, each look as often among the long ones as among the short."""
    story = json.loads((STORY / "story.json").read_text())
    lengths = {one["name"]: TinyTag.get(STORY / one["audio"]).duration or 0.0 for one in story}
    chosen = [story[place % len(story)] for place in range(number)]
    chosen.sort(key=lambda one: -lengths[one["name"]])
    scenes = []
    for place, one in enumerate(chosen):
        look = LOOKS[place % len(LOOKS)]
        files = {IMAGE: STORY / one["image"], AUDIO: STORY / one["audio"]}
        if look.subtitled:
            files[SUBTITLE] = STORY / one["subtitle"]
        options = RenderOptions.model_validate({"effects": look.effects})
        scenes.append(
            Scene(RenderJob(name=one["name"], options=JobOptions.from_options(options)), files)
        )
    return scenes


def put(scene: Scene, folder: Path) -> None:
    folder.mkdir()
    for name, path in scene.files.items():
        shutil.copy(path, folder / name)
    (folder / JOB_FILE).write_text(scene.job.to_json())


class End(NamedTuple):
    at: float
    busy: float


async def render_all(folder: Path, scenes: Sequence[Scene], slots: int, cores: Cores) -> list[End]:
    """Render all of them, and tell how long the cores had worked when each was done."""
    ends: list[End] = []

    async def follow(job: Job) -> None:
        await job.ended.wait()
        ends.append(End(cores.seconds(), cores.busy()))
        if job.state != "done":
            sys.exit(f"{job.folder.name}: {job.error}")

    async with anyio.create_task_group() as tasks:
        jobs = Jobs(tasks, Subprocesses(), ServiceSettings(encoders=slots, waiting=len(scenes)))
        for place in range(len(scenes)):
            job = Job(str(place), folder / str(place))
            jobs.submit(job)
            tasks.start_soon(follow, job)
    return ends
