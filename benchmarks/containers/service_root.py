"""A container's program in an unpacked image, and the time until it serves."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cloudburst.net.registry.documents import ImageConfig

MOUNT = 'for name in proc dev; do mount --rbind "/$name" "$0/$name" || exit 1; done; exec "$@"'
"""Script that lends the root the file systems that every container has."""
TIMEOUT = 60.0


class Start(NamedTuple):
    """Seconds of a start."""

    listening: float
    """From the start of the process until it listens."""
    cpu: float
    """Processor time until then."""
    healthy: float
    """From the start of the process until its health check succeeds, after its test render."""


def container_command(root: Path, config: ImageConfig) -> list[str]:
    """Return the command that runs an image's program in its root, in a mount namespace."""
    is_root = os.geteuid() == 0
    unshare = ["unshare", "--mount", *([] if is_root else ["--map-root-user"])]
    user = [f"--userspec={config.user or '0:0'}"] if is_root else []
    variables = [f"{name}={value}" for name, value in config.environment.items()]
    variables += ["CLOUDBURST_HOST=127.0.0.1", "CLOUDBURST_PORT=0"]
    program = ["env", "-i", *variables, *config.entrypoint, *config.command]
    return [*unshare, "sh", "-c", MOUNT, str(root), "chroot", *user, str(root), *program]


def measure_start(root: Path, config: ImageConfig) -> Start:
    """Start the service of an image, wait until it is healthy, and stop it."""
    root.parent.chmod(0o755)  # the service runs as another user
    began = time.perf_counter()
    with _running(container_command(root, config)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        listening = time.perf_counter() - began
        if not line.startswith("listening on http"):
            raise SystemExit(f"the service of the image does not start: {line!r}")
        used = _processor_seconds(process.pid)
        _wait_until_healthy(f"{line.split()[-1]}/health", process)
        return Start(listening, used, time.perf_counter() - began)


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()


def _processor_seconds(pid: int) -> float:
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(path.read_text().split()[0]) for path in threads) / 1e9


def _wait_until_healthy(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200 and b'"healthy"' in answer.read():
                    return
        except (urllib.error.URLError, OSError):
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("the service of the image is not healthy")
        time.sleep(0.02)
