"""Start of the containers of one task: in their images, or as programs of this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.emulator.config import TaskFault
from cloudburst.emulator.containers import ContainerListener
from cloudburst.emulator.health import ContainerHealthCheck
from cloudburst.emulator.launch_spec import LaunchSpec
from cloudburst.emulator.shared_state import SharedState
from cloudburst.emulator.task_images import ImageProgram, TaskImages

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
        """Return command and environment variables of a container, or of another command in it."""
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
        """Return the health check of the main container, or ``None`` if it has none.

        In an image, the check runs beside the container: it has the same files, but not the changes
        of the container.
        """
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
    """Return the command of a health check; empty for none."""
    kind, *words = [LOOPBACK.sub(address, str(word)) for word in check.get("command") or ("NONE",)]
    match kind:
        case "CMD":
            return words
        case "CMD-SHELL":
            return ["/bin/sh", "-c", " ".join(words)]
        case _:
            return []
