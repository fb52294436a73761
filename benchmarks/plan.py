"""Whether runs take as long as ``cloudburst plan`` says, on this machine; and what scenes take.

    python benchmarks/plan.py [--runs 10] [--work]

Real runs on the local backend, each of 3 to 10 scenes of 2 to 15 s: some runs move their pictures
and some do not, some scenes have subtitles, and pictures have from one to twelve megapixels. Three
more runs come first and are only measured; every later run is predicted by the code of `cloudburst
plan` from the measurements of the runs before it, and its report says how long it took. The goal:
the median error is at most 15 %. Exits with 1 if it is missed.

``--work`` renders scenes one by one and prints the CPU seconds (user and system) of the render
process of each, beside those that its work stands for: the constants of
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
from PIL import Image
from renders.inputs import make_inputs
from renders.processes import Cost, measured

from cloudburst import Client, RenderOptions, Report, Scene, local
from cloudburst.cli.plan_candidates import PlanData
from cloudburst.engine.forecast.plan import WorkerKind, default_plan
from cloudburst.engine.forecast.scene_work import scene_work
from cloudburst.models.default_performance import NATIVE_CPU_SECONDS_PER_WORK
from cloudburst.models.limits import Limits
from cloudburst.models.scene import CheckedScene
from cloudburst.preflight import check_scenes
from cloudburst.renderer.job import JOB_FILE, JobOptions, RenderJob

GOAL = 0.15
LONGEST = 120
"""Seconds of the longest audio."""
FIRST = 3
"""Runs of which only figures are wanted."""
PICTURES = {
    "720p": (1280, 720, "png"),
    "1080p": (1920, 1080, "png"),
    "portrait": (1080, 1920, "png"),
    "12 MP": (4000, 3000, "png"),
    "12 MP, JPEG": (4000, 3000, "jpg"),
}


class Inputs:
    """Pictures of every size, and sounds of any length."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_inputs(folder, LONGEST)
        picture = Image.open(folder / "image.png")
        self.pictures: dict[str, Path] = {}
        for name, (width, height, ending) in PICTURES.items():
            path = folder / f"{width}x{height}.{ending}"
            picture.resize((width, height)).save(path, quality=92)
            self.pictures[name] = path
        self.subtitle = folder / "subtitle.srt"

    def sound(self, seconds: float) -> Path:
        """Return a file with the first seconds of the audio."""
        path = self.folder / f"{seconds:.2f}.wav"
        if not path.exists():
            whole = (self.folder / "audio.wav").read_bytes()
            size = round(seconds * 44_100) * 2
            head = whole[:4] + (36 + size).to_bytes(4, "little") + whole[8:40]
            path.write_bytes(head + size.to_bytes(4, "little") + whole[44 : 44 + size])
        return path

    def scene(self, name: str, seconds: float, picture: str, *, subtitled: bool) -> Scene:
        return Scene(
            name=name,
            image=self.pictures[picture],
            audio=self.sound(seconds),
            subtitle=self.subtitle if subtitled else None,
        )


class Mix(NamedTuple):
    scenes: Sequence[Scene]
    options: RenderOptions

    def __str__(self) -> str:
        moves = "moving" if self.options.effects else "still"
        subtitled = sum(scene.subtitle is not None for scene in self.scenes)
        return f"{len(self.scenes):2} scenes, {moves:6}, {subtitled:2} with subtitles"


def mixes(inputs: Inputs, number: int) -> Iterator[Mix]:
    rng = random.Random(4)
    for run in range(number):
        subtitles = rng.choice((0.0, 0.5, 1.0))
        scenes = [
            inputs.scene(
                f"s{place}",
                round(rng.uniform(2, 15), 1),
                rng.choice(tuple(PICTURES)),
                subtitled=rng.random() < subtitles,
            )
            for place in range(rng.randint(3, 10))
        ]
        yield Mix(scenes, RenderOptions() if run % 2 else RenderOptions(effects=()))


def here() -> WorkerKind:
    """Return this machine with the measurements of earlier runs."""
    known = PlanData().local(workers=None)
    if known is None:
        sys.exit("this machine cannot render: pip install 'cloudburst-sdk[local]'")
    return known.worker_kind


