"""Quality of videos of five pictures, compared with ideal frames."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from renders import goals
from renders.costs import Program
from renders.frames import Frame, IdealClip, count_frames, with_text
from renders.inputs import SCENARIOS, Inputs, Scenario
from renders.renderers import Renderer
from renders.scoring import Quality, Score, compare

HEADER = (
    f"{'':42} {'VMAF':>6} {'end':>6} {'worst':>6} {'SSIM':>7} {'end':>7} {'worst':>7} {'MB':>6}"
)


class VideoScore(NamedTuple):
    """Quality and size of one video."""

    picture: str
    scenario: Scenario
    program: str
    areas: Mapping[str, Quality]
    size: float
    """Size of the file, in megabytes."""

    def lines(self) -> Iterator[str]:
        for area, (vmaf, ssim) in self.areas.items():
            title = ", ".join(filter(None, (self.picture, self.scenario.name, self.program)))
            title += ", text" if area == "text" else ""
            size = f"{self.size:6.2f}" if area == "whole" else ""
            yield f"{title:42} {_cells(vmaf, '6.2f')} {_cells(ssim, '7.4f')} {size}"


def _cells(score: Score, format_spec: str) -> str:
    return " ".join(format(value, format_spec) for value in score)


class QualityTest:
    """Comparison of two versions of the renderer on pictures, with the same audio and subtitles."""

    def __init__(self, versions: Sequence[Renderer], inputs: Inputs, work: Path) -> None:
        self._versions = versions
        self._inputs = inputs
        self._work = work

    def run(self, pictures: Mapping[str, Callable[[], Image.Image]]) -> Iterator[VideoScore]:
        """Yield the scores of all pictures, scenarios and versions."""
        for name, make in pictures.items():
            picture = make()
            picture.save(self._inputs.picture)
            self._work.mkdir()
            for moving in (False, True):
                file = self._work / "ideal.yuv"
                settings = self._versions[0].ideal_settings
                ideal = IdealClip(picture, self._inputs.frames, settings, zoom=moving, file=file)
                for scenario in (s for s in SCENARIOS if bool(s.effects) == moving):
                    for version in self._versions:
                        yield self._score(name, ideal, scenario, version)
            shutil.rmtree(self._work)  # lossless videos of noise have a gigabyte each

    def _score(
        self, picture: str, ideal: IdealClip, scenario: Scenario, version: Renderer
    ) -> VideoScore:
        folder = self._work / f"{version.name}-{scenario.name}"
        cost = version.run(scenario, self._inputs, folder)
        frames: Iterable[Frame] = ideal
        if scenario.subtitled:
            subtitled = version.run_lossless(scenario, self._inputs, folder / "text")
            plain_scenario = scenario._replace(subtitled=False)
            plain = version.run_lossless(plain_scenario, self._inputs, folder / "plain")
            frames = with_text(ideal, subtitled, plain)
        video = folder / "video.mp4"
        areas = compare(video, frames, ideal.frames, text=scenario.subtitled)
        return VideoScore(picture, scenario, version.name, areas, cost.size)


def judge(scores: Sequence[VideoScore]) -> Iterator[goals.Verdict]:
    """Yield the verdicts on quality and size of our videos, compared with the other renderer."""
    for ours, other in zip(scores[0::2], scores[1::2], strict=True):
        where = f"{ours.picture}, {ours.scenario.name}"
        for area, quality in ours.areas.items():
            vmaf = other.areas[area].vmaf
            for part in ("mean", "end"):
                found, goal = getattr(quality.vmaf, part), getattr(vmaf, part)
                text = f"{where}: VMAF, {area}, {part}"
                yield goals.at_least(text, found, round(goal, 2), goals.VMAF_TOLERANCE)
        limit = goals.SIZE[bool(ours.scenario.effects)]
        yield goals.at_most(f"{where}: size of ours over the other", ours.size / other.size, limit)


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
        yield VideoScore("", scenario, program.name, areas, video.stat().st_size / 1e6)
