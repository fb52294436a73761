"""Accuracy of ``cloudburst plan`` on this machine, and CPU seconds of single scenes.

    python benchmarks/plan.py [--runs 10] [--work]

The runs are real ones on the local backend, each with 3 to 10 scenes of 2 to 15 s. Every other run
has camera motion, some scenes have subtitles, and pictures have between one and twelve megapixels.
The first three runs are only measured. Each later run is predicted with the code of `cloudburst
plan` from the measurements of the runs before it, and compared with the wall time of its report.
The goal is a median error of 15 % at most. Exits with 1 if it is missed.

``--work`` renders scenes one by one and prints the CPU seconds (user and system) of each render
process, beside the CPU seconds that are assumed for the work of the scene. The constants of
`cloudburst.engine.forecast.scene_work` are from this table.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import NamedTuple

import anyio
from renders.inputs import make_inputs
from renders.pictures import CARTOON, fitted
from renders.processes import Cost, measured

from cloudburst import Client, RenderOptions, Report, Scene, local
from cloudburst.client.backends import can_render_locally
from cloudburst.client.planning import PlanData
from cloudburst.engine.forecast.plan import WorkerKind, default_plan
from cloudburst.engine.forecast.scene_work import scene_work
from cloudburst.inputs.preflight import check_scenes
from cloudburst.models.limits import Limits
from cloudburst.models.performance import NATIVE_CPU_SECONDS_PER_WORK
from cloudburst.models.scene import CheckedScene
from cloudburst.renderer.job import JOB_FILE, JobOptions, RenderJob

GOAL = 0.15
"""Median error of the predicted wall times, at most."""
MAX_AUDIO_SECONDS = 300
"""Length of the longest audio."""
TRAINING_RUNS = 3
"""Number of first runs, which are measured but not compared with a plan."""
PICTURES = {
    "720p": (1280, 720, "png"),
    "1080p": (1920, 1080, "png"),
    "portrait": (1080, 1920, "png"),
    "12 MP": (4000, 3000, "png"),
    "12 MP, JPEG": (4000, 3000, "jpg"),
}
ZOOM: dict[str, object] = {"effects": ("zoom_in",)}
LOOKS: dict[str, dict[str, object]] = {
    "still": {"effects": ()},
    "zoom": ZOOM,
    "motion_search": {**ZOOM, "motion_search": True},
    "fades": {**ZOOM, "fade_in": 1, "fade_out": 1},
    "amount 0.5": {**ZOOM, "motion_amount": 0.5},
    "60 fps": {**ZOOM, "fps": 60},
    "720p": {**ZOOM, "size": "720p"},
    "4k": {**ZOOM, "size": "4k"},
}
"""Options of the scenes whose CPU seconds are measured."""


class Inputs:
    """Input files of scenes: pictures of several sizes, and audio of any length."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_inputs(folder, MAX_AUDIO_SECONDS)
        picture = fitted(CARTOON)  # takes as long as the median of `renders.pictures`
        self.pictures: dict[str, Path] = {}
        for name, (width, height, ending) in PICTURES.items():
            path = folder / f"{width}x{height}.{ending}"
            picture.resize((width, height)).save(path, quality=92)
            self.pictures[name] = path
        self.subtitle = folder / "subtitle.srt"

    def audio(self, seconds: float) -> Path:
        """Return an audio file of this length, made if necessary from the longest audio."""
        path = self.folder / f"{seconds:.2f}.wav"
        if not path.exists():
            longest = (self.folder / "audio.wav").read_bytes()
            size = round(seconds * 44_100) * 2
            header = longest[:4] + (36 + size).to_bytes(4, "little") + longest[8:40]
            path.write_bytes(header + size.to_bytes(4, "little") + longest[44 : 44 + size])
        return path

    def scene(self, name: str, seconds: float, picture: str, *, subtitled: bool) -> Scene:
        return Scene(
            name=name,
            image=self.pictures[picture],
            audio=self.audio(seconds),
            subtitle=self.subtitle if subtitled else None,
        )


class RunInputs(NamedTuple):
    """Scenes and options of a run."""

    scenes: Sequence[Scene]
    options: RenderOptions

    def __str__(self) -> str:
        motion = "moving" if self.options.effects else "still"
        subtitled = sum(scene.subtitle is not None for scene in self.scenes)
        return f"{len(self.scenes):2} scenes, {motion:6}, {subtitled:2} with subtitles"


def draw_runs(inputs: Inputs, number: int) -> Iterator[RunInputs]:
    """Yield runs with random scenes, which are the same each time."""
    rng = random.Random(4)
    for run in range(number):
        subtitles = rng.choice((0.0, 0.5, 1.0))
        scenes = [
            inputs.scene(
                f"s{index}",
                round(rng.uniform(2, 15), 1),
                rng.choice(tuple(PICTURES)),
                subtitled=rng.random() < subtitles,
            )
            for index in range(rng.randint(3, 10))
        ]
        yield RunInputs(scenes, RenderOptions() if run % 2 else RenderOptions(effects=()))


