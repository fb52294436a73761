"""Assisting process: ``python -m cloudburst.renderer.gop_process FOLDER``.

It encodes GOPs of a job that a render process renders at the same time. It can be killed at any
time: the render process then encodes what is missing.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from cloudburst.renderer import process_limits
from cloudburst.renderer.child_process import start_child
from cloudburst.renderer.h264_levels import BitrateError
from cloudburst.renderer.scene import load_scene
from cloudburst.renderer.shared_encoding import GopEncoding, GopPlan


def assist(folder: Path) -> None:
    """Encode GOPs of the job in the folder until no process has to encode any more."""
    job = process_limits.read_job(folder)
    process_limits.limit_cpu_time(time.process_time() + process_limits.READ_CPU_SECONDS)
    plan, done = GopPlan.read(folder), None
    scene = load_scene(folder, job, plan.frames, lambda _field: None)
    process_limits.limit_encode_time(plan.frames, scene.format)
    while plan != done:
        encoding = GopEncoding(scene.source, plan, plan.exchange(folder), lambda _frames: None)
        # The render process finds a bitrate that is too high, too, and makes another plan.
        with suppress(BitrateError):
            encoding.assist(partial(plan.is_current, folder))
        done, plan = plan, GopPlan.read(folder)


if __name__ == "__main__":
    start_child(Path(sys.argv[1]))
    assist(Path(sys.argv[1]))
