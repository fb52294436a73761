"""Quality of videos of some pictures, compared with ideal frames."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from PIL import Image

from renders import goals
from renders.costs import Program
from renders.frames import Frame, IdealClip, count_frames, with_text
from renders.inputs import EFFECTS_ONLY, FULL_FEATURED, Inputs, Scenario
from renders.renderers import Renderer
from renders.scoring import Quality, Score, compare, largest_edge_step

HEADER = (
    f"{'':42} {'VMAF':>6} {'end':>6} {'worst':>6} {'SSIM':>7} {'end':>7} {'worst':>7}"
    f" {'step':>5} {'MB':>6}"
)


class VideoScore(NamedTuple):
    """Quality and size of one video."""

    picture: str
    scenario: Scenario
    program: str
    areas: Mapping[str, Quality]
    step: float
    """Largest change of the edge energy from a frame to the next one; the ideal one has 1."""
    size: float
    """Size of the file, in megabytes."""

    def lines(self) -> Iterator[str]:
        for area, (vmaf, ssim) in self.areas.items():
            title = ", ".join(filter(None, (self.picture, self.scenario.name, self.program)))
            title += ", text" if area == "text" else ""
            rest = f"{self.step:5.1%} {self.size:6.2f}" if area == "whole" else ""
            yield f"{title:42} {_cells(vmaf, '6.2f')} {_cells(ssim, '7.4f')} {rest}"


def _cells(score: Score, format_spec: str) -> str:
    return " ".join(format(value, format_spec) for value in score)


class QualityTest:
    """Comparison of zooms of two versions of the renderer, with the same audio and subtitles."""

    def __init__(self, versions: Sequence[Renderer], inputs: Inputs, work: Path) -> None:
        self._versions = versions
        self._inputs = inputs
        self._work = work

    def run(self, pictures: Mapping[str, Path]) -> Iterator[VideoScore]:
        """Yield the scores of all pictures, with and without subtitles, of both versions."""
        for name, path in pictures.items():
            inputs = self._inputs._replace(picture=path)
            self._work.mkdir()
            file, settings = self._work / "ideal.yuv", self._versions[0].ideal_settings
            with Image.open(path) as picture:
                ideal = IdealClip(picture, inputs.frames, settings, zoom=True, file=file)
            for scenario in (EFFECTS_ONLY, FULL_FEATURED):
                for version in self._versions:
                    yield self._score(name, ideal, scenario, version, inputs)
            shutil.rmtree(self._work)  # lossless videos of noise have a gigabyte each

    def _score(
        self,
        picture: str,
        ideal: IdealClip,
        scenario: Scenario,
        version: Renderer,
        inputs: Inputs,
    ) -> VideoScore:
        folder = self._work / f"{version.name}-{scenario.name}"
        cost = version.run(scenario, inputs, folder)
        frames: Iterable[Frame] = ideal
        if scenario.subtitled:
            subtitled = version.run_lossless(scenario, inputs, folder / "text")
            plain_scenario = scenario._replace(subtitled=False)
            plain = version.run_lossless(plain_scenario, inputs, folder / "plain")
            frames = with_text(ideal, subtitled, plain)
        video = folder / "video.mp4"
        areas = compare(video, frames, ideal.frames, text=scenario.subtitled)
        step = largest_edge_step(video, ideal)
        return VideoScore(picture, scenario, version.name, areas, step, cost.size)


def judge(scores: Sequence[VideoScore], seconds: int) -> Iterator[goals.Verdict]:
    """Yield the verdicts on the quality of our videos, compared with the other renderer."""
    gains: dict[str, list[float]] = {}
    for ours, other in zip(scores[0::2], scores[1::2], strict=True):
        where = f"{ours.picture}, {ours.scenario.name}"
        for area, quality in ours.areas.items():
            gain = quality.vmaf.mean - other.areas[area].vmaf.mean
            yield goals.at_least(f"{where}: VMAF, {area}, more", gain, -goals.VMAF_LOSS)
            if ours.picture != "noise":
                gains.setdefault(f"{ours.scenario.name}: VMAF, {area}, more", []).append(gain)
        if seconds <= goals.EDGE_STEP_SECONDS:
            yield goals.at_most(f"{where}: largest step of edges", ours.step, goals.EDGE_STEP)
    for text, values in gains.items():
        yield goals.at_least(f"mean of {len(values)} pictures, {text}", mean(values), 0)


def score_videos(
    picture: Image.Image,
    videos: Sequence[tuple[Program, Path]],
    scenario: Scenario,
    inputs: Inputs,
    work: Path,
) -> Iterator[VideoScore]:
    """Yield the scores of videos without subtitles.

    The ideal frames of a video have the settings of its program.
    """
    for program, video in videos:
        # Some videos of the public image have more frames than the audio, which are not scored.
        frames = min(inputs.frames, count_frames(video))
        zoom = bool(scenario.effects)
        settings, file = program.ideal_settings, work / "ideal.yuv"
        ideal = IdealClip(picture, inputs.frames, settings, zoom=zoom, file=file)
        areas = compare(video, ideal, frames, text=False)
        size = video.stat().st_size / 1e6
        yield VideoScore("", scenario, program.name, areas, largest_edge_step(video, ideal), size)
