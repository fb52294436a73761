"""Check of a job's files before it is queued, while its sender waits. Functions block."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.jobs.models import JobRequest
from cloudburst.models.input_error import InvalidInputError
from cloudburst.models.limits import Limits

if TYPE_CHECKING:
    from cloudburst.input_checks import InputFile

CHECK_SECONDS = 0.5
"""Seconds after which no further file is checked. A picture or sound takes 0.1 to 0.3 ms, subtitles
with 600 cues 4 ms (x86-64, 2026-11): most jobs are checked completely."""


def check_files(request: JobRequest, limits: Limits) -> None:
    """Check the files of a job on this machine, each once, as far as the time allows.

    The check at the start of the job finds the faults of all other files. Raises
    `InvalidScenesError` with every fault that was found.
    """
    # Imported here, in a thread: importing Pillow is slow, and not every program renders.
    from cloudburst.input_checks import find_problem  # noqa: PLC0415

    deadline = time.monotonic() + CHECK_SECONDS
    problems: dict[InputFile, InvalidInputError | None] = {}
    faults = list[SceneFault]()
    # Subtitles last: they are read whole.
    for scene, field, file in sorted(_files(request), key=lambda found: found[1] == "subtitle"):
        if file not in problems:
            if time.monotonic() > deadline:
                break
            problems[file] = find_problem(file, limits)
        if (problem := problems[file]) is not None:
            faults.append(SceneFault(scene, field, f"{problem.found}: {file[1]}", problem.expected))
    if faults:
        raise InvalidScenesError(faults=faults)


def _files(request: JobRequest) -> Iterator[tuple[str, str, InputFile]]:
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
