"""ECS: RunTask."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.testing.emulator.buckets import Throttle
from cloudburst.testing.emulator.clusters import Clusters
from cloudburst.testing.emulator.config import EmulatorConfig
from cloudburst.testing.emulator.definitions import Definitions, check_size, cpu_units, memory_mb
from cloudburst.testing.emulator.facts import Task
from cloudburst.testing.emulator.faults import CAPACITY
from cloudburst.testing.emulator.fleet import Fleet
from cloudburst.testing.emulator.orders import Orders
from cloudburst.testing.emulator.refusal import RefusedError, client_error, invalid
from cloudburst.testing.emulator.task_shape import task_shape

MOST_TASKS = 10
LONGEST_OVERRIDES = 8192
LONGEST_TOKEN = 64
STARTED_BY = re.compile(r"[A-Za-z0-9/_-]{0,128}")
"""The last four: RunTask in the ECS API reference (2026-11)."""
TOKEN_SECONDS = (86_400.0, 3600.0)
"""A token is known for the first, or for the second after its tasks have ended: "Ensuring
idempotency" in the ECS API reference (2026-11)."""
FREE_DISK = 20
"""GiB of ephemeral storage that every task has; more is from 21 to 200: the same reference."""
NO_VCPUS = "You've reached the limit on the number of vCPUs you can run concurrently"
"""Reason of a failure: "Amazon ECS service event messages" in the developer guide (2026-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnets:
    """What EC2 says of a request's network."""

    zone: str
    reachable: bool


@dataclass(frozen=True, slots=True)
class _Remembered:
    body: str
    tasks: Sequence[str]
    at: float


