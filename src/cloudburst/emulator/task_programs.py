"""Start of the containers of one task: in their images, or as programs of this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.emulator.config import TaskFault
from cloudburst.emulator.containers import Confinement, ContainerListener
from cloudburst.emulator.health import ContainerHealthCheck
from cloudburst.emulator.launch_spec import LaunchSpec
from cloudburst.emulator.shared_state import SharedState
from cloudburst.emulator.task_images import TaskImages

LOOPBACK = re.compile(r"\b(?:127\.0\.0\.1|localhost)\b")
"""What stands for the own container in the command of a health check."""


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
        """Start a container.

        Args:
            container: Definition of the container.
            key: Name of the container in `Containers`.
            address: IP address at which the worker listens.
            listener: Receiver of the container's events.
        """
        command, environment, confinement = self._program(container, address)
        holds = self.fault.never_healthy and container["name"] == self.spec.main
        ignores = not self.spec.has_init(container)
        self.shared.containers.start(
            key,
            command,
            environment,
            listener,
            ignores_sigterm=ignores and not confinement,
            frozen=holds and bool(command),
            confinement=confinement,
        )

    def _program(
        self, container: Mapping[str, Any], address: str
    ) -> tuple[Sequence[str], Mapping[str, str], Confinement | None]:
        """Return command, environment variables and, if it runs its image, the confinement."""
        config, name = self.shared.config, str(container["name"])
        program = self.images.programs.get(name) if self.images else None
        if program:
            own = self.spec.variables(name, config, self.fault, address)
            return program.command, {**program.environment, **own}, program.confinement
        return *self.spec.program(container, config, self.fault, address), None

    def health_check(
        self, key: str, address: str, on_change: Callable[[bool], None]
    ) -> ContainerHealthCheck | None:
        """Return the health check of the main container, or ``None`` if it has none."""
        check: Mapping[str, Any] = self.spec.main_container.get("healthCheck") or {}
        command = _health_command(check, address)
        if not command:
            return None
        _, environment, confinement = self._program(self.spec.main_container, address)
        return ContainerHealthCheck(
            containers=self.shared.containers,
            container=key,
            command=command,
            environment=environment,
            confinement=confinement,
            check=check,
            on_change=on_change,
        )


def _health_command(check: Mapping[str, Any], address: str) -> list[str]:
    """Return the command of a health check; empty for none."""
    kind, *words = [LOOPBACK.sub(address, str(word)) for word in check.get("command") or ("NONE",)]
    match kind:
        case "CMD":
            return words
        case "CMD-SHELL":
            return ["/bin/sh", "-c", " ".join(words)]
        case _:
            return []
