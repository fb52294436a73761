"""RunTask operation of the emulated ECS API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cloudburst.emulator.capacity import launch_failure
from cloudburst.emulator.clusters import Clusters
from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.definitions import TaskDefinitions, check_size, cpu_units, memory_mb
from cloudburst.emulator.errors import ApiError, invalid_parameter
from cloudburst.emulator.launch_spec import LaunchSpec, TaskNetwork
from cloudburst.emulator.roles import Roles
from cloudburst.emulator.task_registry import TaskRegistry
from cloudburst.emulator.token_buckets import TokenBuckets

# Maximum number of tasks that one call of RunTask launches (ECS API reference, 2026-11).
MAX_TASKS_PER_CALL = 10
# Maximum length of a request's overrides as JSON, in characters: RunTask in the ECS API reference
# (2026-11).
MAX_OVERRIDES_CHARS = 8192
# Ephemeral storage of a task whose request sets no size, in GiB. Requests can set 21 to 200 GiB
# (ECS API reference, 2026-11).
MIN_DISK_GIB = 20


@dataclass(frozen=True, slots=True)
class _Remembered:
    body: str
    tasks: Sequence[str]


@dataclass(eq=False, slots=True, repr=False)
class TaskLauncher:
    """Implementation of RunTask: requests with the same client token launch tasks only once."""

    _config: EmulatorConfig
    _clusters: Clusters
    _definitions: TaskDefinitions
    _registry: TaskRegistry
    throttle: TokenBuckets
    roles: Roles
    _tokens: dict[str, _Remembered] = field(default_factory=dict[str, _Remembered])

    def run(
        self, parameters: Mapping[str, Any], network: TaskNetwork, *, failure: str | None = None
    ) -> dict[str, Any]:
        """Launch tasks, or fail each for a given reason; return the response of RunTask."""
        cluster = self._clusters.find(parameters)
        token = parameters.get("clientToken")
        body = json.dumps(
            {k: v for k, v in parameters.items() if k != "clientToken"}, sort_keys=True
        )
        if token and (known := self._tokens.get(token)):
            return self._repeated_response(known, body)
        definition = self._definitions.find_to_run(parameters["taskDefinition"])
        count = _checked_count(parameters)
        _check_overrides(parameters, definition)
        provider = _provider(parameters, cluster)
        tags = {tag["key"]: tag.get("value", "") for tag in parameters.get("tags") or ()}
        check_tags(tags)
        spec = self._launch_spec(parameters, cluster["clusterName"], definition, network)
        spec = replace(spec, provider=provider)
        overrides: Mapping[str, Any] = parameters.get("overrides") or {}
        self.roles.check_run(definition, overrides)
        if not self.throttle.try_take(provider or "FARGATE", count):
            raise ApiError("ThrottlingException", "Rate exceeded")
        tasks, failures = list[str](), list[dict[str, str]]()
        for _ in range(count):
            reason = failure or launch_failure(spec, self._config, self._registry.running())
            if reason:
                failures.append({"reason": reason})
                continue
            launched = self._registry.launch(
                spec, tags=dict(tags), started_by=parameters.get("startedBy")
            )
            tasks.append(launched.id)
        if token and tasks:
            self._tokens[token] = _Remembered(body, tasks)
        return self._answer(tasks, failures)

    def _repeated_response(self, known: _Remembered, body: str) -> dict[str, Any]:
        if known.body != body:
            raise ApiError(
                "ConflictException",
                "The request has the same client token as another one, and other parameters.",
                more={"resourceIds": [self._registry.snapshots[one].arn for one in known.tasks]},
            )
        return self._answer(known.tasks, [])

    def _answer(
        self, tasks: Sequence[str], failures: Sequence[Mapping[str, str]]
    ) -> dict[str, Any]:
        shown = [self._registry.described(ident, tags=True) for ident in tasks]
        return {"tasks": shown, "failures": failures}

    def _launch_spec(
        self,
        parameters: Mapping[str, Any],
        cluster: str,
        definition: Mapping[str, Any],
        network: TaskNetwork,
    ) -> LaunchSpec:
        overrides: Mapping[str, Any] = parameters.get("overrides") or {}
        cpu = cpu_units(overrides.get("cpu") or definition["cpu"])
        memory = memory_mb(overrides.get("memory") or definition["memory"])
        check_size(cpu, memory)
        storage: Mapping[str, int] = (
            overrides.get("ephemeralStorage") or definition.get("ephemeralStorage") or {}
        )
        disk = storage.get("sizeInGiB", MIN_DISK_GIB)
        if not MIN_DISK_GIB <= disk <= 200 or (storage and disk == MIN_DISK_GIB):
            raise invalid_parameter("Ephemeral storage size must be between 21 and 200 GiB.")
        return LaunchSpec(
            cluster=cluster,
            definition=definition,
            overrides=overrides,
            cpu=cpu,
            memory_mb=memory,
            disk_gib=disk,
            network=network,
            group=parameters.get("group") or f"family:{definition['family']}",
            port=self._config.port,
        )


def _provider(parameters: Mapping[str, Any], cluster: Mapping[str, Any]) -> str | None:
    strategy = parameters.get("capacityProviderStrategy") or ()
    launch_type = parameters.get("launchType")
    if launch_type and strategy:
        raise invalid_parameter(
            "Specify either launch type or capacity provider strategy in your request, but not "
            "both."
        )
    if launch_type == "FARGATE":
        return None
    strategy = strategy or cluster["defaultCapacityProviderStrategy"]
    if launch_type or not strategy:
        raise invalid_parameter("No Container Instances were found in your cluster.")
    if len(strategy) > 1:
        raise invalid_parameter("The emulator spreads no tasks over several capacity providers.")
    provider = str(strategy[0]["capacityProvider"])
    if provider not in cluster["capacityProviders"]:
        raise invalid_parameter(
            "The specified capacity provider strategy cannot contain a capacity provider that is "
            "not associated with the cluster. Associate the capacity provider with the cluster and "
            "retry."
        )
    return provider


def _checked_count(parameters: Mapping[str, Any]) -> int:
    count = parameters.get("count")
    count = 1 if count is None else count
    if not 1 <= count <= MAX_TASKS_PER_CALL:
        raise invalid_parameter(f"Count should be between 1 and {MAX_TASKS_PER_CALL}.")
    return int(count)


def _check_overrides(parameters: Mapping[str, Any], definition: Mapping[str, Any]) -> None:
    overrides: Mapping[str, Any] = parameters.get("overrides") or {}
    if len(json.dumps(overrides, ensure_ascii=False, separators=(",", ":"))) > MAX_OVERRIDES_CHARS:
        raise invalid_parameter(f"Container Overrides length must be at most {MAX_OVERRIDES_CHARS}")
    names = {container["name"] for container in definition["containerDefinitions"]}
    for override in overrides.get("containerOverrides") or ():
        name = override.get("name")
        if name not in names:
            raise invalid_parameter(
                f"Override for container named {name} is not a container in the TaskDefinition."
            )


def check_tags(tags: Mapping[str, str]) -> None:
    """Refuse tags that AWS does not accept: "Tagging your Amazon ECS resources" (2026-11)."""
    if len(tags) > 50:
        raise invalid_parameter("The number of tags exceeds the limit of 50.")
    for key, value in tags.items():
        allowed = all(
            char.isalnum() or char.isspace() or char in "_.:/=+-@" for char in key + value
        )
        if not allowed or not 1 <= len(key) <= 128 or len(value) > 256:
            raise invalid_parameter("Some tags contain invalid characters, or are too long.")
        if key.lower().startswith("aws:"):
            raise invalid_parameter("Tag keys beginning with 'aws:' are reserved.")
