"""Where the old client is installed: made on first use and kept in the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cloudburst-bench"
PACKAGE = "cloudburst-fargate==1.0.1"
DRIVE = Path(__file__).with_name("drive.py")


def old_python() -> Path:
    """Python of its environment."""
    place = FOLDER / "old-client"
    python, complete = place / "bin" / "python", place / "complete"
    if not complete.exists() or complete.read_text() != PACKAGE:
        shutil.rmtree(place, ignore_errors=True)
        if uv := shutil.which("uv"):
            subprocess.run([uv, "venv", "-q", "-p", sys.executable, place], check=True)
            subprocess.run([uv, "pip", "install", "-q", "-p", python, PACKAGE], check=True)
        else:
            subprocess.run([sys.executable, "-m", "venv", place], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", PACKAGE], check=True)
        complete.write_text(PACKAGE)
    return python
