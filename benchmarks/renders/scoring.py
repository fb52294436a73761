"""VMAF, SSIM and edge energy of videos."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from renders.environments import FFMPEG_PATHS
from renders.frames import TEXT_TOP, Frame, decoded
from renders.inputs import FPS, HEIGHT, WIDTH

_SAME_TAGS = "range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
"""Tags for both videos. Ffmpeg converts a video if its tags differ from those of the other one."""
_ONLY_PAIRS = "shortest=1:repeatlast=0"
"""Options that compare only pairs of frames. By default, ffmpeg repeats the last frame of a video
that is too short."""


class Score(NamedTuple):
    """Score of a video: mean of all frames, mean of the last second, and worst frame."""

    mean: float
    end: float
    worst: float

    @classmethod
    def of(cls, values: list[float]) -> Score:
        return cls(float(np.mean(values)), float(np.mean(values[-FPS:])), min(values))


class Quality(NamedTuple):
    """Scores of one area of a video; SSIM is that of luma."""

    vmaf: Score
    ssim: Score


def compare(video: Path, ideal: Iterable[Frame], frames: int, *, text: bool) -> dict[str, Quality]:
    """Return the quality of the first frames, of the whole picture and of the area of the text."""
    areas = {"whole": f"crop={WIDTH}:{HEIGHT}:0:0"}
    if text:
        areas["text"] = f"crop={WIDTH}:{HEIGHT - TEXT_TOP}:0:{TEXT_TOP}"
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        folder = Path(name)
        command = [
            *(FFMPEG_PATHS.scorer, "-v", "error", "-nostats", "-i", str(video.resolve())),
            *("-f", "rawvideo", "-pixel_format", "yuv420p", "-framerate", str(FPS)),
            *("-video_size", f"{WIDTH}x{HEIGHT}", "-i", "pipe:0"),
            *("-filter_complex", _graph(areas, frames), *_outputs(areas)),
        ]
        written = _run(command, folder, islice(ideal, frames))
        found = {area: _read(folder, area) for area in areas}
    scored = len(found["whole"][0])
    if not written == scored == frames:
        sys.exit(f"{video}: {written} ideal frames, {scored} scored, {frames} expected")
    return {area: Quality(*map(Score.of, scores)) for area, scores in found.items()}


def largest_edge_step(video: Path, ideal: Iterable[Frame]) -> float:
    """Return the largest change of edge energy from a frame to the next, relative to ideal frames.

    A key frame that shows more detail than the picture before it is seen as a step. The area of
    the text does not count.
    """
    pairs = zip(decoded(video), ideal, strict=False)
    energy = (_edge_energy(frame) / _edge_energy(wanted) for frame, wanted in pairs)
    return max((abs(after - before) for before, after in pairwise(energy)), default=0.0)


def _edge_energy(frame: Frame) -> float:
    luma = frame[:TEXT_TOP].astype(np.int16)
    return float(sum(np.abs(np.diff(luma, axis=axis)).mean() for axis in (0, 1)))


def _graph(areas: dict[str, str], frames: int) -> str:
    number = 2 * len(areas)
    parts = [
        f"[{index}:v]trim=end_frame={frames},settb=1/{FPS},setpts=N,setparams={_SAME_TAGS},"
        f"format=yuv420p,split={number}" + "".join(f"[{index}{n}]" for n in range(number))
        for index in (0, 1)
    ]
    for n, (area, crop) in enumerate(areas.items()):
        metrics = (
            f"libvmaf=log_fmt=json:log_path={area}.json:{_ONLY_PAIRS}",
            f"ssim=stats_file={area}.txt:{_ONLY_PAIRS}",
        )
        for index, metric in enumerate(metrics, 2 * n):
            parts.append(f"[0{index}]{crop}[a{index}];[1{index}]{crop}[b{index}]")
            parts.append(f"[a{index}][b{index}]{metric}[out{index}]")
    return ";".join(parts)


def _outputs(areas: dict[str, str]) -> Iterator[str]:
    for index in range(2 * len(areas)):
        yield from ("-map", f"[out{index}]")
    yield from ("-an", "-f", "null", "-")


def _run(command: list[str], folder: Path, frames: Iterable[Frame]) -> int:
    """Write the frames to ffmpeg, and return their number."""
    written = 0
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdin is not None
        try:
            with process.stdin as pipe:
                for frame in frames:
                    pipe.write(np.ascontiguousarray(frame).data)
                    written += 1
        except BrokenPipeError:
            pass  # the log has the reason
    if process.returncode != 0:
        output = (folder / "log").read_text("utf-8", "replace")[-2000:]
        sys.exit(f"ffmpeg failed to compute the scores:\n{output}")
    return written


def _read(folder: Path, area: str) -> tuple[list[float], list[float]]:
    """Return VMAF and SSIM of each frame."""
    log = json.loads((folder / f"{area}.json").read_text())
    vmaf = [float(frame["metrics"]["vmaf"]) for frame in log["frames"]]
    text = (folder / f"{area}.txt").read_text()
    return vmaf, [float(found) for found in re.findall(r"Y:([\d.]+)", text)]
