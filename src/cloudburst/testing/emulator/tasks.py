"""ECS: tasks that were started, and tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cloudburst.testing.emulator.clusters import Clusters
from cloudburst.testing.emulator.config import EmulatorConfig
from cloudburst.testing.emulator.definitions import Definitions
from cloudburst.testing.emulator.facts import Task
from cloudburst.testing.emulator.fleet import Fleet
from cloudburst.testing.emulator.launching import check_tags
from cloudburst.testing.emulator.refusal import invalid
from cloudburst.testing.emulator.task_shape import task_shape

MOST_ARNS = 100
"""In a call of DescribeTasks and an answer of ListTasks: the ECS API reference (2026-11)."""


class Tasks:
    """Describes, lists, stops and tags."""

    def __init__(
        self, config: EmulatorConfig, clusters: Clusters, definitions: Definitions, fleet: Fleet
    ) -> None:
        self._config = config
        self._clusters = clusters
        self._definitions = definitions
        self._fleet = fleet
        self._prefix = f"arn:aws:ecs:{config.region}:{config.account}:task/"
        self.operations = {
            "DescribeTasks": self._describe,
            "ListTasks": self._list,
            "StopTask": self._stop,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsForResource": self._list_tags,
        }

    def _describe(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self._clusters.find(asked)["clusterName"]
        references: Sequence[str] = asked.get("tasks") or ()
        if not references:
            raise invalid("Tasks cannot be empty.")
        if len(references) > MOST_ARNS:
            raise invalid(f"Tasks cannot have more than {MOST_ARNS} entries.")
        tasks, failures = list[dict[str, Any]](), list[dict[str, str]]()
        tags = "TAGS" in (asked.get("include") or ())
        for reference in references:
            if task := self._fleet.find(cluster, reference):
                tasks.append(self._shown(task, tags=tags))
            else:
                failures.append({"arn": self._arn(cluster, reference), "reason": "MISSING"})
        return {"tasks": tasks, "failures": failures}

    def _list(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self._clusters.find(asked)["clusterName"]
        started_by, family = asked.get("startedBy"), asked.get("family")
        wanted = asked.get("desiredStatus") or "RUNNING"
        limit, after = asked.get("maxResults") or MOST_ARNS, int(asked.get("nextToken") or -1)
        if not 1 <= limit <= MOST_ARNS:
            raise invalid(f"maxResults must be between 1 and {MOST_ARNS}.")
        if started_by and any(
            asked.get(name) for name in ("family", "serviceName", "containerInstance", "launchType")
        ):
            raise invalid("startedBy must be the only filter.")
        found = [
            task
            for task in self._fleet.visible()
            if task.number > after
            and task.cluster == cluster
            and task.desired_status == wanted
            and started_by in {None, task.started_by}
            and family in {None, self._family(task)}
        ]
        page = found[:limit]
        more = {"nextToken": str(page[-1].number)} if len(found) > limit else {}
        return {"taskArns": [task.arn for task in page], **more}

    def _stop(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self._clusters.find(asked)["clusterName"]
        task = self._fleet.find(cluster, asked["task"])
        if task is None:
            raise invalid("The referenced task was not found.")
        reason = asked.get("reason") or "Task stopped by user"
        self._fleet.life(task.id).stop("UserInitiated", reason)
        return {"task": self._shown(self._fleet.facts[task.id])}

    def _tag(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        new = {tag["key"]: tag.get("value", "") for tag in asked["tags"]}
        self._retag(asked["resourceArn"], self._tags(asked["resourceArn"]) | new)
        return {}

    def _untag(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        tags = self._tags(asked["resourceArn"])
        left = {key: value for key, value in tags.items() if key not in asked["tagKeys"]}
        self._retag(asked["resourceArn"], left)
        return {}

    def _list_tags(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        tags = self._tags(asked["resourceArn"])
        return {"tags": [{"key": key, "value": value} for key, value in tags.items()]}

    def _tags(self, arn: str) -> dict[str, str]:
        task = self._fleet.facts.get(arn.rpartition("/")[2])
        if task and task.arn == arn:
            return dict(task.tags)
        return {tag["key"]: tag.get("value", "") for tag in self._other_tags(arn)}

    def _retag(self, arn: str, tags: dict[str, str]) -> None:
        check_tags(tags)
        task = self._fleet.facts.get(arn.rpartition("/")[2])
        if task and task.arn == arn:
            self._fleet.life(task.id).retag(tags)
        else:
            self._other_tags(arn)[:] = [{"key": k, "value": v} for k, v in tags.items()]

    def _other_tags(self, arn: str) -> list[dict[str, str]]:
        for tags in (self._clusters.tags(arn), self._definitions.tags(arn)):
            if tags is not None:
                return tags
        raise invalid("The specified resource was not found.")

    def _shown(self, task: Task, *, tags: bool = False) -> dict[str, Any]:
        return task_shape(task, self._fleet.life(task.id).orders, self._config, tags=tags)

    def _family(self, task: Task) -> str:
        return str(self._fleet.life(task.id).orders.definition["family"])

    def _arn(self, cluster: str, reference: str) -> str:
        return reference if reference.startswith("arn:") else f"{self._prefix}{cluster}/{reference}"
