"""Checks of quotas, capacity and zones, which decide whether a task can be launched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cloudburst.emulator.config import CapacityShortage, EmulatorConfig
from cloudburst.emulator.faults import NO_CAPACITY
from cloudburst.emulator.launch_spec import LaunchSpec
from cloudburst.emulator.task_state import Task

# Last parts of the ids of availability zones, by region and by letter in the zone's name. In AWS,
# the letters differ between accounts; these are the letters of moto, so that they do not change
# when moto starts.
ZONE_IDS: Mapping[str, Mapping[str, str]] = {
    "us-east-1": {"a": "az6", "b": "az1", "c": "az2", "d": "az4", "e": "az3", "f": "az5"},
    "us-west-1": {"a": "az3", "b": "az1"},
    "ap-northeast-1": {"a": "az4", "c": "az1", "d": "az2"},
}
DEFAULT_ZONE_IDS: Mapping[str, str] = {letter: f"az{n + 1}" for n, letter in enumerate("abc")}
# Ids of zones with Fargate, for regions in which some zones lack Fargate: "Supported Regions for
# Amazon ECS on AWS Fargate" in the ECS developer guide (2026-11).
ZONES_WITH_FARGATE: Mapping[str, frozenset[str]] = {
    "us-west-1": frozenset({"usw1-az1", "usw1-az3"}),
    "ap-northeast-1": frozenset({"apne1-az1", "apne1-az2", "apne1-az4"}),
    "cn-north-1": frozenset({"cnn1-az1", "cnn1-az2"}),
}
# Ids of zones without ARM64 on Fargate: "Amazon ECS task definitions for 64-bit ARM workloads" in
# the ECS developer guide (2026-11).
NO_ARM64 = frozenset({"use1-az3"})
REGION_WORDS: Mapping[str, str] = {"northeast": "ne", "northwest": "nw", "southeast": "se"} | {
    "southwest": "sw",
    "central": "c",
    "north": "n",
    "south": "s",
    "east": "e",
    "west": "w",
}


def zone_ids(region: str) -> dict[str, str]:
    """Return the ids of a region's zones by the letters of their names: ``{"a": "use1-az6"}``."""
    first, *words, number = region.split("-")
    prefix = first + "".join(REGION_WORDS.get(word, word[:1]) for word in words) + number
    zones = ZONE_IDS.get(region, DEFAULT_ZONE_IDS)
    return {letter: f"{prefix}-{zone}" for letter, zone in zones.items()}


def has_fargate(region: str, zone_id: str, architecture: str) -> bool:
    """Return whether Fargate runs tasks of a processor architecture in an availability zone."""
    known = zone_id in ZONES_WITH_FARGATE.get(region, {zone_id})
    return known and not (architecture == "ARM64" and zone_id in NO_ARM64)


# Reason that RunTask returns if running tasks use up the On-Demand vCPU quota: "Amazon ECS service
# event messages" in the ECS developer guide (2026-11).
NO_VCPUS = "You've reached the limit on the number of vCPUs you can run concurrently"
# Reason that RunTask returns in a new account that AWS has not verified yet:
# https://github.com/aws/copilot-cli/issues/3064.
NO_TASKS = "You've reached the limit on the number of tasks you can run concurrently"
# Reason that RunTask returns if running tasks use up the Spot vCPU quota:
# https://github.com/aws/copilot-cli/issues/2685.
NO_SPOT = "You've reached the limit on the number of spot tasks you can run concurrently"
# Reason that RunTask returns if a single task exceeds the vCPU quota: "Amazon ECS service event
# messages" in the ECS developer guide (2026-11).
TOO_LARGE = "The requested CPU configuration is above your limit."
# Reason that RunTask returns in an availability zone without Fargate: "Amazon ECS service event
# messages" in the ECS developer guide (2026-11).
NO_ZONE = "Internal error."


def launch_failure(spec: LaunchSpec, config: EmulatorConfig, running: Sequence[Task]) -> str | None:
    """Return the reason why RunTask cannot launch a task; ``None`` if it can."""
    zone = spec.network.zone_id
    here = has_fargate(config.region, zone, spec.architecture)
    if config.account_blocked:
        return NO_TASKS
    if zone in config.zones_without_fargate or not here:
        return NO_ZONE
    full = config.max_running is not None and len(running) >= config.max_running
    if full or any(not shortage.as_stopped_task for shortage in _shortages(spec, config)):
        return NO_CAPACITY
    return _over_quota(spec, config, running)


def _over_quota(spec: LaunchSpec, config: EmulatorConfig, running: Sequence[Task]) -> str | None:
    quota = config.spot_vcpu_quota if spec.spot else config.vcpu_quota
    wanted = spec.cpu / 1024
    if wanted > quota:
        return TOO_LARGE
    used = sum(task.vcpu for task in running if task.spot == spec.spot)
    if used + wanted > quota:
        return NO_SPOT if spec.spot else NO_VCPUS
    return None


def capacity_stop_reason(spec: LaunchSpec, config: EmulatorConfig) -> str | None:
    """Return why a launched task stops for lack of capacity; ``None`` if there is capacity."""
    return (
        NO_CAPACITY
        if any(shortage.as_stopped_task for shortage in _shortages(spec, config))
        else None
    )


def _shortages(spec: LaunchSpec, config: EmulatorConfig) -> list[CapacityShortage]:
    return [
        shortage
        for shortage in config.capacity_shortages
        if (shortage.zone is None or spec.network.zone.endswith(shortage.zone))
        and shortage.provider in {None, spec.provider or "FARGATE"}
        and shortage.vcpu in {None, spec.cpu / 1024}
        and shortage.memory_gb in {None, spec.memory_mb / 1024}
    ]
