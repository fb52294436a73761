"""Start of the containers of one task: in their images, or as programs of this machine."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from signal import SIGKILL
from typing import Any

from anyio import move_on_after, sleep

from cloudburst.emulator.config import TaskFault
from cloudburst.emulator.containers import ContainerListener, Containers
from cloudburst.emulator.launch_spec import LaunchSpec
from cloudburst.emulator.shared_state import SharedState
from cloudburst.emulator.task_images import ImageProgram, TaskImages

# Defaults of a health check, in seconds except for the number of retries: HealthCheck in the ECS
# API reference (2026-11).
INTERVAL, TIMEOUT, RETRIES, START_PERIOD = 30, 5, 3, 0


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


# What stands for the own container in the command of a health check.
LOOPBACK = re.compile(r"\b(?:127\.0\.0\.1|localhost)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPrograms:
    """Programs of the containers of one task."""

    spec: LaunchSpec
    fault: TaskFault
    shared: SharedState
    images: TaskImages | None

    def start(
        self, container: Mapping[str, Any], key: str, address: str, listener: ContainerListener
    ) -> None:
        """Start a container."""
        command, environment = self._program(container, address)
        self.shared.containers.start(
            key,
            command,
            environment,
            listener,
            in_image=container["name"] in self._in_images,
            has_init=self.spec.has_init(container),
        )

    @property
    def _in_images(self) -> Mapping[str, ImageProgram]:
        return self.images.programs if self.images else {}

    def _program(
        self, container: Mapping[str, Any], address: str, command: Sequence[str] = ()
    ) -> tuple[Sequence[str], Mapping[str, str]]:
        config, name = self.shared.config, str(container["name"])
        if program := self._in_images.get(name):
            own = self.spec.variables(name, config, self.fault, address)
            return program.sandbox.running(command or program.command), {
                **program.environment,
                **own,
            }
        own_command, environment = self.spec.program(container, config, self.fault, address)
        return command or own_command, environment

    def health_check(
        self, address: str, on_change: Callable[[bool], None]
    ) -> ContainerHealthCheck | None:
        """Return the health check of the main container, which runs beside it; or ``None``."""
        check: Mapping[str, Any] = self.spec.main_container.get("healthCheck") or {}
        command = _health_command(check, address)
        if not command:
            return None
        command, environment = self._program(self.spec.main_container, address, command)
        return ContainerHealthCheck(
            containers=self.shared.containers,
            command=command,
            environment=environment,
            in_image=self.spec.main in self._in_images,
            check=check,
            on_change=on_change,
        )


def _health_command(check: Mapping[str, Any], address: str) -> Sequence[str]:
    kind, *words = [LOOPBACK.sub(address, str(word)) for word in check.get("command") or ("NONE",)]
    match kind:
        case "CMD":
            return words
        case "CMD-SHELL":
            return ["/bin/sh", "-c", " ".join(words)]
        case _:
            return []