class Launching:
    """Starts tasks, once for each token."""

    def __init__(
        self,
        config: EmulatorConfig,
        clusters: Clusters,
        definitions: Definitions,
        fleet: Fleet,
        throttle: Throttle,
    ) -> None:
        self._config = config
        self._clusters = clusters
        self._definitions = definitions
        self._fleet = fleet
        self._throttle = throttle
        self._prefix = f"arn:aws:ecs:{config.region}:{config.account}:"
        self._tokens: dict[str, _Remembered] = {}

    def run(
        self, asked: Mapping[str, Any], network: Subnets, *, failure: str | None = None
    ) -> dict[str, Any]:
        """RunTask; with a ``failure`` nothing is started, for that reason."""
        cluster = self._clusters.find(asked)
        token = asked.get("clientToken")
        if token and len(token) > LONGEST_TOKEN:
            raise invalid(f"clientToken can be up to {LONGEST_TOKEN} characters long.")
        body = json.dumps({k: v for k, v in asked.items() if k != "clientToken"}, sort_keys=True)
        if token and (known := self._known(token)):
            return self._again(known, body)
        definition, definition_tags = self._definitions.find_to_run(asked["taskDefinition"])
        count = _checked_count(asked)
        _check_overrides(asked, definition)
        providers = self._providers(asked, cluster, count)
        tags = _checked_tags(asked, definition_tags)
        orders = [
            self._orders(
                asked,
                cluster=cluster["clusterName"],
                definition=definition,
                provider=provider,
                network=network,
            )
            for provider in providers
        ]
        self._take_launches(orders)
        tasks, failures = list[Task](), list[dict[str, str]]()
        for one in orders:
            reason = failure or self._lacks(one)
            if reason:
                failures.append({"reason": reason})
                continue
            ident = secrets.token_hex(16)
            tasks.append(
                self._fleet.launch(
                    one,
                    ident=ident,
                    arn=f"{self._prefix}task/{cluster['clusterName']}/{ident}",
                    tags=dict(tags),
                    started_by=asked.get("startedBy"),
                )
            )
        if token and tasks:
            self._tokens[token] = _Remembered(body, [task.id for task in tasks], time.time())
        return self._answer(tasks, failures)

    def _known(self, token: str) -> _Remembered | None:
        known = self._tokens.get(token)
        if known is None:
            return None
        longest, after_end = TOKEN_SECONDS
        ends = [self._fleet.facts[ident].stopped for ident in known.tasks]
        limit = known.at + longest
        if all(end is not None for end in ends):
            limit = min(limit, max(end for end in ends if end is not None) + after_end)
        return known if time.time() < limit else None

    def _again(self, known: _Remembered, body: str) -> dict[str, Any]:
        tasks = [self._fleet.facts[ident] for ident in known.tasks]
        if known.body != body:
            raise RefusedError(
                "ConflictException",
                "The request has the same client token as another one, and other parameters.",
                more={"resourceIds": [task.arn for task in tasks]},
            )
        return self._answer(tasks, [])

    def _answer(self, tasks: list[Task], failures: list[dict[str, str]]) -> dict[str, Any]:
        shown = [
            task_shape(task, self._fleet.life(task.id).orders, self._config, tags=True)
            for task in tasks
        ]
        return {"tasks": shown, "failures": failures}

    def _providers(
        self, asked: Mapping[str, Any], cluster: Mapping[str, Any], count: int
    ) -> list[str | None]:
        """The capacity provider of each task; ``None``: a launch type was asked for."""
        strategy = asked.get("capacityProviderStrategy") or ()
        launch_type = asked.get("launchType")
        if launch_type and strategy:
            raise invalid(
                "Specify either launch type or capacity provider strategy in your request, "
                "but not both."
            )
        if launch_type not in {None, "FARGATE"}:
            raise invalid("No Container Instances were found in your cluster.")
        if launch_type:
            return [None] * count
        strategy = strategy or cluster["defaultCapacityProviderStrategy"]
        if not strategy:
            raise invalid("No Container Instances were found in your cluster.")
        for item in strategy:
            if item["capacityProvider"] not in cluster["capacityProviders"]:
                raise invalid(
                    "The specified capacity provider strategy cannot contain a capacity provider "
                    "that is not associated with the cluster. Associate the capacity provider with "
                    "the cluster and retry."
                )
        return [_pick(strategy, number) for number in range(count)]

    def _orders(
        self,
        asked: Mapping[str, Any],
        *,
        cluster: str,
        definition: Mapping[str, Any],
        provider: str | None,
        network: Subnets,
    ) -> Orders:
        overrides: Mapping[str, Any] = asked.get("overrides") or {}
        cpu = cpu_units(overrides.get("cpu") or definition["cpu"])
        memory = memory_mb(overrides.get("memory") or definition["memory"])
        check_size(cpu, memory)
        storage: Mapping[str, int] = (
            overrides.get("ephemeralStorage") or definition.get("ephemeralStorage") or {}
        )
        disk = storage.get("sizeInGiB", FREE_DISK)
        if not FREE_DISK <= disk <= 200 or (storage and disk == FREE_DISK):
            raise invalid("Ephemeral storage size must be between 21 and 200 GiB.")
        return Orders(
            cluster=cluster,
            definition=definition,
            overrides=overrides,
            cpu=cpu,
            memory_mb=memory,
            disk_gib=disk,
            provider=provider,
            launch_type="FARGATE",
            network=asked["networkConfiguration"]["awsvpcConfiguration"],
            zone=network.zone,
            reachable=network.reachable,
            group=asked.get("group") or f"family:{definition['family']}",
            port=self._config.port,
            exec_enabled=bool(asked.get("enableExecuteCommand")),
        )

    def _take_launches(self, orders: Sequence[Orders]) -> None:
        spot = sum(one.spot for one in orders)
        for name, tasks in (("FARGATE_SPOT", spot), ("FARGATE", len(orders) - spot)):
            if tasks and not self._throttle.takes(name, tasks):
                raise RefusedError("ThrottlingException", "Rate exceeded")

    def _lacks(self, orders: Orders) -> str | None:
        """Why there is no room for a task."""
        config, fleet = self._config, self._fleet
        if config.max_running is not None and len(fleet.running()) >= config.max_running:
            return CAPACITY
        if any(
            lack.hits(
                zone=orders.zone,
                provider=orders.provider or "FARGATE",
                vcpu=orders.cpu / 1024,
                memory_gb=orders.memory_mb / 1024,
            )
            for lack in config.lacks
        ):
            return CAPACITY
        quota = config.spot_vcpu_quota if orders.spot else config.vcpu_quota
        used = sum(task.vcpu for task in fleet.running(spot=orders.spot))
        if quota is not None and used + orders.cpu / 1024 > quota:
            return NO_VCPUS
        return None


