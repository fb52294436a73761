"""Python environment of the old client, made on first use and kept in the user's cache folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cloudburst-bench"
PACKAGE = "cloudburst-fargate==1.0.1"
OLD_CLIENT = Path(__file__).with_name("run_old_client.py")


def old_python() -> Path:
    """Return the Python of the environment; make the environment if necessary."""
    folder = CACHE / "old-client"
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists() or complete.read_text() != PACKAGE:
        shutil.rmtree(folder, ignore_errors=True)
        if uv := shutil.which("uv"):
            subprocess.run([uv, "venv", "-q", "-p", sys.executable, folder], check=True)
            subprocess.run([uv, "pip", "install", "-q", "-p", python, PACKAGE], check=True)
        else:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", PACKAGE], check=True)
        complete.write_text(PACKAGE)
    return python
