# ruff: noqa: INP001
"""Check that an environment can render: ``PYTHON docker/check_render.py``, with its Python.

The build of the image runs this after ``trim.py``. It renders the test scene of the
service, and fails if a file that rendering needs is missing, or if the kernel was not compiled: the
wheel is built without it if the compiler fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile


def fault(line: str) -> str:
    """Return the fault in the output of the test render, or an empty text."""
    result = json.loads(line)
    return f"the test render failed: {result['missing']}" if "missing" in result else ""


def main() -> None:
    """Render the test scene; exit with a message if there is a fault."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "cloudburst.renderer.test_render", folder]
        # The render process ends when its standard input does, together with its process group.
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        ) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
    if not line:
        sys.exit(f"the test render printed nothing and ended with exit code {process.returncode}")
    sys.exit(fault(line.decode()) or None)


if __name__ == "__main__":
    main()