async def rendered(mix: Mix, to: Path) -> Report:
    async with Client(local(), options=mix.options) as client:
        report = await client.render_all(mix.scenes, to=to)
    report.raise_for_failures()
    return report


def against_reality(inputs: Inputs, folder: Path, number: int) -> bool:
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'run':>4} {'':38} {'predicted':>10} {'actual':>8} {'off':>7} {'load':>5}")
    off = list[float]()
    for run, mix in enumerate(mixes(inputs, FIRST + number), 1 - FIRST):
        checked = check_scenes(mix.scenes, mix.options, Limits())
        works = [scene_work(scene) for scene in checked]
        plan = default_plan(works, [here()], max_tasks=1)
        report = anyio.run(rendered, mix, folder / str(run))
        error = report.wall_seconds / plan.seconds - 1
        if run > 0:
            off.append(abs(error))
        print(
            f"{run if run > 0 else '':>4} {mix!s:38} {plan.seconds:8.1f} s "
            f"{report.wall_seconds:6.1f} s {error:+7.1%} {os.getloadavg()[0]:5.1f}",
            flush=True,
        )
        shutil.rmtree(folder / str(run))
    pace = here().performance
    print(
        f"learned: start {pace.startup_seconds:.2f} s, moving {pace.transfer_seconds:.2f} s, ",
        end="",
    )
    print(
        f"encode {pace.seconds_per_scene:.2f} s + {pace.seconds_per_work:.3f} × work, "
        f"within {pace.encode_range}"
    )
    met = median(off) <= GOAL
    print(f"{'met   ' if met else 'MISSED'} off by {median(off):.1%} (median), goal {GOAL:.0%}")
    return met


def works_of_scenes(inputs: Inputs, folder: Path) -> None:
    print(
        f"{'seconds':>7} {'picture':12} {'':6} {'':9} {'CPU':>6} {'wall':>6} {'said':>6} {'off':>7}"
    )
    off, busy = list[float](), list[float]()
    for seconds, effects, subtitled in product((1, 5, 30, 120), ((), ("zoom_in",)), (False, True)):
        for name, picture in inputs.pictures.items():
            if (subtitled or seconds > 5) and name != "1080p":
                continue
            options = RenderOptions.model_validate({"effects": effects})
            scene = inputs.scene("s", float(seconds), name, subtitled=subtitled)
            size = picture.stat().st_size
            weight = scene_work(
                CheckedScene(scene=scene, audio_seconds=seconds, image_bytes=size, options=options)
            )
            cost = measured_child(scene, options, folder)
            error = NATIVE_CPU_SECONDS_PER_WORK * weight / cost.cpu - 1
            off.append(abs(error))
            busy.append(cost.cpu / cost.wall)
            moves, has = "moving" if effects else "still", "subtitles" if subtitled else ""
            print(
                f"{seconds:7} {name:12} {moves:6} {has:9} {cost.cpu:6.2f} {cost.wall:6.2f} "
                f"{NATIVE_CPU_SECONDS_PER_WORK * weight:6.2f} {error:+7.1%}",
                flush=True,
            )
    print(f"off by {median(off):.1%} (median); {max(busy):.2f} cores busy at most")


def measured_child(scene: Scene, options: RenderOptions, folder: Path) -> Cost:
    folder.mkdir()
    for name, path in scene.files().items():
        shutil.copy(path, folder / name)
    job = RenderJob(name="s", options=JobOptions.from_options(options))
    (folder / JOB_FILE).write_text(job.to_json())
    command: list[str | Path] = [sys.executable, "-m", "cloudburst.renderer.render_process", folder]
    cost = measured(command, folder, folder / "video.mp4")
    shutil.rmtree(folder)
    return cost


def main() -> int:
    parser = argparse.ArgumentParser(description="Whether runs take as long as was said.")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--work", action="store_true", help="what scenes take, one by one")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        os.environ["XDG_STATE_HOME"] = name  # figures of other runs are not wanted
        inputs = Inputs(Path(name))
        if said.work:
            works_of_scenes(inputs, Path(name) / "job")
            return 0
        return 0 if against_reality(inputs, Path(name), said.runs) else 1


if __name__ == "__main__":
    sys.exit(main())
