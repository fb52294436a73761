"""Renders of a set of mixed scenes through the queue of the render service."""

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

from cloudburst.models.options import RenderOptions
from cloudburst.renderer.job import AUDIO, IMAGE, JOB_FILE, SUBTITLE, JobOptions, RenderJob
from cloudburst.service.config import ServiceSettings
from cloudburst.service.jobs import ServiceJob, ServiceJobs
from cloudburst.service.subprocesses import Subprocesses
from service_queue.monitors import CoreMonitor

STORY = Path(__file__).parents[2] / "examples" / "story"
SCENARIO_ORDER = tuple(SCENARIOS[index] for index in (3, 0, 2, 1))
"""Scenarios of consecutive scenes."""


class Scene(NamedTuple):
    """Job of a scene, and its input files by name in the folder of the job."""

    job: RenderJob
    files: Mapping[str, Path]


def make_set(number: int) -> list[Scene]:
    """Return scenes of the story, longest audio first, with the four scenarios in turn."""
    story = json.loads((STORY / "story.json").read_text())
    lengths = {
        entry["name"]: TinyTag.get(STORY / entry["audio"]).duration or 0.0 for entry in story
    }
    chosen = [story[index % len(story)] for index in range(number)]
    chosen.sort(key=lambda entry: -lengths[entry["name"]])
    scenes = []
    for index, entry in enumerate(chosen):
        scenario = SCENARIO_ORDER[index % len(SCENARIO_ORDER)]
        files = {IMAGE: STORY / entry["image"], AUDIO: STORY / entry["audio"]}
        if scenario.subtitled:
            files[SUBTITLE] = STORY / entry["subtitle"]
        options = RenderOptions.model_validate({"effects": scenario.effects})
        job = RenderJob(name=entry["name"], options=JobOptions.from_options(options))
        scenes.append(Scene(job, files))
    return scenes


def make_job_folder(scene: Scene, folder: Path) -> None:
    folder.mkdir()
    for name, path in scene.files.items():
        shutil.copy(path, folder / name)
    (folder / JOB_FILE).write_text(scene.job.to_json())


class JobEnd(NamedTuple):
    """End of a job."""

    at: float
    """Seconds since the start of the core monitor."""
    busy: float
    """Seconds for which the cores had been busy until then, in seconds of one core."""


async def render_all(
    folder: Path, scenes: Sequence[Scene], slots: int, cores: CoreMonitor
) -> list[JobEnd]:
    """Render all scenes with this number of encoder slots, and return the ends of their jobs."""
    ends: list[JobEnd] = []

    async def follow(job: ServiceJob) -> None:
        await job.ended.wait()
        ends.append(JobEnd(cores.seconds(), cores.busy()))
        if job.state != "done":
            sys.exit(f"{job.folder.name}: {job.error}")

    async with anyio.create_task_group() as tasks:
        jobs = ServiceJobs(
            tasks, Subprocesses(), ServiceSettings(encoders=slots, waiting=len(scenes))
        )
        for index in range(len(scenes)):
            job = ServiceJob(str(index), folder / str(index))
            jobs.submit(job)
            tasks.start_soon(follow, job)
    return ends
