"""What RunTask has decided about a task."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.testing.emulator.config import EmulatorConfig, TaskFault
from cloudburst.testing.emulator.logs import LogAddress

FROM_HERE = ("PATH", "HOME", "LANG", "TMPDIR")
"""Of this machine's environment, what a container gets in place of its image."""
HARMLESS = {"sleep", "sh", "/bin/sh", "/bin/sleep"}
"""Commands of side containers that are run as they are; others only wait to be killed."""
FOREVER = ("sleep", "infinity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """A task definition, the request, and what was made of them."""

    cluster: str
    definition: Mapping[str, Any]
    overrides: Mapping[str, Any]
    cpu: int
    """In units of 1/1024 vCPU."""
    memory_mb: int
    disk_gib: int
    provider: str | None
    """Capacity provider; ``None`` when a launch type was asked for."""
    launch_type: str
    network: Mapping[str, Any]
    """``awsvpcConfiguration``."""
    zone: str
    reachable: bool
    """Whether the security groups let anybody in at the worker's port."""
    group: str
    port: int
    """Where workers listen."""
    exec_enabled: bool = False

    @property
    def spot(self) -> bool:
        """Whether it runs on Spot."""
        return self.provider == "FARGATE_SPOT"

    @property
    def containers(self) -> Sequence[Mapping[str, Any]]:
        """Their definitions."""
        found: Sequence[Mapping[str, Any]] = self.definition["containerDefinitions"]
        return found

    @property
    def main_container(self) -> Mapping[str, Any]:
        """The one that has the worker's port, else the first."""
        for container in self.containers:
            for mapping in container.get("portMappings", ()):
                if mapping.get("containerPort") == self.port:
                    return container
        return self.containers[0]

    @property
    def main(self) -> str:
        """Its name."""
        return str(self.main_container["name"])

    def override(self, name: str) -> Mapping[str, Any]:
        """What the request changes of a container."""
        for override in self.overrides.get("containerOverrides", ()):
            if override.get("name") == name:
                found: Mapping[str, Any] = override
                return found
        return {}

    def environment(self, name: str) -> dict[str, str]:
        """Of a container, as definition and request say."""
        container = next(one for one in self.containers if one["name"] == name)
        entries = [*container.get("environment", ()), *self.override(name).get("environment", ())]
        return {entry["name"]: entry["value"] for entry in entries}

    def is_essential(self, name: str) -> bool:
        """Whether the task ends with this container."""
        return any(one["name"] == name and one.get("essential", True) for one in self.containers)

    @staticmethod
    def has_init(container: Mapping[str, Any]) -> bool:
        """Whether an init process stands before its own."""
        return bool(container.get("linuxParameters", {}).get("initProcessEnabled"))

    def stop_timeout(self, name: str, config: EmulatorConfig) -> float:
        """Seconds from SIGTERM to SIGKILL."""
        container = next(one for one in self.containers if one["name"] == name)
        return float(container.get("stopTimeout") or config.stop_timeout)

    def log_of(self, name: str, task: str) -> LogAddress | None:
        """Where a container's output goes."""
        container = next(one for one in self.containers if one["name"] == name)
        log: Mapping[str, Any] = container.get("logConfiguration") or {}
        options: Mapping[str, str] = log.get("options") or {}
        if log.get("logDriver") != "awslogs" or "awslogs-group" not in options:
            return None
        prefix = options.get("awslogs-stream-prefix", "")
        return LogAddress(
            group=options["awslogs-group"],
            stream=f"{prefix}/{name}/{task}",
            creates=options.get("awslogs-create-group") == "true",
        )

    def logs(self, task: str) -> Iterator[LogAddress]:
        """Where the output of all containers goes."""
        for container in self.containers:
            if log := self.log_of(container["name"], task):
                yield log

    def program(
        self, container: Mapping[str, Any], config: EmulatorConfig, fault: TaskFault, address: str
    ) -> tuple[list[str], dict[str, str]]:
        """The command that runs in place of a container's image, and its environment."""
        name = container["name"]
        own = self.environment(name) | {
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
            "AWS_REGION": config.region,
        }
        base = {key: os.environ[key] for key in FROM_HERE if key in os.environ}
        if name != self.main:
            return self._side_command(container), base | own
        places = {"{host}": address, "{port}": str(config.port)}
        given = {
            "CLOUDBURST_HOST": address,
            "CLOUDBURST_PORT": str(config.port),
            **{key: _filled(text, places) for key, text in config.worker_environment.items()},
            **({"STUB_NEVER_HEALTHY": "1"} if fault.never_healthy else {}),
            **fault.environment,
        }
        return [_filled(word, places) for word in config.worker], base | own | given

    def _side_command(self, container: Mapping[str, Any]) -> list[str]:
        override = self.override(container["name"])
        command = override.get("command") or container.get("command") or ()
        words = [*container.get("entryPoint", ()), *command]
        if words and words[0] in HARMLESS:
            return words
        return list(FOREVER)


def _filled(text: str, places: Mapping[str, str]) -> str:
    for place, value in places.items():
        text = text.replace(place, value)
    return text