def local_workers() -> WorkerKind:
    """Return the workers of this machine, with the measurements of earlier runs."""
    if not can_render_locally():
        sys.exit("this machine cannot render: pip install 'cloudburst-sdk[local]'")
    return PlanData().local(workers=None).worker_kind


async def render(run: RunInputs, to: Path) -> Report:
    async with Client(local(), options=run.options) as client:
        report = await client.render_all(run.scenes, to=to)
    report.raise_for_failures()
    return report


def compare_plans(inputs: Inputs, folder: Path, number: int) -> bool:
    """Compare plans with runs, and return whether the goal is met."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'run':>4} {'':38} {'predicted':>10} {'actual':>8} {'error':>7} {'load':>5}")
    errors = list[float]()
    runs = draw_runs(inputs, TRAINING_RUNS + number)
    for index, run in enumerate(runs, 1 - TRAINING_RUNS):
        checked = check_scenes(run.scenes, run.options, Limits())
        works = [scene_work(scene) for scene in checked]
        plan = default_plan(works, [local_workers()], max_tasks=1, hour_usd=Limits().hour_usd)
        report = anyio.run(render, run, folder / str(index))
        error = report.wall_seconds / plan.seconds - 1
        if index > 0:
            errors.append(abs(error))
        print(
            f"{index if index > 0 else '':>4} {run!s:38} {plan.seconds:8.1f} s "
            f"{report.wall_seconds:6.1f} s {error:+7.1%} {os.getloadavg()[0]:5.1f}",
            flush=True,
        )
        shutil.rmtree(folder / str(index))
    measured_performance = local_workers().performance
    print(
        f"measured performance: start-up {measured_performance.startup_seconds:.2f} s, "
        f"transfer {measured_performance.transfer_seconds:.2f} s,",
        end=" ",
    )
    print(
        f"encode {measured_performance.seconds_per_scene:.2f} s + "
        f"{measured_performance.seconds_per_work:.3f} × work, "
        f"encode range {measured_performance.encode_range}"
    )
    met = median(errors) <= GOAL
    print(f"{'met   ' if met else 'MISSED'} median error {median(errors):.1%}, goal {GOAL:.0%}")
    return met


def scenes_to_measure() -> Iterator[tuple[int, str, bool, str]]:
    """Yield length, look, whether there are subtitles, and picture."""
    usual, *others = ("1080p", *(name for name in PICTURES if name != "1080p"))
    yield from product((1, 5, 10, 30, 120, 300), ("still", "zoom"), (False, True), (usual,))
    yield from product((10, 30), list(LOOKS)[2:], (False, True), (usual,))
    yield from product((5,), ("still", "zoom"), (False,), others)


def measure_scenes(inputs: Inputs, folder: Path) -> None:
    """Print measured and assumed CPU seconds of single scenes."""
    print(
        f"{'audio s':>7} {'picture':12} {'look':13} {'subtitles':9} {'CPU s':>6} {'wall s':>6} "
        f"{'assumed':>7} {'error':>7}"
    )
    errors, busy = list[float](), list[float]()
    for seconds, look, subtitled, name in scenes_to_measure():
        options = RenderOptions.model_validate(LOOKS[look])
        scene = inputs.scene("s", float(seconds), name, subtitled=subtitled)
        size = inputs.pictures[name].stat().st_size
        work = scene_work(
            CheckedScene(scene=scene, audio_seconds=seconds, image_bytes=size, options=options)
        )
        cost = render_cost(scene, options, folder)
        error = NATIVE_CPU_SECONDS_PER_WORK * work / cost.cpu - 1
        errors.append(abs(error))
        busy.append(cost.cpu / cost.wall)
        print(
            f"{seconds:7} {name:12} {look:13} {'subtitles' if subtitled else '':9} "
            f"{cost.cpu:6.2f} {cost.wall:6.2f} {NATIVE_CPU_SECONDS_PER_WORK * work:7.2f} "
            f"{error:+7.1%}",
            flush=True,
        )
    print(f"median error {median(errors):.1%}; at most {max(busy):.2f} cores busy")


def render_cost(scene: Scene, options: RenderOptions, folder: Path) -> Cost:
    """Return the cost of a render process that renders one scene."""
    folder.mkdir()
    for name, location in scene.files().items():
        shutil.copy(str(location), folder / name)
    job = RenderJob(name="s", options=JobOptions.from_options(options))
    (folder / JOB_FILE).write_text(job.to_json())
    command: list[str | Path] = [sys.executable, "-m", "cloudburst.renderer.render_process", folder]
    cost = measured(command, folder, folder / "video.mp4")
    shutil.rmtree(folder)
    return cost


def main() -> int:
    parser = argparse.ArgumentParser(description="Accuracy of plans on this machine.")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--work", action="store_true", help="measure CPU seconds of single scenes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        os.environ["XDG_STATE_HOME"] = name  # no measurements of other runs
        inputs = Inputs(Path(name))
        if arguments.work:
            measure_scenes(inputs, Path(name) / "job")
            return 0
        return 0 if compare_plans(inputs, Path(name), arguments.runs) else 1


if __name__ == "__main__":
    sys.exit(main())
