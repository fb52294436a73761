"""Progress of a build, reported to the caller."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildProgress:
    """State of a build, for a display."""

    step: str
    """Description of the current step, for example ``download the packages (amd64)``."""
    done: int = 0
    """Number of steps that are finished."""
    total: int = 0
    """Number of steps of the build, as far as they are known."""


OnBuildProgress: TypeAlias = Callable[[BuildProgress], None]
"""Function that is called at the start and the end of each step of a build."""


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
