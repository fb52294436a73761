"""Jobs of the render process: their folders, and what the process writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from cloudburst.models.options import RenderOptions
from cloudburst.renderer.job import JobOptions, RenderJob
from support.service_inputs import tone

COMMAND = (sys.executable, "-m", "cloudburst.renderer.render_process")


def lay_job(
    folder: Path,
    *,
    picture: Image.Image | None = None,
    subtitle: str | None = None,
    mark: Image.Image | None = None,
    seconds: float = 0.5,
    name: str = "scene",
    limits: dict[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Write the files of a job into a folder, and return it.

    Without other values it has a grey picture, half a second of a tone and no camera effect.
    """
    (picture or Image.new("RGB", (320, 180), (90, 90, 90))).save(folder / "image", "PNG")
    tone(folder / "audio", seconds)
    if subtitle is not None:
        (folder / "subtitle").write_text(subtitle, "utf-8")
    if mark is not None:
        mark.save(folder / "watermark", "PNG")
    chosen = JobOptions.from_options(RenderOptions.model_validate({"effects": [], **options}))
    job = RenderJob(name=name, options=chosen, **(limits or {}))
    (folder / "job.json").write_text(job.to_json())
    return folder


def start_render(folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start the render process of a job. It ends when its standard input is closed."""
    return subprocess.Popen(
        [*COMMAND, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
        start_new_session=True,
    )


def outcome(folder: Path, **environment: str) -> tuple[int, list[dict[str, Any]], str]:
    """Return exit code, lines and error output of a render process that runs to its end."""
    with start_render(folder, **environment) as process:
        # `communicate` would close the input, and with it end the process.
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [json.loads(line) for line in process.stdout]
        errors = process.stderr.read().decode()
        process.wait()
    return process.returncode, lines, errors


def rendered(folder: Path, **environment: str) -> dict[str, Any]:
    """Render a job, and return the properties of its video."""
    code, lines, errors = outcome(folder, **environment)
    assert (code, errors) == (0, "")
    done: dict[str, Any] = lines[-1]["done"]
    return done
