"""A render service in a process of its own, by default with a stand-in for its render process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.project import TESTS
from support.service_caller import service_settings


@dataclass
class ServiceProcess:
    """A running service."""

    url: str
    folder: Path

    def lose(self, content: bytes) -> None:
        """Delete a file from its store."""
        sha256 = hashlib.sha256(content).hexdigest()
        (path,) = self.folder.rglob(sha256)
        path.unlink()

    def videos(self) -> list[Path]:
        return list(self.folder.rglob("*.mp4"))


STAND_IN = (str(TESTS / "support" / "serve_stand_in.py"),)


@contextmanager
def service_process(
    folder: Path, *, program: Sequence[str] = STAND_IN, **env: str
) -> Generator[ServiceProcess]:
    """Run a service with settings of the environment, until the end of the block."""
    given = {**os.environ, **service_settings(folder, encoders="2"), **env}
    with subprocess.Popen(
        [sys.executable, *program],
        env=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on http://127.0.0.1:"), line
            yield ServiceProcess(line.split()[-1], folder)
        finally:
            process.kill()
