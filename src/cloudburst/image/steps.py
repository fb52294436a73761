"""Steps of a build, reported to the caller."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cloudburst.image.options import BuildProgress, OnBuildProgress


class Steps:
    """Counter of the steps of a build, several of which run at the same time."""

    def __init__(self, on_progress: OnBuildProgress | None) -> None:
        self._on_progress = on_progress
        self._running = list[str]()
        self._done = 0

    @asynccontextmanager
    async def step(self, name: str) -> AsyncGenerator[None]:
        """Report the start and the end of a step."""
        self._running.append(name)
        self._report()
        yield
        self._running.remove(name)
        self._done += 1
        self._report()

    def _report(self) -> None:
        if self._on_progress is not None:
            step = self._running[0] if self._running else ""
            total = self._done + len(self._running)
            self._on_progress(BuildProgress(step=step, done=self._done, total=total))
