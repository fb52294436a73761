"""Check of a job's files before it is queued, while its sender waits. Functions block."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.jobs.models import JobRequest
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.limits import Limits
from cloudburst.models.locations import AnyLocation
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import check_duration
from cloudburst.models.video_format import VideoFormat, video_size

if TYPE_CHECKING:
    from cloudburst.inputs.input_checks import CheckedFile

CHECK_SECONDS = 0.5
"""Seconds after which no further file is checked. A picture or sound takes 0.1 to 0.3 ms, subtitles
with 600 cues 4 ms (x86-64, 2026-11): most jobs are checked completely."""


def check_files(request: JobRequest, limits: Limits) -> dict[AnyLocation, float]:
    """Check the files of a job on this machine, each once, as far as the time allows.

    Return the length of each audio file that was checked, in seconds. The check at the start of the
    job finds the faults of all other files. Raises `InvalidScenesError` with every fault that was
    found.
    """
    # Imported here, in a thread: importing Pillow is slow, and not every program renders.
    from cloudburst.inputs.input_checks import check_file  # noqa: PLC0415

    deadline = time.monotonic() + CHECK_SECONDS
    checked: dict[tuple[str, Path], CheckedFile | InvalidInputError] = {}
    faults = list[SceneFault]()
    for scene in request.scenes:
        try:
            check_duration(scene.duration, limits.audio_seconds)
        except InvalidInputError as exc:
            faults.append(SceneFault(scene.name, "duration", exc.found, exc.expected))
    # Subtitles last: they are read whole.
    for name, field, file in sorted(_files(request), key=lambda found: found[1] == "subtitle"):
        if file not in checked:
            if time.monotonic() > deadline:
                break
            checked[file] = check_file(*file, limits)
        if isinstance(problem := checked[file], InvalidInputError):
            faults.append(SceneFault(name, field, f"{problem.found}: {file[1]}", problem.expected))
    if faults:
        raise InvalidScenesError(faults=faults)
    return {
        file[1]: found.facts.seconds
        for file, found in checked.items()
        if not isinstance(found, InvalidInputError) and found.facts.length_known
    }


def video_seconds(
    request: JobRequest,
    options: RenderOptions,
    lengths: Mapping[AnyLocation, float],
    *,
    unknown: float,
) -> float:
    """Return the length of all videos of a job, in seconds of 1920x1080 at 30 frames per second.

    A video with more pixels in a second counts for more, as its render takes longer.

    Args:
        request: The job.
        options: Options of jobs that name none.
        lengths: Known lengths of audio files, in seconds.
        unknown: Length of all other audio files, in seconds.
    """
    total = 0.0
    for scene in request.scenes:
        chosen = (request.options or options).model_copy(update=scene.options.given())
        # The orientation, which depends on the picture, does not change the number of pixels.
        shape = VideoFormat(video_size(chosen.size, upright=False), chosen.fps)
        length = lengths.get(scene.audio, unknown) if scene.audio else scene.duration or 0
        total += length * shape.pixel_rate
    return total


def _files(request: JobRequest) -> Iterator[tuple[str, str, tuple[str, Path]]]:
    """Yield the files on this machine, each with the name of its scene and its field.

    Files in the options of the job have an empty name.
    """
    parts = [(scene.name, scene.files(), scene.options) for scene in request.scenes]
    if request.options is not None:
        parts.append(("", {}, request.options))
    for label, files, options in parts:
        for name, location in files.items():
            if isinstance(location, Path):
                yield label, name, (name, location)
        for name, location in options.files().items():
            if isinstance(location, Path):
                yield label, f"options.{name}", (name, location)
