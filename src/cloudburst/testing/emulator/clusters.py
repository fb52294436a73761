"""ECS: clusters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cloudburst.testing.emulator.config import EmulatorConfig
from cloudburst.testing.emulator.fleet import Fleet
from cloudburst.testing.emulator.refusal import RefusedError, client_error, invalid

PROVIDERS = ("FARGATE", "FARGATE_SPOT")
MOST_CLUSTERS = 100
"""In an answer: DescribeClusters and ListClusters in the ECS API reference (2026-11)."""


class Clusters:
    """The clusters of the account."""

    def __init__(self, config: EmulatorConfig, fleet: Fleet) -> None:
        self._prefix = f"arn:aws:ecs:{config.region}:{config.account}:cluster/"
        self._fleet = fleet
        self._clusters: dict[str, dict[str, Any]] = {}
        self.operations = {
            "CreateCluster": self.create,
            "DescribeClusters": self._describe,
            "ListClusters": self._list,
            "PutClusterCapacityProviders": self._put_providers,
            "DeleteCluster": self._delete,
        }

    def find(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The cluster that a request names. Raises `RefusedError` when there is none."""
        cluster = self._clusters.get(_short(asked.get("cluster") or "default"))
        if cluster is None or cluster["status"] != "ACTIVE":
            raise RefusedError("ClusterNotFoundException", "Cluster not found.")
        return cluster

    def create(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """CreateCluster; one that exists stays as it is."""
        name = asked.get("clusterName") or "default"
        providers = list(asked.get("capacityProviders") or ())
        _check_providers(providers)
        known = self._clusters.get(name)
        if known is None or known["status"] != "ACTIVE":
            self._clusters[name] = {
                "clusterArn": self._prefix + name,
                "clusterName": name,
                "status": "ACTIVE",
                "registeredContainerInstancesCount": 0,
                "activeServicesCount": 0,
                "statistics": [],
                "tags": list(asked.get("tags") or ()),
                "settings": list(asked.get("settings") or ())
                or [{"name": "containerInsights", "value": "disabled"}],
                "capacityProviders": providers,
                "defaultCapacityProviderStrategy": list(
                    asked.get("defaultCapacityProviderStrategy") or ()
                ),
            }
        return {"cluster": self._shown(self._clusters[name], ("SETTINGS", "TAGS"))}

    def tags(self, arn: str) -> list[dict[str, str]] | None:
        """Of the cluster with this ARN; the list itself."""
        cluster = self._clusters.get(_short(arn))
        return cluster["tags"] if cluster and cluster["clusterArn"] == arn else None

    def _describe(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        names = [_short(ref) for ref in asked.get("clusters") or ("default",)]
        if len(names) > MOST_CLUSTERS:
            raise invalid(f"Clusters cannot have more than {MOST_CLUSTERS} entries.")
        include = tuple(asked.get("include") or ())
        return {
            "clusters": [
                self._shown(self._clusters[name], include)
                for name in names
                if name in self._clusters
            ],
            "failures": [
                {"arn": self._prefix + name, "reason": "MISSING"}
                for name in names
                if name not in self._clusters
            ],
        }

    def _list(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "clusterArns": [
                cluster["clusterArn"]
                for cluster in self._clusters.values()
                if cluster["status"] == "ACTIVE"
            ]
        }

    def _put_providers(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self.find(asked)
        _check_providers(asked["capacityProviders"])
        for item in asked["defaultCapacityProviderStrategy"]:
            if item["capacityProvider"] not in asked["capacityProviders"]:
                raise invalid(
                    "The specified default capacity provider strategy cannot contain a capacity "
                    "provider that is not associated with the cluster."
                )
        for name in ("capacityProviders", "defaultCapacityProviderStrategy"):
            cluster[name] = list(asked[name])
        return {"cluster": self._shown(cluster, ("SETTINGS", "TAGS"))}

    def _delete(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self.find(asked)
        if any(task.cluster == cluster["clusterName"] for task in self._fleet.running()):
            raise RefusedError(
                "ClusterContainsTasksException",
                "The Cluster cannot be deleted while Tasks are active.",
            )
        cluster["status"] = "INACTIVE"
        return {"cluster": self._shown(cluster, ("SETTINGS", "TAGS"))}

    def _shown(self, cluster: Mapping[str, Any], include: tuple[str, ...]) -> dict[str, Any]:
        tasks = [t for t in self._fleet.running() if t.cluster == cluster["clusterName"]]
        running = sum(task.last_status == "RUNNING" for task in tasks)
        starting = {"PROVISIONING", "PENDING", "ACTIVATING"}
        return {
            **cluster,
            "runningTasksCount": running,
            "pendingTasksCount": sum(task.last_status in starting for task in tasks),
            "tags": cluster["tags"] if "TAGS" in include else [],
            "settings": cluster["settings"] if "SETTINGS" in include else [],
        }


def _check_providers(names: Iterable[str]) -> None:
    for name in names:
        if name not in PROVIDERS:
            raise client_error(f"The specified capacity provider '{name}' was not found.")


def _short(reference: str) -> str:
    return reference.rpartition("/")[2]
