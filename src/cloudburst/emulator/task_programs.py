"""Start of the containers of one task: in their images, or as programs of this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cloudburst.emulator.allowed_programs import health_command, health_program
from cloudburst.emulator.config import TaskFault
from cloudburst.emulator.containers import ContainerListener
from cloudburst.emulator.health import ContainerHealthCheck
from cloudburst.emulator.launch_spec import LaunchSpec
from cloudburst.emulator.shared_state import SharedState
from cloudburst.emulator.task_images import TaskImages, image_health_command


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
        config, name = self.shared.config, str(container["name"])
        frozen = self.fault.never_healthy and name == self.spec.main
        if self.images and (program := self.images.programs.get(name)):
            own = self.spec.variables(name, config, self.fault, address)
            self.shared.containers.start(
                key,
                program.command,
                {**program.environment, **own},
                listener,
                frozen=frozen,
                confinement=self.images.runs_in(name, address),
            )
            return
        command, environment = self.spec.program(container, config, self.fault, address)
        self.shared.containers.start(
            key,
            command,
            environment,
            listener,
            ignores_sigterm=config.pid1 and not self.spec.has_init(container),
            frozen=frozen and bool(command),
        )

    def health_check(
        self, key: str, address: str, on_change: Callable[[bool], None]
    ) -> ContainerHealthCheck | None:
        """Return the health check of the main container, or ``None`` if it has none."""
        container, config, name = self.spec.main_container, self.shared.config, self.spec.main
        check: Mapping[str, Any] | None = container.get("healthCheck")
        if not check:
            return None
        confinement = self.images.runs_in(name, address) if self.images else None
        if self.images and confinement:
            own = self.spec.variables(name, config, self.fault, address)
            command = image_health_command(check)
            environment = {**self.images.programs[name].environment, **own}
        else:
            _, environment = self.spec.program(container, config, self.fault, address)
            command = health_command(health_program(check["command"]), address, config.port)
        return ContainerHealthCheck(
            containers=self.shared.containers,
            container=key,
            command=command,
            environment=environment,
            confinement=confinement,
            check=check,
            on_change=on_change,
        )
