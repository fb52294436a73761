"""Cluster operations of the emulated ECS API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.task_registry import TaskRegistry


class Clusters:
    """Clusters of the emulated account, and the ECS operations on clusters."""

    def __init__(self, config: EmulatorConfig, registry: TaskRegistry) -> None:
        self._prefix = f"arn:aws:ecs:{config.region}:{config.account}:cluster/"
        self._registry = registry
        self._clusters: dict[str, dict[str, Any]] = {}
        self.operations = {
            "CreateCluster": self.create,
            "DescribeClusters": self._describe,
            "ListClusters": self._list,
            "PutClusterCapacityProviders": self._put_providers,
            "DeleteCluster": self._delete,
        }

    def find(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the cluster that a request names, or ``default`` if it names none."""
        cluster = self._clusters.get(_short(parameters.get("cluster") or "default"))
        if cluster is None or cluster["status"] != "ACTIVE":
            raise ApiError("ClusterNotFoundException", "Cluster not found.")
        return cluster

    def create(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Create a cluster unless it exists, and return the response of CreateCluster."""
        name = parameters.get("clusterName") or "default"
        providers = list(parameters.get("capacityProviders") or ())
        known = self._clusters.get(name)
        if known is None or known["status"] != "ACTIVE":
            self._clusters[name] = {
                "clusterArn": self._prefix + name,
                "clusterName": name,
                "status": "ACTIVE",
                "tags": list(parameters.get("tags") or ()),
                "capacityProviders": providers,
                "defaultCapacityProviderStrategy": list(
                    parameters.get("defaultCapacityProviderStrategy") or ()
                ),
            }
        return {"cluster": self._shown(self._clusters[name], ("TAGS",))}

    def tags(self, arn: str) -> list[dict[str, str]] | None:
        """Return the tags of a cluster; ``None`` if there is no such cluster."""
        cluster = self._clusters.get(_short(arn))
        return cluster["tags"] if cluster and cluster["clusterArn"] == arn else None

    def _describe(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        names = [_short(ref) for ref in parameters.get("clusters") or ("default",)]
        include = tuple(parameters.get("include") or ())
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

    def _put_providers(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self.find(parameters)
        for name in ("capacityProviders", "defaultCapacityProviderStrategy"):
            cluster[name] = list(parameters[name])
        return {"cluster": self._shown(cluster, ("TAGS",))}

    def _delete(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self.find(parameters)
        if any(task.cluster == cluster["clusterName"] for task in self._registry.running()):
            raise ApiError(
                "ClusterContainsTasksException",
                "The Cluster cannot be deleted while Tasks are active.",
            )
        cluster["status"] = "INACTIVE"
        return {"cluster": self._shown(cluster, ("TAGS",))}

    @staticmethod
    def _shown(cluster: Mapping[str, Any], include: tuple[str, ...]) -> dict[str, Any]:
        return {**cluster, "tags": cluster["tags"] if "TAGS" in include else []}


def _short(reference: str) -> str:
    return reference.rpartition("/")[2]
