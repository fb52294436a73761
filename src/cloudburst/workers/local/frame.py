"""One frame of a scene's video, drawn by a process on this machine."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from anyio import fail_after, to_thread
from pydantic import ValidationError

from cloudburst.errors import (
    ConfigurationError,
    FaultCode,
    InvalidScenesError,
    RenderFailedError,
    SceneFault,
)
from cloudburst.models.limits import Limits
from cloudburst.models.scene import CheckedScene
from cloudburst.renderer.fonts import check_font_package
from cloudburst.renderer.job import INPUT_FAULT_EXIT_CODE, JOB_FILE, JobOptions, RenderJob
from cloudburst.renderer.process_limits import fault_from_exit
from cloudburst.service.job_output import ChildLine
from cloudburst.service.subprocesses import ExitedProcess, Subprocesses
from cloudburst.text import printable
from cloudburst.workers.local import missing_requirements

logger = logging.getLogger(__name__)

# Command that draws a frame. ``-P``: never import modules from the current folder.
FRAME_COMMAND = (sys.executable, "-P", "-m", "cloudburst.renderer.frame_process")
# Maximum number of seconds for one frame. An hour of audio is decoded in 10 s.
FRAME_TIMEOUT = 300.0
# Largest width of a frame in pixels.
MAX_FRAME_WIDTH = 4096
# Maximum size of a frame's file in bytes, more than 4096x4096 pixels in RGB need.
MAX_FRAME_BYTES = 128 * 1024 * 1024
_MAX_REASON_CHARS = 300  # maximum number of characters of the process's error output in a message


async def draw_frame(
    folder: Path,
    scene: CheckedScene,
    seconds: float,
    *,
    suffix: str,
    width: int,
    limits: Limits,
    command: Sequence[str] = FRAME_COMMAND,
) -> bytes:
    """Return the content of a picture file with the frame that a scene's video shows at a time.

    A temporary ``folder`` has those files of the scene that are not on this machine, under the
    names of their fields. A picture that is wider than ``width`` is reduced. Raises `OSError`.

    Warnings, such as that symbols are left out, are logged. If the call is cancelled, the process
    is killed before the call returns.
    """
    if missing := missing_requirements("av"):
        raise ConfigurationError(f"this machine cannot draw: {missing}")
    lines: list[ChildLine] = []
    await to_thread.run_sync(_write_job, folder, scene, limits)
    file = folder / f"frame{suffix}"
    arguments = [*command, str(folder), repr(seconds), file.name, str(width)]
    with fail_after(FRAME_TIMEOUT):
        ended = await Subprocesses().run(arguments, lambda line: _add(lines, line))
    _check(scene.scene.name, ended, lines)
    for warning in (text for line in lines for text in line.warnings):
        logger.warning("%s: %s", scene.scene.name, printable(warning))
    return await to_thread.run_sync(_read, file)


def _write_job(folder: Path, scene: CheckedScene, limits: Limits) -> None:
    check_font_package()
    job = RenderJob(
        name=scene.scene.name,
        options=JobOptions.from_options(scene.drawn_options),
        image_pixels=limits.image_pixels,
        audio_seconds=limits.decoded_audio_seconds,
        duration=scene.scene.duration,
        title_card=scene.scene.title_card,
    )
    (folder / JOB_FILE).write_text(job.to_json(), encoding="utf-8")
    for role, location in scene.files().items():
        if isinstance(location, Path):
            (folder / role).symlink_to(location)


def _add(lines: list[ChildLine], line: bytes) -> None:
    try:
        lines.append(ChildLine.model_validate_json(line))
    except ValidationError:
        return  # the exit code shows whether the process has succeeded


def _check(scene: str, ended: ExitedProcess, lines: Sequence[ChildLine]) -> None:
    if ended.code == 0:
        return
    reading = next((line.reading for line in reversed(lines) if line.reading is not None), "")
    fault = next((line.fault for line in lines if line.fault), None)
    fault = fault or fault_from_exit(reading, ended.code)
    if fault is not None and (ended.code == INPUT_FAULT_EXIT_CODE or ended.code < 0):
        code: FaultCode = "out_of_range" if fault.field == "at" else "unreadable"
        found = SceneFault(scene, fault.field, fault.found, fault.expected, code)
        raise InvalidScenesError(faults=[found])
    reason = ended.errors.rpartition("\n")[2][:_MAX_REASON_CHARS] or "no error output"
    msg = f"the frame cannot be drawn (exit {ended.code}: {reason})"
    raise RenderFailedError(msg, scene=scene)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_FRAME_BYTES + 1)
    if len(data) > MAX_FRAME_BYTES:
        msg = f"a picture of more than {MAX_FRAME_BYTES} bytes"
        raise OSError(msg)
    return data
