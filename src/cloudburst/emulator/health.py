"""Container health checks that are run in the same way as in ECS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from signal import SIGKILL
from typing import Any

from anyio import move_on_after, sleep

from cloudburst.emulator.containers import Containers

INTERVAL, TIMEOUT, RETRIES, START_PERIOD = 30, 5, 3, 0
"""Defaults of a health check, in seconds except for the number of retries: HealthCheck in the ECS
API reference (2026-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerHealthCheck:
    """Health check of a container: a command that is run repeatedly."""

    containers: Containers
    command: Sequence[str]
    environment: Mapping[str, str]
    in_image: bool
    """True if the command runs in an image."""
    check: Mapping[str, Any]
    """Member ``healthCheck`` of the container's definition."""
    on_change: Callable[[bool], None]
    """Function that is called whenever the health changes, with true for a healthy container."""

    async def run(self) -> None:
        """Run the check at its interval until cancelled."""
        retries = int(self.check.get("retries", RETRIES))
        grace_ends = time.monotonic() + float(self.check.get("startPeriod", START_PERIOD))
        failures, reported = 0, None
        for number in count():
            await sleep(float(self.check.get("interval", INTERVAL)))
            if await self._passes(f"{id(self)}/health/{number}"):
                failures, grace_ends = 0, 0.0
                found: bool | None = True
            else:
                # Within the start period no failure counts until the first success.
                failures += time.monotonic() >= grace_ends
                found = False if failures >= retries else reported
            if found is not None and found is not reported:
                reported = found
                self.on_change(found)

    async def _passes(self, name: str) -> bool:
        listener = _ExitCode()
        self.containers.start(
            name,
            self.command,
            self.environment,
            listener,
            in_image=self.in_image,
        )
        try:
            with move_on_after(float(self.check.get("timeout", TIMEOUT))):
                return await listener.code == 0
            return False
        finally:
            self.containers.send(name, SIGKILL, group=True)


@dataclass(slots=True)
class _ExitCode:
    """Listener that waits for the exit code of a process."""

    code: asyncio.Future[int] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def started(self, pid: int) -> None:
        """Ignore the start of the process."""

    def wrote(self, lines: Sequence[str]) -> None:
        """Discard the output of a health check, as ECS does."""

    def ended(self, code: int) -> None:
        if not self.code.done():
            self.code.set_result(code)
