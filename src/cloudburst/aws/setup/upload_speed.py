"""Speed of uploads to a registry: measured at each push, and kept for the next one."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import cast

import anyio
import anyio.to_thread

from cloudburst.registry import PushProgress
from cloudburst.safe_files import read_regular_file

FILE_NAME = "upload-speed.json"
MAX_FILE_BYTES = 4096
MIN_MEASURED_BYTES = 4 * 10**6
"""Minimum number of bytes from which a speed is measured: less is over before the connection is at
full speed."""
_SPEEDS = (1e3, 1e11)
"""Lowest and highest speed, in bytes a second, that a file may hold."""


class UploadSpeed:
    """Speed of uploads in bytes a second: that of the last push, or of the first part of this one.

    Args:
        folder: State folder, in which the speed is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._last: float | None = None
        self._started_at: float | None = None
        self._announced = False

    async def load(self) -> None:
        """Read the speed of the last push. A file that cannot be read counts as none."""
        self._last = await anyio.to_thread.run_sync(_read, self._path)
        self._announced = self._last is not None

    async def save(self, sent: int, seconds: float) -> None:
        """Keep the speed of a push, unless it was too short to be measured."""
        if sent >= MIN_MEASURED_BYTES and seconds > 0:
            await anyio.to_thread.run_sync(_write, self._path, sent / seconds)

    def estimate(self, size: int) -> str:
        """Return how long an upload takes at the speed of the last push."""
        if self._last is None:
            return "the time is known after the first part"
        return f"{_duration(size / self._last)} at {self._last / 1e6:.1f} MB/s, as at the last push"

    def first_estimate(self, progress: PushProgress, missing: int) -> str | None:
        """Return the remaining time, once, as soon as this push has measured its speed.

        Returns ``None`` before and after that, and if the speed of the last push is known.

        Args:
            progress: Progress of this push.
            missing: Number of bytes that the registry did not have before it.
        """
        if self._announced:
            return None
        now = anyio.current_time()
        if self._started_at is None:
            self._started_at = now
        sent = progress.bytes_done - (progress.bytes_total - missing)
        seconds = now - self._started_at
        if sent < MIN_MEASURED_BYTES or seconds <= 0:
            return None
        self._announced = True
        speed, left = sent / seconds, progress.bytes_total - progress.bytes_done
        return f"uploading {speed / 1e6:.1f} MB/s: {_duration(left / speed)} left"


def _duration(seconds: float) -> str:
    return f"about {max(1, math.ceil(seconds))} s"


def _read(path: Path) -> float | None:
    try:
        found: object = json.loads(read_regular_file(path, limit=MAX_FILE_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    speed = cast("dict[str, object]", found).get("bytes_per_second")
    if not isinstance(speed, (int, float)):
        return None
    low, high = _SPEEDS
    return speed if low <= speed <= high else None


def _write(path: Path, speed: float) -> None:
    """Write the speed; the next push works without it, so that errors are ignored."""
    text = json.dumps({"bytes_per_second": round(speed)})
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)
