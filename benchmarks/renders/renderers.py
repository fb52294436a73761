"""Versions of this project's renderer, as programs that render the folder of a job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from renders.environments import ISOLATED, checkout_python
from renders.frames import BT709, IdealSettings, is_lossless
from renders.inputs import Inputs, Scenario, put_job
from renders.processes import Cost, measured

ROOT = Path(__file__).parents[2]
MODULE = "cloudburst.renderer.render_process"
IDENTIFY = """
import cloudburst
from cloudburst.renderer.kernel.library import load_kernel
print(cloudburst.__file__, load_kernel().name, sep="\\n")
"""
DEFAULT_JOB = """
from cloudburst.models.options import RenderOptions
from cloudburst.renderer.job import JobOptions, RenderJob
print(RenderJob(name="s", options=JobOptions.from_options(RenderOptions())).to_json())
"""
HOOKS = Path(__file__).with_name("hooks.py")


@dataclass(frozen=True)
class Renderer:
    """Version of the renderer, and the Python of its environment."""

    name: str
    python: Path
    job: Mapping[str, Any]
    """Job of this version with default options."""
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    """Additional environment variables of its processes."""
    ideal_settings: IdealSettings = BT709

    def run(self, scenario: Scenario, inputs: Inputs, folder: Path) -> Cost:
        """Render one scene with a new render process, as the service does."""
        put_job(scenario, inputs, folder, self.job)
        return self._run([self.python, "-m", MODULE, folder], folder)

    def run_lossless(self, scenario: Scenario, inputs: Inputs, folder: Path) -> Path:
        """Return a lossless video, which has exactly the frames that this version draws."""
        # Pictures without residual are not lossless, so libx264 has to encode all of them.
        options = self.job["options"]
        search = {name: True for name in ("motion_search",) if name in options}
        put_job(scenario, inputs, folder, {**self.job, "options": {**options, **search}})
        self._run(self._hooked("lossless", folder), folder)
        video = folder / "video.mp4"
        if not is_lossless(video):
            sys.exit(f"{self.name}: {video} is not lossless; fix {HOOKS.name}")
        return video

    def encoder_share(self, scenario: Scenario, inputs: Inputs, folder: Path) -> float:
        """Return the part of a render's CPU seconds that calls of libx264 take."""
        put_job(scenario, inputs, folder, self.job)
        cost = self._run(self._hooked("share", folder), folder)
        return float((folder / "encoder-cpu").read_text()) / cost.cpu

    def _run(self, command: list[str | Path], folder: Path) -> Cost:
        return measured(command, folder, folder / "video.mp4", self.environ)

    def _hooked(self, hook: str, folder: Path) -> list[str | Path]:
        # With -P, the folder of the script is not searched for modules.
        return [self.python, "-P", HOOKS, hook, folder]


def ours() -> Renderer:
    """Return the renderer of this checkout; exit if Python would import another one."""
    done = subprocess.run(
        [sys.executable, "-c", IDENTIFY], capture_output=True, check=True, text=True
    )
    package, kernel = done.stdout.split("\n")[:2]
    print(f"ours: {package}, {kernel}")
    installed = Path(package).is_relative_to(sys.prefix)  # from this checkout, by nox
    if not installed and not Path(package).is_relative_to(ROOT):
        sys.exit(f"{package} is not in this checkout; set PYTHONPATH={ROOT / 'src'}")
    python = Path(sys.executable)
    return Renderer("ours", python, default_job(python))


def of_checkout(checkout: Path) -> Renderer:
    """Return the renderer of another checkout, whose environment is made on first use."""
    python = checkout_python(checkout)
    return Renderer("other", python, default_job(python, ISOLATED), ISOLATED)


def default_job(python: Path, environ: Mapping[str, str] | None = None) -> Mapping[str, Any]:
    """Return a job with the default options of the version that a Python imports."""
    command: list[str | Path] = [python, "-c", DEFAULT_JOB]
    done = subprocess.run(
        command, capture_output=True, check=True, text=True, env={**os.environ, **(environ or {})}
    )
    job: dict[str, Any] = json.loads(done.stdout)
    return job
