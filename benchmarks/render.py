"""Cost and quality of renders: CPU seconds, wall time, memory, file size, VMAF and SSIM.

    python benchmarks/render.py                   # this version only
    python benchmarks/render.py --against DIR     # also the renderer of another checkout
    python benchmarks/render.py --peer            # also the public image's code, zoompan, MoviePy

Four scenarios at 1080p: a still picture or a slow zoom, with or without subtitles. Every program
renders the same files in turn, three times each, in new processes. The output has medians, and the
spread of the CPU seconds (highest over lowest, minus 1). Exits with 1 if a goal is missed.

Cost. CPU is user plus system of a process and all child processes that it has waited for
(`os.wait4`). Memory is the peak of the process tree; pages that processes share count once (PSS).
"Others" is the part of all cores that other processes used during the worst run: results with more
than 6 % are not valid and are listed at the end. Compare ratios of one run of this benchmark, not
seconds of several runs.

``--against DIR`` takes a clean git worktree of the version to compare with, for example that of
the last one whose B pictures are all from libx264: ``git worktree add --detach DIR ae2d394``. It
is installed with its dependencies in an environment in the cache folder, and started as its
service starts it. Each of eight pictures is rendered in each scenario, and goals are for the mean
of the pictures. ``--photos`` is the folder with the photographs among them.

``--peer`` measures the code of the public image: PyPI ``video-generation-api``, unmodified, called
through its ``/create_video_onestep``. It needs ``ffmpeg`` and ``ffprobe`` on the path. Its row
contains its imports, its application, and the base64 of the request. Our row is the render process
only: HTTP, hashes and the unpacking of a onestep request (a process of about 0.2 CPU seconds) are
not counted. Some still videos of the public image are longer than the audio, as the column "frames"
shows; the CPU seconds of the additional frames are counted. All programs that use an ffmpeg get the
one of the path, except that the zooms of the public image use an older one, which its pinned
packages contain. Without ``--peer``, it is the ffmpeg of the wheel imageio-ffmpeg, which the public
image's code cannot use.

Quality, with ``--against``: all frames of zooms of the same pictures. Ideal frames are exact parts
of the RGB picture, enlarged by Pillow's Lanczos kernel, and converted to YUV once; the decoded
planes are compared with them directly. Where a version draws subtitles, the ideal frames contain
its own text, because the versions draw text differently by design. The scores therefore show what
the encoder loses of the text. The text comes from two lossless videos of the version, with and
without subtitles: it is where they differ. The area of the text is also scored alone. "Step" is
the largest change of the edge energy from a frame to the next one, as at a key frame that is
sharper than the pictures before it. With ``--peer``, the zoom videos of the benchmark's picture are
scored, each against ideal frames with the settings of its program: BT.601 if it does not convert
with BT.709, and the public image's centre of the zoom.

``--share`` renders each scene once more and measures the CPU seconds inside the calls of libx264.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from PIL import Image
from renders import costs, goals, quality, renderers
from renders.costs import Program, Row
from renders.environments import FFMPEG_PATHS
from renders.inputs import EFFECTS_ONLY, FULL_FEATURED, SCENARIOS, Inputs, Scenario, make_inputs
from renders.other_programs import Zoompan, moviepy
from renders.pictures import GENERATED, PHOTOS_HINT, make_pictures
from renders.public_image import public_image

Scene = tuple[int, Scenario]
"""Length of the audio in seconds, and scenario."""


class Benchmark:
    """Measurements in a temporary folder. Inputs of each length are made once."""

    def __init__(self, arguments: argparse.Namespace, work: Path) -> None:
        self._arguments = arguments
        self._work = work
        self._inputs: dict[int, Inputs] = {}
        self._ours = renderers.ours()

    def run(self) -> list[goals.Verdict]:
        if self._arguments.against:
            return [*self._against(renderers.of_checkout(self._arguments.against))]
        if self._arguments.peer:
            return [*self._peer()]
        return [costs.judge_peak(self._costs([self._ours], self._scenes()))]

    def _against(self, other: renderers.Renderer) -> Iterator[goals.Verdict]:
        names = self._arguments.pictures or GENERATED
        pictures = make_pictures(self._arguments.photos, names, self._work)
        if not self._arguments.photos:
            print(f"\n{PHOTOS_HINT}")
        versions = [self._ours, other]
        if not self._arguments.no_costs:
            rows = self._costs(versions, self._scenes(), pictures)
            yield from costs.judge_against(rows, other.name)
            yield costs.judge_peak(rows)
        if not self._arguments.no_quality:
            scores = self._quality(versions, pictures)
            yield from quality.judge(scores, self._arguments.quality_seconds)

    def _peer(self) -> Iterator[goals.Verdict]:
        FFMPEG_PATHS.use_system()
        public = public_image()
        scenes = self._scenes()
        rows = self._costs([self._ours, public], scenes)
        if not self._arguments.no_tools:
            shortest = min(seconds for seconds, _ in scenes)
            zooms = [(shortest, scenario) for scenario in (EFFECTS_ONLY, FULL_FEATURED)]
            programs: list[Program] = [self._ours, Zoompan(), Zoompan(8000), moviepy()]
            self._costs(programs, zooms)
            if not self._arguments.no_quality:
                self._score_zooms([*programs, public], shortest)
        yield from costs.judge_public_image(rows, public.name)
        yield costs.judge_peak(rows)

    def _scenes(self) -> Sequence[Scene]:
        return tuple(product(self._arguments.seconds, SCENARIOS))

    def _inputs_of(self, seconds: int) -> Inputs:
        if seconds not in self._inputs:
            folder = self._work / f"inputs-{seconds}"
            folder.mkdir()
            self._inputs[seconds] = make_inputs(folder, seconds)
        return self._inputs[seconds]

    def _costs(
        self,
        programs: Sequence[Program],
        scenes: Sequence[Scene],
        pictures: Mapping[str, Path] | None = None,
    ) -> list[Row]:
        work = Path(tempfile.mkdtemp(dir=self._work))
        costs.warm_up(programs, self._inputs_of(1), work)
        print(f"\n{costs.HEADER}", flush=True)
        rows: list[Row] = []
        for seconds, scenario in scenes:
            made = self._inputs_of(seconds)
            for name, picture in (pictures or {"": made.picture}).items():
                inputs, rounds = made._replace(picture=picture), self._arguments.rounds
                row = costs.take_turns(programs, scenario, inputs, rounds, work)
                rows.append(row._replace(picture=name))
                print(*rows[-1].lines(), sep="\n", flush=True)
                if self._arguments.share:
                    self._print_encoder_share(scenario, inputs, work / "share")
        if invalid := costs.invalid_rows(rows):
            print(f"not valid, because other processes used the cores: {', '.join(invalid)}")
        return rows

    def _print_encoder_share(self, scenario: Scenario, inputs: Inputs, folder: Path) -> None:
        share = self._ours.encoder_share(scenario, inputs, folder)
        shutil.rmtree(folder)
        print(f"  encoder's share of the CPU seconds: {share:.0%}")

    def _quality(
        self, versions: Sequence[renderers.Renderer], pictures: Mapping[str, Path]
    ) -> list[quality.VideoScore]:
        inputs = self._inputs_of(self._arguments.quality_seconds)
        test = quality.QualityTest(versions, inputs, self._work / "quality")
        print(f"\nquality of {inputs.seconds} s, {quality.HEADER}", flush=True)
        scores: list[quality.VideoScore] = []
        for score in test.run(pictures):
            scores.append(score)
            print(*score.lines(), sep="\n", flush=True)
        return scores

    def _score_zooms(self, programs: Sequence[Program], seconds: int) -> None:
        inputs, work = self._inputs_of(seconds), self._work / "zoom"
        videos: list[tuple[Program, Path]] = []
        for number, program in enumerate(programs):
            folder = work / str(number)
            work.mkdir(exist_ok=True)
            program.run(EFFECTS_ONLY, inputs, folder)
            videos.append((program, folder / "video.mp4"))
        print(f"\nquality of {seconds} s, {quality.HEADER}", flush=True)
        with Image.open(inputs.picture) as picture:
            rgb = picture.convert("RGB")
        for score in quality.score_videos(rgb, videos, EFFECTS_ONLY, inputs, work):
            print(*score.lines(), sep="\n", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cost and quality of renders.")
    compared = parser.add_mutually_exclusive_group()
    compared.add_argument("--against", type=Path, metavar="DIR", help="a clean git worktree")
    compared.add_argument("--peer", action="store_true", help="the public image's code")
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 30], help="audio lengths")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", action="store_true", help="measure the encoder's share too")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="photographs, with --against")
    parser.add_argument("--pictures", nargs="+", choices=list(GENERATED))
    parser.add_argument("--quality-seconds", type=int, default=10)
    parser.add_argument("--no-costs", action="store_true", help="with --against: quality only")
    parser.add_argument("--no-tools", action="store_true", help="with --peer: no other programs")
    parser.add_argument("--no-quality", action="store_true")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        verdicts = Benchmark(arguments, Path(name)).run()
    print("\ngoals", *verdicts, sep="\n")
    return 0 if all(verdict.met for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
