"""Quality of videos of five pictures, compared with ideal frames."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from renders import goals
from renders.costs import Side
from renders.frames import Frame, IdealClip, count_frames, with_text
from renders.inputs import SCENARIOS, Inputs, Scenario
from renders.renderers import Renderer
from renders.scoring import Quality, Score, compare

HEADER = (
    f"{'':42} {'VMAF':>6} {'end':>6} {'worst':>6} {'SSIM':>7} {'end':>7} {'worst':>7} {'MB':>6}"
)


class Scored(NamedTuple):
    """Quality and size of one video."""

    picture: str
    scenario: Scenario
    side: str
    areas: Mapping[str, Quality]
    size: float
    """Size of the file, in megabytes."""

    def lines(self) -> Iterator[str]:
        for area, (vmaf, ssim) in self.areas.items():
            title = ", ".join(filter(None, (self.picture, self.scenario.name, self.side)))
            title += ", text" if area == "text" else ""
            size = f"{self.size:6.2f}" if area == "whole" else ""
            yield f"{title:42} {_cells(vmaf, '6.2f')} {_cells(ssim, '7.4f')} {size}"


def _cells(score: Score, form: str) -> str:
    return " ".join(format(value, form) for value in score)


class QualityTest:
    """Comparison of renderers on pictures, with clips of the same audio and subtitles."""

    def __init__(self, sides: Sequence[Renderer], inputs: Inputs, work: Path) -> None:
        self._sides = sides
        self._inputs = inputs
        self._work = work

    def run(self, pictures: Mapping[str, Callable[[], Image.Image]]) -> Iterator[Scored]:
        """Yield the scores of every picture, scenario and renderer."""
        for name, make in pictures.items():
            picture = make()
            picture.save(self._inputs.picture)
            self._work.mkdir()
            for moving in (False, True):
                file = self._work / "ideal.yuv"
                look = self._sides[0].look
                ideal = IdealClip(picture, self._inputs.frames, look, zoom=moving, file=file)
                for scenario in (one for one in SCENARIOS if bool(one.effects) == moving):
                    for side in self._sides:
                        yield self._scored(name, ideal, scenario, side)
            shutil.rmtree(self._work)  # lossless videos of noise have a gigabyte each

    def _scored(self, name: str, ideal: IdealClip, scenario: Scenario, side: Renderer) -> Scored:
        folder = self._work / f"{side.name}-{scenario.name}"
        cost = side.run(scenario, self._inputs, folder)
        frames: Iterable[Frame] = ideal
        if scenario.subtitled:
            drawn = side.run_lossless(scenario, self._inputs, folder / "text")
            plain = scenario._replace(subtitled=False)
            bare = side.run_lossless(plain, self._inputs, folder / "bare")
            frames = with_text(ideal, drawn, bare)
        video = folder / "video.mp4"
        areas = compare(video, frames, ideal.frames, text=scenario.subtitled)
        return Scored(name, scenario, side.name, areas, cost.size)


def judge(scored: Sequence[Scored]) -> Iterator[goals.Verdict]:
    """Yield whether ours is not worse than the other renderer's, and not much larger."""
    for ours, other in zip(scored[0::2], scored[1::2], strict=True):
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
    videos: Sequence[tuple[Side, Path]],
    scenario: Scenario,
    inputs: Inputs,
    work: Path,
) -> Iterator[Scored]:
    """Yield the scores of finished videos without subtitles, each against what it means to show."""
    for side, video in videos:
        # Some videos of the peer have more frames than the audio, which are not scored.
        frames = min(inputs.frames, count_frames(video))
        zoom = bool(scenario.effects)
        ideal = IdealClip(picture, inputs.frames, side.look, zoom=zoom, file=work / "ideal.yuv")
        areas = compare(video, ideal, frames, text=False)
        yield Scored("", scenario, side.name, areas, video.stat().st_size / 1e6)
