"""Versions of this project's renderer, as programs that render the folder of a job."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from renders.environments import FFMPEG_PATHS, ISOLATED, checkout_python
from renders.frames import BT709, IdealSettings, is_lossless
from renders.inputs import Inputs, Scenario, put_job
from renders.processes import Cost, measured

ROOT = Path(__file__).parents[2]
RENDER_PROCESSES = {
    "src/cloudburst/renderer/render_process.py": "cloudburst.renderer.render_process",
    "src/cloudburst/service/render_process.py": "cloudburst.service.render_process",
    "src/cloudburst/service/child.py": "cloudburst.service.child",
}
"""Modules of the render process in different versions, by source file."""
ENCODER = "src/cloudburst/renderer/encoder.py"
FFMPEG = "src/cloudburst/renderer/ffmpeg.py"
"""Source files of versions that encode in the render process, and of versions with an ffmpeg."""
IDENTIFY = """
import cloudburst
print(cloudburst.__file__)
try:
    from cloudburst.renderer.kernel.library import load_kernel
except ImportError:
    print("no kernel")
else:
    print(getattr(load_kernel(), "name", "Pillow"))
"""
DEFAULT_OPTIONS = """
import json
from dataclasses import asdict
from cloudburst.models.options import RenderOptions
options = RenderOptions()
try:
    from cloudburst.renderer.job import JobOptions
except ImportError:  # a version whose jobs have the options as callers give them
    values = options.model_dump(mode="json")
else:
    values = asdict(JobOptions.from_options(options))
print(json.dumps(values))
"""
HOOKS = Path(__file__).with_name("hooks.py")

LOSSLESS_FFMPEG = """#!/bin/sh
before=
for argument do
    shift
    given=$argument
    [ "$before" = -crf ] && argument=0
    [ "$given" = -crf ] && argument=-qp
    before=$given
    set -- "$@" "$argument"
done
exec {ffmpeg} "$@"
"""
"""Wrapper of ffmpeg that replaces ``-crf`` by ``-qp 0``, with which libx264 is lossless."""


@dataclass(frozen=True)
class Renderer:
    """Version of the renderer, and the Python of its environment."""

    name: str
    python: Path
    module: str
    in_process: bool
    """True if this version encodes in the render process, without an ffmpeg."""
    options: Mapping[str, object]
    """Default options of a job."""
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    """Additional environment variables of its processes."""
    ideal_settings: IdealSettings = BT709

    def run(self, scenario: Scenario, inputs: Inputs, folder: Path) -> Cost:
        """Render one scene with a new render process, as the service does."""
        put_job(scenario, inputs, folder, self.options)
        return self._run([self.python, "-m", self.module, folder], folder)

    def run_lossless(self, scenario: Scenario, inputs: Inputs, folder: Path) -> Path:
        """Return a lossless video, which has exactly the frames that this version draws."""
        put_job(scenario, inputs, folder, self.options)
        if self.in_process:
            self._run(self._hooked("lossless", folder), folder)
        else:
            wrapper = folder / "lossless-ffmpeg"
            wrapper.write_text(LOSSLESS_FFMPEG.format(ffmpeg=shlex.quote(FFMPEG_PATHS.ffmpeg)))
            wrapper.chmod(0o755)
            command: list[str | Path] = [self.python, "-m", self.module, folder]
            self._run(command, folder, {"CLOUDBURST_FFMPEG": str(wrapper)})
        video = folder / "video.mp4"
        if not is_lossless(video):
            sys.exit(f"{self.name}: {video} is not lossless; fix {HOOKS.name}")
        return video

    def encoder_share(self, scenario: Scenario, inputs: Inputs, folder: Path) -> float | None:
        """Return the part of a render's CPU seconds that calls of libx264 take.

        Return ``None`` for a version with an ffmpeg, in which these calls cannot be measured.
        """
        if not self.in_process:
            return None
        put_job(scenario, inputs, folder, self.options)
        cost = self._run(self._hooked("share", folder), folder)
        return float((folder / "encoder-cpu").read_text()) / cost.cpu

    def _run(
        self, command: list[str | Path], folder: Path, environ: Mapping[str, str] | None = None
    ) -> Cost:
        return measured(command, folder, folder / "video.mp4", {**self.environ, **(environ or {})})

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
    if kernel == "Pillow":
        sys.exit("the kernel is not compiled, so Pillow would be measured; install the package")
    module = "cloudburst.renderer.render_process"
    python = Path(sys.executable)
    return Renderer("ours", python, module, _in_process(ROOT), _default_options(python))


def of_checkout(checkout: Path) -> Renderer:
    """Return the renderer of another checkout, whose environment is made on first use."""
    modules = [module for path, module in RENDER_PROCESSES.items() if (checkout / path).exists()]
    if not modules:
        sys.exit(f"{checkout} has no render process")
    python = checkout_python(checkout)
    options = _default_options(python, ISOLATED)
    return Renderer("other", python, modules[0], _in_process(checkout), options, ISOLATED)


def _default_options(
    python: Path, environ: Mapping[str, str] | None = None
) -> Mapping[str, object]:
    """Return the default options of a job, which differ between versions."""
    command: list[str | Path] = [python, "-c", DEFAULT_OPTIONS]
    done = subprocess.run(
        command, capture_output=True, check=True, text=True, env={**os.environ, **(environ or {})}
    )
    options: dict[str, object] = json.loads(done.stdout)
    return options


def _in_process(checkout: Path) -> bool:
    return (checkout / ENCODER).exists() and not (checkout / FFMPEG).exists()
