"""Finds every process that a test has started, however far down."""

from __future__ import annotations

import os
import secrets
import signal
import time
from contextlib import suppress
from pathlib import Path

MARK = "LC_MARK_OF_A_REAL_TEST"  # variables of the locale reach every process


class Watch:
    """Processes are known by a mark in their environment, which their children inherit."""

    def __init__(self, temp: Path) -> None:
        self.temp = temp
        """Where marked processes put temporary files."""
        self.environment = {MARK: secrets.token_hex(16), "TMPDIR": str(temp)}

    def processes(self) -> dict[int, str]:
        """Command lines of those that run; one that nobody has buried yet does not."""
        wanted = f"{MARK}={self.environment[MARK]}".encode()
        found = {}
        for folder in Path("/proc").iterdir():
            with suppress(OSError):
                if not folder.name.isdigit() or int(folder.name) == os.getpid():
                    continue
                if wanted in _environment(folder, wanted):
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    found[int(folder.name)] = b" ".join(words).decode("utf-8", "replace")
        return found

    def find(self, *words: str) -> list[int]:
        """Those whose command line has all the words."""
        running = self.processes().items()
        return [pid for pid, command in running if all(word in command for word in words)]

    def left_after(self, seconds: float) -> dict[int, str]:
        """Those that still run when so much time has passed; returns early when there are none."""
        end = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.02)
        return left

    def kill(self) -> None:
        """End them all."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _environment(folder: Path, ours: bytes) -> list[bytes]:
    """Variables of a process; of a service, which only root can read, ours if it is our child."""
    try:
        return (folder / "environ").read_bytes().split(b"\0")
    except PermissionError:
        child = f"PPid:\t{os.getpid()}\n" in (folder / "status").read_text()
        return [ours] if child else []
