"""Specification of a task to launch: its task definition and the RunTask request combined."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudburst.emulator.config import EmulatorConfig, TaskFault
from cloudburst.emulator.logs import LogDestination

# Environment variables that programs of this machine take from the emulator's process. Definitions
# set them for the files of an image.
INHERITED_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")
# Command of a container beside the worker whose definition has none. On AWS, the program of its
# image would run.
WAIT_COMMAND = ("sleep", "infinity")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskNetwork:
    """Network of a task, resolved from the ``awsvpcConfiguration`` of its RunTask request."""

    subnet: str
    """Id of the subnet, one of those in the request."""
    zone: str
    zone_id: str
    groups: Sequence[str]
    """Ids of the security groups."""
    public: bool
    """True if the request asks for a public address."""
    internet: bool
    """True if the routes of the subnet lead to registries and to AWS."""
    port_open: bool
    """True if the security groups allow connections to the worker's port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """Specification of a task, from its task definition and its RunTask request."""

    cluster: str
    definition: Mapping[str, Any]
    overrides: Mapping[str, Any]
    cpu: int
    """CPU in units of 1/1024 vCPU."""
    memory_mb: int
    disk_gib: int
    network: TaskNetwork
    group: str
    port: int
    """TCP port on which the task's worker listens."""
    provider: str | None = None
    """Capacity provider; ``None`` if the request has a launch type."""

    @property
    def spot(self) -> bool:
        """True if the task runs on Spot."""
        return self.provider == "FARGATE_SPOT"

    @property
    def architecture(self) -> str:
        """Processor architecture: ``X86_64`` or ``ARM64``."""
        platform: Mapping[str, Any] = self.definition.get("runtimePlatform") or {}
        return str(platform.get("cpuArchitecture") or "X86_64")

    @property
    def containers(self) -> Sequence[Mapping[str, Any]]:
        """Definitions of the task's containers."""
        found: Sequence[Mapping[str, Any]] = self.definition["containerDefinitions"]
        return found

    @property
    def main_container(self) -> Mapping[str, Any]:
        """Definition of the container that runs the worker.

        This is the container that maps the worker's port, or the first container if none does.
        """
        for container in self.containers:
            for mapping in container.get("portMappings", ()):
                if mapping.get("containerPort") == self.port:
                    return container
        return self.containers[0]

    @property
    def main(self) -> str:
        """Name of the main container."""
        return str(self.main_container["name"])

    def container(self, name: str) -> Mapping[str, Any]:
        """Return the definition of the container with this name."""
        return next(one for one in self.containers if one["name"] == name)

    def override(self, name: str) -> Mapping[str, Any]:
        """Return the RunTask request's overrides for a container; empty if there are none."""
        overrides: Sequence[Mapping[str, Any]] = self.overrides.get("containerOverrides", ())
        none: Mapping[str, Any] = {}
        return next((one for one in overrides if one["name"] == name), none)

    def environment(self, name: str) -> dict[str, str]:
        """Return a container's environment variables from its definition and overrides."""
        members = (self.container(name), self.override(name))
        entries = [entry for one in members for entry in one.get("environment", ())]
        return {entry["name"]: entry["value"] for entry in entries}

    def is_essential(self, name: str) -> bool:
        """Return whether the task stops when this container ends."""
        return bool(self.container(name).get("essential", True))

    @staticmethod
    def has_init(container: Mapping[str, Any]) -> bool:
        """Return whether a container's definition enables an init process as its first process."""
        return bool(container.get("linuxParameters", {}).get("initProcessEnabled"))

    def stop_timeout(self, name: str, config: EmulatorConfig) -> float:
        """Return the seconds from SIGTERM to SIGKILL for a container."""
        return float(self.container(name).get("stopTimeout") or config.stop_timeout)

    def log_of(self, name: str, task: str) -> LogDestination | None:
        """Return the destination of a container's output; ``None`` without the awslogs driver."""
        log: Mapping[str, Any] = self.container(name).get("logConfiguration") or {}
        options: Mapping[str, str] = log.get("options") or {}
        if log.get("logDriver") != "awslogs" or "awslogs-group" not in options:
            return None
        prefix = options.get("awslogs-stream-prefix", "")
        return LogDestination(group=options["awslogs-group"], stream=f"{prefix}/{name}/{task}")

    def logs(self, task: str) -> Iterator[LogDestination]:
        """Yield the log destination of each container that uses the awslogs driver."""
        for container in self.containers:
            if log := self.log_of(container["name"], task):
                yield log

    def program(
        self, container: Mapping[str, Any], config: EmulatorConfig, fault: TaskFault, address: str
    ) -> tuple[list[str], dict[str, str]]:
        """Return command and environment of the process that runs in place of a container."""
        name = container["name"]
        own = self.variables(name, config, fault, address)
        environment = {key: os.environ[key] for key in INHERITED_VARIABLES if key in os.environ}
        # Commands name Python as their image does.
        path = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        environment["PATH"] = os.pathsep.join(path)
        # A definition has those of its image, the configuration those of this machine.
        ours = set(INHERITED_VARIABLES) - set(config.worker_environment)
        environment |= {key: text for key, text in own.items() if key not in ours}
        if name != self.main:
            command = self.override(name).get("command") or container.get("command") or ()
            words = [*(container.get("entryPoint") or ()), *command]
            return [str(word) for word in words or WAIT_COMMAND], environment
        places = {"{host}": address, "{port}": str(config.port)}
        return [_filled(word, places) for word in config.worker], environment

    def variables(
        self, name: str, config: EmulatorConfig, fault: TaskFault, address: str
    ) -> dict[str, str]:
        """Return the environment variables of a container that do not come from its image."""
        own = self.environment(name) | {
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
            "AWS_REGION": config.region,
        }
        if name != self.main:
            return own
        places = {"{host}": address, "{port}": str(config.port)}
        return own | {
            "CLOUDBURST_HOST": address,
            "CLOUDBURST_PORT": str(config.port),
            **{key: _filled(text, places) for key, text in config.worker_environment.items()},
            **({"STUB_NEVER_HEALTHY": "1"} if fault.never_healthy else {}),
            **fault.environment,
        }


def _filled(text: str, places: Mapping[str, str]) -> str:
    for place, value in places.items():
        text = text.replace(place, value)
    return text
