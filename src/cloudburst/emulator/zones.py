"""Availability zones: their ids, and the zones without Fargate."""

from __future__ import annotations

from collections.abc import Mapping

ZONE_IDS: Mapping[str, Mapping[str, str]] = {
    "us-east-1": {"a": "az6", "b": "az1", "c": "az2", "d": "az4", "e": "az3", "f": "az5"},
    "us-west-1": {"a": "az3", "b": "az1"},
    "ap-northeast-1": {"a": "az4", "c": "az1", "d": "az2"},
}
"""Last parts of the ids of availability zones, by region and by letter in the zone's name. In AWS,
the letters differ between accounts; these are the letters of moto, so that they do not change when
moto starts."""
DEFAULT_ZONE_IDS: Mapping[str, str] = {letter: f"az{n + 1}" for n, letter in enumerate("abc")}
ZONES_WITH_FARGATE: Mapping[str, frozenset[str]] = {
    "us-west-1": frozenset({"usw1-az1", "usw1-az3"}),
    "ap-northeast-1": frozenset({"apne1-az1", "apne1-az2", "apne1-az4"}),
    "cn-north-1": frozenset({"cnn1-az1", "cnn1-az2"}),
}
"""Ids of zones with Fargate, for regions in which some zones lack Fargate: "Supported Regions for
Amazon ECS on AWS Fargate" in the ECS developer guide (2026-11)."""
NO_ARM64 = frozenset({"use1-az3"})
"""Ids of zones without ARM64 on Fargate: "Amazon ECS task definitions for 64-bit ARM workloads" in
the ECS developer guide (2026-11)."""
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
