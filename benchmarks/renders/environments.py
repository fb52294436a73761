"""Paths of ffmpeg, and Python environments of other programs, made on first use and kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cloudburst-bench"
ISOLATED = {"PYTHONPATH": ""}
"""Environment variables of a Python that must not import the modules of this checkout."""


class FfmpegPaths:
    """Paths of the ffmpeg that computes scores, and of the ffmpeg of other programs.

    Both are the ffmpeg of the wheel imageio-ffmpeg, which has VMAF, until `use_system` is called.
    """

    def __init__(self) -> None:
        self.scorer = str(imageio_ffmpeg.get_ffmpeg_exe())
        self.ffmpeg = self.scorer

    def use_system(self) -> None:
        """Use the ``ffmpeg`` of the path, as the public image's code does; exit without one.

        That code needs a version before 9, which removed the option ``-vsync``.
        """
        found = {name: shutil.which(name) for name in ("ffmpeg", "ffprobe")}
        if missing := [name for name, path in found.items() if path is None]:
            sys.exit(f"not on the path: {' and '.join(missing)}; install ffmpeg 7 or 8")
        self.ffmpeg = str(found["ffmpeg"])


FFMPEG_PATHS = FfmpegPaths()


def environment(name: str, packages: Sequence[str], version: str | None = None) -> Path:
    """Return the Python of an environment with these packages.

    ``version`` is the version of Python to use if uv is installed; the default is this one.
    """
    folder = CACHE / name
    python, complete = folder / "bin" / "python", folder / "complete"
    requirements = "\n".join(packages)
    if complete.exists() and complete.read_text() == requirements:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    if uv := _uv():
        create: list[str | Path] = [uv, "venv", "-q", "-p", version or sys.executable, folder]
        install: list[str | Path] = [
            uv,
            "pip",
            "install",
            "-q",
            "--compile-bytecode",
            "-p",
            python,
            *packages,
        ]
    else:
        create = [sys.executable, "-m", "venv", folder]
        install = [python, "-m", "pip", "install", "-q", *packages]
    subprocess.run(create, check=True)
    subprocess.run(install, check=True)
    complete.write_text(requirements)
    return python


def _uv() -> str | None:
    beside_python = Path(sys.executable).with_name("uv")
    return str(beside_python) if beside_python.exists() else shutil.which("uv")


def checkout_python(checkout: Path) -> Path:
    """Return the Python of an environment with the package of another checkout, ``[local]``.

    The environment is named after the commit, so the checkout must not contain other changes.
    """
    git = ["git", "-C", str(checkout)]
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, check=True)
    if changed.stdout:
        sys.exit(f"{checkout} has changes; commit them, or compare with a clean worktree")
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, check=True, text=True)
    package = f"cloudburst-sdk[local] @ {checkout.resolve().as_uri()}"
    return environment(f"against-{head.stdout[:12]}", [package])
