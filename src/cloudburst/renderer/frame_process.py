"""Process that draws one frame: ``python -m cloudburst.renderer.frame_process``.

Its arguments are the folder of a job, a time in seconds, the name of the PNG or JPEG file in the
folder that it writes, and the largest width of the picture in pixels. Its output, exit codes and
input are those of the render process.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from cloudburst.renderer import process_limits
from cloudburst.renderer.audio import measure_voice
from cloudburst.renderer.child_process import announce_reading, start_child, write_line
from cloudburst.renderer.gops import JPEG_QUALITY
from cloudburst.renderer.job import (
    INPUT_FAULT_EXIT_CODE,
    SUBTITLE,
    InputFaultError,
    RenderJob,
)
from cloudburst.renderer.planes import to_picture
from cloudburst.renderer.scene import load_scene

# Field of a fault of the time.
TIME = "at"
# Compression of PNG files: a photograph takes 0.1 CPU seconds; the default of Pillow takes four
# times as long and makes a file that is 10 % smaller.
_PNG_LEVEL, _RUN_LENGTH_ENCODING = 1, 3
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {
        "format": "PNG",
        "compress_level": _PNG_LEVEL,
        "compress_type": _RUN_LENGTH_ENCODING,
    },
    ".jpg": {"format": "JPEG", "quality": JPEG_QUALITY},
}


def draw_frame(folder: Path, job: RenderJob, seconds: float) -> Image.Image:
    """Return the frame that the video of a job shows at a time, exactly as it would be encoded.

    Raises:
        InputFaultError: An input cannot be rendered, or the video ends before this time.
        ConfigurationError: There is no font.
    """
    fps = job.options.fps
    frames = measure_voice(folder, job, announce_reading).frames
    frame = frame_at(seconds, fps)
    if frame >= frames:
        length = f"a time before the end of the video, which has {frames / fps:.3f} seconds"
        raise InputFaultError(TIME, f"{seconds:g} seconds", length)
    process_limits.limit_cpu_time(time.process_time() + process_limits.READ_CPU_SECONDS)
    scene = load_scene(folder, job, frames, announce_reading, encodes=False)
    drawn = SUBTITLE if (folder / SUBTITLE).exists() else ""
    process_limits.limit_encode_time(1, scene.format, drawn)
    write_line(warnings=scene.warnings)
    return to_picture(scene.source.draw(frame).read())


def frame_at(seconds: float, fps: int) -> int:
    """Return the number of the frame that a video shows at a time."""
    return math.floor(round(seconds * fps, 6))  # 2.3 * 30 is less than 69


def main(folder: Path, seconds: float, file: str, width: int) -> int:
    """Draw a frame and return the exit code."""
    start_child(folder)
    job = process_limits.read_job(folder)
    try:
        picture = draw_frame(folder, job, seconds)
    except InputFaultError as exc:
        write_line(fault=asdict(exc.fault))
        return INPUT_FAULT_EXIT_CODE
    if width < picture.width:
        picture = picture.resize((width, round(picture.height * width / picture.width)))
    picture.save(folder / file, **_SAVE_OPTIONS[Path(file).suffix])
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
