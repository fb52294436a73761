"""AWS services of the emulated account, and the resources that the account has from the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cloudburst.emulator.clusters import Clusters
from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.definitions import TaskDefinitions
from cloudburst.emulator.ec2 import EC2
from cloudburst.emulator.ecr import ECR
from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.identity import Identity
from cloudburst.emulator.moto import MotoServer
from cloudburst.emulator.roles import execution_role_name
from cloudburst.emulator.run_task import TaskLauncher
from cloudburst.emulator.s3.api import S3
from cloudburst.emulator.shared_state import SharedState
from cloudburst.emulator.task_registry import TaskRegistry
from cloudburst.emulator.tasks import TaskOperations
from cloudburst.emulator.token_buckets import TokenBuckets

Operation = Callable[[Mapping[str, Any]], dict[str, Any]]

CLUSTER_NAME, TASK_DEFINITION_FAMILY = "cloudburst-cluster", "cloudburst-task"
WORKER_CONTAINER, WATCHDOG_CONTAINER = "cloudburst-processor", "cloudburst-watchdog"
LOG_GROUP, LOG_PREFIX = "/ecs/cloudburst", "ecs"
RETENTION_DAYS = 30
PUBLIC_IMAGE = "betashow/video-generation-api:latest"
# Version of the native protocol that the installed render service speaks.
NATIVE_PROTOCOL_VERSION = "3"
# Values of `stopTimeout` in seconds: for the render service, which finishes its scenes after
# SIGTERM, and for all other containers.
SERVICE_CONTAINER_STOP_TIMEOUT, OTHER_CONTAINER_STOP_TIMEOUT = 120, 5
WATCHDOG_SECONDS = 3600
TASK_CPU, TASK_MEMORY = "2048", "4096"
# Tags of the resources that the account has from the start. Like the other constants of this
# module, the tags have the values that `cloudburst init` uses.
PREPARED_TAGS = {"CreatedBy": "animagent", "Project": "CloudBurst"}


class EmulatedAccount:
    """Emulated AWS account: its credentials, its services and their resources."""

    def __init__(
        self, shared: SharedState, registry: TaskRegistry, folder: Path, *, with_moto: bool
    ) -> None:
        config, images = shared.config, shared.images
        self._config = config
        self.identity = Identity(config)
        self.throttle = TokenBuckets(config.buckets)
        self.logs = shared.logs
        self.clusters = Clusters(config, registry)
        self.roles = shared.roles
        self.definitions = TaskDefinitions(config, self.roles)
        self.launching = TaskLauncher(
            config,
            self.clusters,
            self.definitions,
            registry,
            throttle=self.throttle,
            roles=self.roles,
        )
        self.ecr = ECR(config, images) if images else None
        """ECR API; ``None`` if the account has no registry on this machine."""
        self.ec2 = EC2(config, registry)
        self.s3 = S3(folder / "s3")
        self.moto = MotoServer(config, shared.containers, folder) if with_moto else None
        self.tasks = TaskOperations(config, self.clusters, self.definitions, registry)
        self._operations: dict[str, Mapping[str, Operation]] = {
            "ecs": self.clusters.operations | self.definitions.operations | self.tasks.operations,
            "ec2": self.ec2.interfaces,
            "sts": self.identity.sts,
            "iam": self.identity.iam,
            "logs": self.logs.operations,
            "servicequotas": ServiceQuotas(config).operations,
        }

    def operation(self, service: str, name: str) -> Operation | None:
        """Return the function that implements an operation; ``None`` if the emulator has none."""
        found = self._operations.get(service, {}).get(name)
        # Once moto is running, it has more facts about the VPC.
        if found is None and service == "ec2" and not (self.moto and self.moto.running):
            found = self.ec2.operations.get(name)
        return found

    def register(
        self,
        *,
        cluster: str = CLUSTER_NAME,
        family: str = TASK_DEFINITION_FAMILY,
        protocol: str | None = None,
        architecture: str | None = None,
        watchdog: bool | None = None,
        init: bool = True,
        stop_timeout: int | None = None,
        environment: Mapping[str, str] | None = None,
        container: Mapping[str, Any] | None = None,
    ) -> str:
        """Create a cluster, a log group and a task definition as ``cloudburst init`` does.

        If ``protocol``, ``architecture`` or ``watchdog`` is ``None``, the value comes from the
        configuration. ``container`` replaces members of the main container's definition.
        """
        config = self._config
        protocol = protocol or config.protocol
        watched = config.watchdog if watchdog is None else watchdog
        registry = f"{config.account}.dkr.ecr.{config.region}.amazonaws.com"
        image = f"{registry}/cloudburst:latest" if protocol == "native" else PUBLIC_IMAGE
        labels = {"cloudburst.protocol": protocol}
        if protocol == "native":
            labels["cloudburst.protocol-version"] = NATIVE_PROTOCOL_VERSION
        self.clusters.create(
            {"clusterName": cluster, "capacityProviders": ["FARGATE", "FARGATE_SPOT"]}
        )
        with suppress(ApiError):  # the log group exists already
            self.logs.create_group({"logGroupName": LOG_GROUP, "tags": PREPARED_TAGS})
            self.logs.put_retention({"logGroupName": LOG_GROUP, "retentionInDays": RETENTION_DAYS})
        containers = [
            {
                **_common(WORKER_CONTAINER, image, init=init, region=config.region),
                "portMappings": [{"containerPort": config.port, "protocol": "tcp"}],
                "dockerLabels": labels,
                "environment": [{"name": k, "value": v} for k, v in (environment or {}).items()],
                "stopTimeout": stop_timeout
                or (
                    SERVICE_CONTAINER_STOP_TIMEOUT
                    if protocol == "native"
                    else OTHER_CONTAINER_STOP_TIMEOUT
                ),
                **(container or {}),
            }
        ]
        if protocol != "native" if watched is None else watched:
            containers.append(
                {
                    **_common(WATCHDOG_CONTAINER, image, init=init, region=config.region),
                    "entryPoint": ["env"],
                    "command": ["sleep", str(WATCHDOG_SECONDS)],
                    "stopTimeout": OTHER_CONTAINER_STOP_TIMEOUT,
                }
            )
        made = self.definitions.register(
            {
                "family": family,
                "networkMode": "awsvpc",
                "requiresCompatibilities": ["FARGATE"],
                "cpu": TASK_CPU,
                "memory": TASK_MEMORY,
                "executionRoleArn": (
                    f"arn:aws:iam::{config.account}:role/{execution_role_name(config.region)}"
                ),
                "runtimePlatform": {
                    "cpuArchitecture": architecture or config.architecture,
                    "operatingSystemFamily": "LINUX",
                },
                "containerDefinitions": containers,
                "tags": [{"key": key, "value": value} for key, value in PREPARED_TAGS.items()],
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
                "mode": "non-blocking",
                "max-buffer-size": "25m",
            },
        },
    }


# vCPU quota of a new account, for On-Demand and for Spot: "Service quotas" of Fargate in the AWS
# General Reference (2026-11).
DEFAULT_VCPUS = 6.0
ON_DEMAND_QUOTA_CODE, SPOT_QUOTA_CODE = "L-3032A538", "L-36FBB829"


class ServiceQuotas:
    """vCPU quotas of the emulated account, and the operations that return these quotas."""

    def __init__(self, config: EmulatorConfig) -> None:
        self._config = config
        self.operations = {
            "GetServiceQuota": self._get,
            "GetAWSDefaultServiceQuota": self._get_default,
        }

    def _get(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        config = self._config
        value = {ON_DEMAND_QUOTA_CODE: config.vcpu_quota, SPOT_QUOTA_CODE: config.spot_vcpu_quota}
        return {"Quota": self._shown(parameters, value.get(parameters["QuotaCode"], 0.0))}

    def _get_default(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"Quota": self._shown(parameters, DEFAULT_VCPUS)}

    def _shown(self, parameters: Mapping[str, Any], value: float) -> dict[str, Any]:
        service, code = parameters["ServiceCode"], parameters["QuotaCode"]
        if service != "fargate" or code not in {ON_DEMAND_QUOTA_CODE, SPOT_QUOTA_CODE}:
            raise ApiError("NoSuchResourceException", "The specified service quota does not exist.")
        return {
            "ServiceCode": service,
            "QuotaCode": code,
            "Value": value,
        }
