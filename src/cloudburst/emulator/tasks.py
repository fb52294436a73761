"""Operations of the emulated ECS API on launched tasks and on tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cloudburst.emulator.clusters import Clusters
from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.definitions import TaskDefinitions
from cloudburst.emulator.errors import invalid_parameter
from cloudburst.emulator.task_registry import TaskRegistry
from cloudburst.emulator.task_state import Task

# Maximum number of tasks in a DescribeTasks request and in a ListTasks response (ECS API reference,
# 2026-11).
MAX_ARNS = 100


class TaskOperations:
    """Operations that describe, list, stop and tag tasks."""

    def __init__(
        self,
        config: EmulatorConfig,
        clusters: Clusters,
        definitions: TaskDefinitions,
        registry: TaskRegistry,
    ) -> None:
        self._clusters = clusters
        self._definitions = definitions
        self._registry = registry
        self._prefix = f"arn:aws:ecs:{config.region}:{config.account}:task/"
        self.operations = {
            "DescribeTasks": self._describe,
            "ListTasks": self._list,
            "StopTask": self._stop,
            "ListTagsForResource": self._list_tags,
        }

    def _describe(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self._clusters.find(parameters)["clusterName"]
        references: Sequence[str] = parameters.get("tasks") or ()
        if not references:
            raise invalid_parameter("Tasks cannot be empty.")
        if len(references) > MAX_ARNS:
            raise invalid_parameter(f"Tasks cannot have more than {MAX_ARNS} entries.")
        tasks, failures = list[dict[str, Any]](), list[dict[str, str]]()
        tags = "TAGS" in (parameters.get("include") or ())
        for reference in references:
            if task := self._registry.find(cluster, reference):
                tasks.append(self._registry.described(task.id, tags=tags))
            else:
                failures.append({"arn": self._arn(cluster, reference), "reason": "MISSING"})
        return {"tasks": tasks, "failures": failures}

    def _list(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self._clusters.find(parameters)["clusterName"]
        started_by, family = parameters.get("startedBy"), parameters.get("family")
        wanted = parameters.get("desiredStatus") or "RUNNING"
        limit, after = (
            parameters.get("maxResults") or MAX_ARNS,
            int(parameters.get("nextToken") or -1),
        )
        if started_by and family:
            raise invalid_parameter("cannot specify startedBy with other arguments")
        found = [
            task
            for task, status in self._registry.listed()
            if task.number > after
            and task.cluster == cluster
            and status == wanted
            and started_by in {None, task.started_by}
            and family in {None, self._family(task)}
        ]
        page = found[:limit]
        more = {"nextToken": str(page[-1].number)} if len(found) > limit else {}
        return {"taskArns": [task.arn for task in page], **more}

    def _stop(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self._clusters.find(parameters)["clusterName"]
        task = self._registry.find(cluster, parameters["task"])
        if task is None:
            raise invalid_parameter("The referenced task was not found.")
        reason = parameters.get("reason") or "Task stopped by user"
        self._registry.lifecycle(task.id).stop("UserInitiated", reason)
        return {"task": self._registry.described(task.id)}

    def _list_tags(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        arn = parameters["resourceArn"]
        task = self._registry.snapshots.get(arn.rpartition("/")[2])
        if task and task.arn == arn:
            return {"tags": [{"key": key, "value": value} for key, value in task.tags.items()]}
        for tags in (self._clusters.tags(arn), self._definitions.tags(arn)):
            if tags is not None:
                return {"tags": tags}
        raise invalid_parameter("The specified resource was not found.")

    def _family(self, task: Task) -> str:
        return str(self._registry.lifecycle(task.id).spec.definition["family"])

    def _arn(self, cluster: str, reference: str) -> str:
        return reference if reference.startswith("arn:") else f"{self._prefix}{cluster}/{reference}"
