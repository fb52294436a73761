"""Cost and quality of renders: CPU seconds, wall time, memory, file size, VMAF and SSIM.

    python benchmarks/render.py                   # this version alone
    python benchmarks/render.py --against DIR     # and the renderer of another checkout
    python benchmarks/render.py --peer            # and the public image's code, zoompan, MoviePy

Four scenarios at 1080p: a still picture or a slow zoom, with or without subtitles. Every program
renders the same files in turn, three times each, in new processes. The output has medians, and the
spread of the CPU seconds (highest over lowest, minus 1). Exits with 1 if a goal is missed.

Cost. CPU is user plus system of a process and everything that it waited for (`os.wait4`). Memory
is the peak of the process tree; pages that processes share count once (PSS). "Others" is the part
of all cores that other processes used during the worst run: results with more than 6 % are not
valid, and are listed. Compare ratios of one run of this benchmark, not seconds of several.

``--against DIR`` takes a clean git worktree of the version to compare with, for example that of
the last one that used an ffmpeg: ``git worktree add --detach DIR f760254``. It is installed with
its dependencies in an environment in the cache folder, and started as its service starts it.

``--peer`` takes PyPI ``video-generation-api``, unmodified, through its own
``/create_video_onestep``, which needs ``ffmpeg`` and ``ffprobe`` on the path. Its row contains its
imports, its application, and the base64 of the request. Ours is the render process alone: the HTTP,
hashes and unpacking (a process of about 0.2 CPU seconds) of a one-step request are not counted.
Some of its still videos are longer than the audio; the column "frames" shows it, and the CPU
seconds of these frames are counted. Every program that uses an ffmpeg gets the one of the path,
except that the peer's zooms use an older one, which its pinned packages contain. Without ``--peer``
it is the one of the wheel imageio-ffmpeg, which the peer cannot use.

Quality, with ``--against``: five pictures of different kinds, and all frames of each video. Ideal
frames are exact parts of the RGB picture, enlarged by Pillow's Lanczos kernel, and converted to YUV
once; the decoded planes are compared with them directly. Where a version draws subtitles, the ideal
frames contain its own text, because the versions draw text differently by design: what is measured
is what the encoder loses of it. The text comes from two lossless videos of the version, with and
without subtitles; where they differ, there is text. The area of the text is also scored alone.
With ``--peer``, the videos of the zoom on the benchmark's picture are scored, each against what the
program means to show: BT.601 where it does not convert with BT.709, and the peer's own centre.

``--share`` renders each scene once more and measures the CPU seconds inside the calls of libx264.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image
from renders import costs, goals, quality, renderers
from renders.costs import Row, Side
from renders.environments import PROGRAMS
from renders.inputs import EFFECTS_ONLY, FULL_FEATURED, SCENARIOS, Inputs, Scenario, make_inputs
from renders.peer import peer
from renders.pictures import PHOTO_HINT, make_pictures
from renders.tools import Zoompan, moviepy

Scene = tuple[int, Scenario]

NAMES = {scenario.name: scenario for scenario in SCENARIOS}
ALL: tuple[Scene, ...] = tuple((seconds, one) for seconds in (10, 30) for one in SCENARIOS)
WITH_GOALS: tuple[Scene, ...] = tuple(
    (seconds, NAMES[name]) for name, seconds in sorted(goals.AGAINST, key=lambda key: key[1])
)


class Benchmark:
    """Measurements in a temporary folder; inputs of each length are made once."""

    def __init__(self, said: argparse.Namespace, work: Path) -> None:
        self._said = said
        self._work = work
        self._inputs: dict[int, Inputs] = {}
        self._ours = renderers.ours()

    def run(self) -> list[goals.Verdict]:
        if self._said.against:
            return [*self._against(renderers.of_checkout(self._said.against))]
        if self._said.peer:
            return [*self._peer()]
        return [costs.judge_peak(self._costs([self._ours], self._scenes(ALL)))]

    def _against(self, other: renderers.Renderer) -> Iterator[goals.Verdict]:
        sides = [self._ours, other]
        if not self._said.no_costs:
            rows = self._costs(sides, self._scenes(WITH_GOALS))
            yield from costs.judge_against(rows, other.name)
            yield costs.judge_peak(rows)
        if not self._said.no_quality:
            yield from quality.judge(self._quality(sides))

    def _peer(self) -> Iterator[goals.Verdict]:
        PROGRAMS.use_system()
        public = peer()
        scenes = self._scenes(ALL)
        rows = self._costs([self._ours, public], scenes)
        if not self._said.no_tools:
            shortest = min(seconds for seconds, _ in scenes)
            zooms = [(shortest, one) for one in (EFFECTS_ONLY, FULL_FEATURED)]
            tools: list[Side] = [self._ours, Zoompan(), Zoompan(8000), moviepy()]
            self._costs(tools, zooms)
            if not self._said.no_quality:
                self._score_zoom([*tools, public], shortest)
        yield from costs.judge_peer(rows, public.name)
        yield costs.judge_peak(rows)

    def _scenes(self, default: Sequence[Scene]) -> Sequence[Scene]:
        seconds = self._said.seconds
        return [(each, one) for each in seconds for one in SCENARIOS] if seconds else default

    def _made(self, seconds: int) -> Inputs:
        if seconds not in self._inputs:
            folder = self._work / f"inputs-{seconds}"
            folder.mkdir()
            self._inputs[seconds] = make_inputs(folder, seconds)
        return self._inputs[seconds]

    def _costs(self, sides: Sequence[Side], scenes: Sequence[Scene]) -> list[Row]:
        work = Path(tempfile.mkdtemp(dir=self._work))
        costs.warm_up(sides, self._made(1), work)
        print(f"\n{costs.HEADER}", flush=True)
        rows: list[Row] = []
        for seconds, scenario in scenes:
            inputs = self._made(seconds)
            rows.append(costs.take_turns(sides, scenario, inputs, self._said.rounds, work))
            print(*rows[-1].lines(), sep="\n", flush=True)
            if self._said.share:
                self._share(scenario, inputs, work)
        if loud := costs.noisy(rows):
            print(f"not valid, because other processes used the cores: {', '.join(loud)}")
        return rows

    def _share(self, scenario: Scenario, inputs: Inputs, work: Path) -> None:
        folder = work / f"share-{scenario.name}-{inputs.seconds}"
        share = self._ours.encoder_share(scenario, inputs, folder)
        print("  encoder's share: " + ("not measurable" if share is None else f"{share:.0%}"))

    def _quality(self, sides: Sequence[renderers.Renderer]) -> list[quality.Scored]:
        pictures = make_pictures(self._said.photo)
        if not self._said.photo:
            print(f"\n{PHOTO_HINT}")
        chosen = {name: pictures[name] for name in self._said.pictures or pictures}
        inputs = self._made(self._said.quality_seconds)
        test = quality.QualityTest(sides, inputs, self._work / "quality")
        print(f"\nquality of {inputs.seconds} s, {quality.HEADER}", flush=True)
        scored: list[quality.Scored] = []
        for one in test.run(chosen):
            scored.append(one)
            print(*one.lines(), sep="\n", flush=True)
        return scored

    def _score_zoom(self, sides: Sequence[Side], seconds: int) -> None:
        inputs, work = self._made(seconds), self._work / "zoom"
        videos: list[tuple[Side, Path]] = []
        for number, side in enumerate(sides):
            folder = work / str(number)
            work.mkdir(exist_ok=True)
            side.run(EFFECTS_ONLY, inputs, folder)
            videos.append((side, folder / "video.mp4"))
        print(f"\nquality of {seconds} s, {quality.HEADER}", flush=True)
        with Image.open(inputs.picture) as picture:
            shown = picture.convert("RGB")
        for one in quality.score_videos(shown, videos, EFFECTS_ONLY, inputs, work):
            print(*one.lines(), sep="\n", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cost and quality of renders.")
    compared = parser.add_mutually_exclusive_group()
    compared.add_argument("--against", type=Path, metavar="DIR", help="a clean git worktree")
    compared.add_argument("--peer", action="store_true", help="the public image's code")
    parser.add_argument("--seconds", type=int, nargs="+", help="lengths of audio; default: by goal")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", action="store_true", help="measure the encoder's share too")
    parser.add_argument("--photo", type=Path, help="a photograph of at least 1920x1080")
    parser.add_argument("--pictures", nargs="+", choices=list(make_pictures(None)))
    parser.add_argument("--quality-seconds", type=int, default=10)
    parser.add_argument("--no-costs", action="store_true", help="with --against: quality only")
    parser.add_argument("--no-tools", action="store_true", help="with --peer: no other programs")
    parser.add_argument("--no-quality", action="store_true")
    return parser.parse_args()


def main() -> int:
    said = arguments()
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        verdicts = Benchmark(said, Path(name)).run()
    print("\ngoals", *verdicts, sep="\n")
    return 0 if all(verdict.met for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
