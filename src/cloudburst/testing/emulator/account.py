"""The services of the account, and what it begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cloudburst.testing.emulator.buckets import Throttle
from cloudburst.testing.emulator.clusters import Clusters
from cloudburst.testing.emulator.config import EmulatorConfig
from cloudburst.testing.emulator.containers import Containers
from cloudburst.testing.emulator.definitions import Definitions
from cloudburst.testing.emulator.ec2 import EC2
from cloudburst.testing.emulator.fleet import Fleet
from cloudburst.testing.emulator.identity import Identity
from cloudburst.testing.emulator.launching import Launching
from cloudburst.testing.emulator.logs import Logs
from cloudburst.testing.emulator.moto import EXECUTION_ROLE, Moto
from cloudburst.testing.emulator.pricing import Pricing
from cloudburst.testing.emulator.quotas import Quotas
from cloudburst.testing.emulator.tasks import Tasks

Operation = Callable[[Mapping[str, Any]], dict[str, Any]]

CLUSTER, DEFINITION = "cloudburst-cluster", "cloudburst-task"
CONTAINER, WATCHDOG = "cloudburst-processor", "cloudburst-watchdog"
LOG_GROUP, LOG_PREFIX = "/ecs/cloudburst", "ecs"
RETENTION_DAYS = 30
PUBLIC_IMAGE = "betashow/video-generation-api:latest"
WATCHDOG_IMAGE = "public.ecr.aws/docker/library/busybox:stable"
OUR_STOP, OTHER_STOP = 120, 5
"""Seconds of ``stopTimeout``: a worker of ours finishes what it makes, others do not."""
LIFETIME = 3600
CPU, MEMORY = "2048", "4096"
TAGS = {"CreatedBy": "animagent", "Project": "CloudBurst"}
"""All of this as ``cloudburst init`` makes it."""


class Account:
    """Everything that answers."""

    def __init__(
        self,
        config: EmulatorConfig,
        *,
        fleet: Fleet,
        logs: Logs,
        containers: Containers,
        with_moto: bool,
    ) -> None:
        self._config = config
        self.identity = Identity(config)
        self.throttle = Throttle(config.buckets)
        self.logs = logs
        self.clusters = Clusters(config, fleet)
        self.definitions = Definitions(config)
        self.launching = Launching(config, self.clusters, self.definitions, fleet, self.throttle)
        self.ec2 = EC2(config, fleet)
        self.moto = Moto(config, containers) if with_moto else None
        tasks = Tasks(config, self.clusters, self.definitions, fleet)
        self._operations: dict[str, Mapping[str, Operation]] = {
            "ecs": self.clusters.operations | self.definitions.operations | tasks.operations,
            "ec2": self.ec2.interfaces,
            "sts": self.identity.sts,
            "iam": self.identity.iam,
            "logs": logs.operations,
            "servicequotas": Quotas(config).operations,
            "pricing": Pricing().operations,
        }

    def operation(self, service: str, name: str) -> Operation | None:
        """What does an operation here; ``None``: moto, if anybody."""
        found = self._operations.get(service, {}).get(name)
        # Once moto is there, it knows more of the VPC than we do.
        if found is None and service == "ec2" and not (self.moto and self.moto.running):
            found = self.ec2.operations.get(name)
        return found

    def register(
        self,
        *,
        cluster: str = CLUSTER,
        family: str = DEFINITION,
        protocol: str | None = None,
        architecture: str | None = None,
        watchdog: bool | None = None,
        init: bool = True,
        stop_timeout: int | None = None,
        environment: Mapping[str, str] | None = None,
        container: Mapping[str, Any] | None = None,
    ) -> str:
        """Make what ``cloudburst init`` makes; returns the ARN of the task definition.

        What is not given is as in the configuration; ``container`` changes members of the main
        container's definition.
        """
        config = self._config
        protocol = protocol or config.protocol
        watched = config.watchdog if watchdog is None else watchdog
        self.clusters.create(
            {"clusterName": cluster, "capacityProviders": ["FARGATE", "FARGATE_SPOT"]}
        )
        if not self.logs.operations["DescribeLogGroups"]({"logGroupNamePrefix": LOG_GROUP})[
            "logGroups"
        ]:
            self.logs.create_group({"logGroupName": LOG_GROUP, "tags": TAGS})
            self.logs.put_retention({"logGroupName": LOG_GROUP, "retentionInDays": RETENTION_DAYS})
        containers = [
            {
                **_common(CONTAINER, PUBLIC_IMAGE, init=init, region=config.region),
                "portMappings": [{"containerPort": config.port, "protocol": "tcp"}],
                "dockerLabels": {"cloudburst.protocol": protocol},
                "environment": [{"name": k, "value": v} for k, v in (environment or {}).items()],
                "stopTimeout": stop_timeout or (OUR_STOP if protocol == "native" else OTHER_STOP),
                **(container or {}),
            }
        ]
        if protocol != "native" if watched is None else watched:
            containers.append(
                {
                    **_common(WATCHDOG, WATCHDOG_IMAGE, init=init, region=config.region),
                    "command": ["sleep", str(LIFETIME)],
                    "stopTimeout": OTHER_STOP,
                }
            )
        made = self.definitions.register(
            {
                "family": family,
                "networkMode": "awsvpc",
                "requiresCompatibilities": ["FARGATE"],
                "cpu": CPU,
                "memory": MEMORY,
                "executionRoleArn": f"arn:aws:iam::{config.account}:role/{EXECUTION_ROLE}",
                "runtimePlatform": {
                    "cpuArchitecture": architecture or config.architecture,
                    "operatingSystemFamily": "LINUX",
                },
                "containerDefinitions": containers,
                "tags": [{"key": key, "value": value} for key, value in TAGS.items()],
            }
        )
        return str(made["taskDefinition"]["taskDefinitionArn"])


def _common(name: str, image: str, *, init: bool, region: str) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "essential": True,
        "linuxParameters": {"initProcessEnabled": init},
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": LOG_GROUP,
                "awslogs-region": region,
                "awslogs-stream-prefix": LOG_PREFIX,
            },
        },
    }