def check_network(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ``awsvpcConfiguration`` of a request. Raises `RefusedError` when it lacks one."""
    configuration: Mapping[str, Any] = asked.get("networkConfiguration") or {}
    network: Mapping[str, Any] = configuration.get("awsvpcConfiguration") or {}
    if not network:
        raise invalid(
            "Network Configuration must be provided when networkMode 'awsvpc' is specified."
        )
    if not network.get("subnets"):
        raise invalid("subnets can not be empty.")
    if len(network["subnets"]) > 16:
        raise invalid("There is a limit of 16 subnets that can be specified.")
    if len(network.get("securityGroups") or ()) > 5:
        raise invalid("There is a limit of 5 security groups that can be specified.")
    return network


def _checked_count(asked: Mapping[str, Any]) -> int:
    count = asked.get("count")
    count = 1 if count is None else count
    if not 1 <= count <= MOST_TASKS:
        raise invalid(f"Count should be between 1 and {MOST_TASKS}.")
    if not STARTED_BY.fullmatch(asked.get("startedBy") or ""):
        raise invalid(
            "startedBy can have up to 128 letters, numbers, hyphens, forward slashes and "
            "underscores."
        )
    return int(count)


def _check_overrides(asked: Mapping[str, Any], definition: Mapping[str, Any]) -> None:
    overrides: Mapping[str, Any] = asked.get("overrides") or {}
    if len(json.dumps(overrides, ensure_ascii=False, separators=(",", ":"))) > LONGEST_OVERRIDES:
        raise invalid(f"Container Overrides length must be at most {LONGEST_OVERRIDES}")
    names = {container["name"] for container in definition["containerDefinitions"]}
    for override in overrides.get("containerOverrides") or ():
        name = override.get("name")
        if name not in names:
            raise invalid(
                f"Override for container named {name} is not a container in the TaskDefinition."
            )


def _checked_tags(
    asked: Mapping[str, Any], definition_tags: Sequence[Mapping[str, str]]
) -> dict[str, str]:
    propagated = definition_tags if asked.get("propagateTags") == "TASK_DEFINITION" else ()
    tags = {tag["key"]: tag.get("value", "") for tag in (*propagated, *(asked.get("tags") or ()))}
    check_tags(tags)
    return tags


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises `RefusedError` for tags that AWS does not take.

    "Tagging your Amazon ECS resources" in the developer guide (2026-11): 50 tags, keys of 128
    and values of 256 characters, and the letters, digits, spaces and signs of EC2.
    """
    if len(tags) > 50:
        raise invalid("The number of tags exceeds the limit of 50.")
    for key, value in tags.items():
        allowed = all(
            char.isalnum() or char.isspace() or char in "_.:/=+-@" for char in key + value
        )
        if not allowed or not 1 <= len(key) <= 128 or len(value) > 256:
            raise invalid("Some tags contain invalid characters, or are too long.")
        if key.lower().startswith("aws:"):
            raise invalid("Tag keys beginning with 'aws:' are reserved.")


def _pick(strategy: Sequence[Mapping[str, Any]], number: int) -> str:
    """The provider of the n-th task of a call: bases first, then by weight."""
    based = [item["capacityProvider"] for item in strategy for _ in range(item.get("base") or 0)]
    if number < len(based):
        return str(based[number])
    weighed = [
        item["capacityProvider"] for item in strategy for _ in range(item.get("weight") or 0)
    ]
    if not weighed:
        raise client_error("At least one capacity provider needs a weight greater than zero.")
    return str(weighed[(number - len(based)) % len(weighed)])
