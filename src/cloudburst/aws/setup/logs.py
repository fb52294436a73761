"""Log lines of a task, read from CloudWatch."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import anyio
from anyio.abc import ObjectSendStream

from cloudburst.aws.client.client import AWSClient, open_aws
from cloudburst.aws.fargate.cluster_tasks import describe_tasks, find_orphans, list_task_arns
from cloudburst.aws.fargate.task_logs import LogReader, find_container_logs, find_logged_tasks
from cloudburst.concurrency import collapse_single
from cloudburst.errors import ConfigurationError, ResourceMissingError
from cloudburst.models.account_tasks import LogLine
from cloudburst.models.settings import Settings
from cloudburst.text import list_some

__all__ = ["read_logs"]

MIN_ID_PREFIX = 4
"""Minimum number of characters if a task is given by the beginning of its id."""
ID_LENGTH = 32
# Seconds between two reads of new lines. GetLogEvents is limited to 25 calls a second in an
# account: "CloudWatch Logs quotas" in its user guide (2026-11).
FOLLOW_INTERVAL = 1.0
LOG_DELAY = 6.0
"""Seconds after the end of a task in which lines may still arrive: awslogs sends its buffer every 5
s (``batchPublishFrequency`` in the awslogs driver of moby)."""
BUFFERED_LINES = 1000
"""Maximum number of lines that are read ahead of the caller."""
_MAX_LINES = 10_000
_MAX_IDS_SHOWN = 5
_ID = re.compile(r"[0-9a-f-]+")
# Task definition of the first matching task, and the ids of all matching tasks.
_Matches: TypeAlias = tuple[dict[str, Any], set[str]]


@asynccontextmanager
async def read_logs(
    settings: Settings, task: str, *, follow: bool = False, lines: int | None = None
) -> AsyncGenerator[AsyncIterator[LogLine]]:
    """Yield an iterator over the log lines of all containers of a task, ordered by time.

    The task may have stopped long ago.

    Args:
        settings: Account, region and cluster. ECS forgets a task about an hour after its end; then
            the task definition of the settings shows where the lines are.
        task: ARN, id, or the beginning of an id.
        follow: True to continue with new lines until the task has stopped and no line can arrive.
        lines: Number of existing lines to begin with: the latest ones, at most 10,000; ``None`` for
            all.

    Raises:
        ResourceMissingError: The task or the cluster does not exist.
        ConfigurationError: ``task`` is not an id or fits several ids, ``lines`` is out of range, or
            the task's containers do not write to CloudWatch.
    """
    if lines is not None and not 0 <= lines <= _MAX_LINES:
        msg = f"lines={lines}: expected 0 to {_MAX_LINES:,}"
        raise ConfigurationError(msg)
    async with open_aws(settings) as aws:
        found = await _find(aws, settings, task)
        logs = find_container_logs(found.definition, found.task_id)
        if not logs:
            msg = f"task {found.task_id}: its task definition sends no logs to CloudWatch"
            raise ConfigurationError(msg)
        reader = LogReader(aws, logs)
        send, receive = anyio.create_memory_object_stream[LogLine](BUFFERED_LINES)
        with collapse_single(), receive:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_send_lines, reader, found, send, follow, lines)
                yield receive
                tasks.cancel_scope.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class _LoggedTask:
    aws: AWSClient
    cluster: str
    task_id: str
    definition: dict[str, Any]

    async def has_stopped(self) -> bool:
        described = await describe_tasks(self.aws, self.cluster, [self.task_id])
        return all(task["lastStatus"] == "STOPPED" for task in described)


async def _send_lines(
    reader: LogReader,
    task: _LoggedTask,
    send: ObjectSendStream[LogLine],
    follow: bool,
    lines: int | None,
) -> None:
    async with send:
        if lines is not None:
            for line in await reader.read_last(lines):
                await send.send(line)
        silent_since, stopped = math.inf, not follow
        while lines is None or follow:
            new_lines = await reader.read_more()
            for line in new_lines:
                await send.send(line)
            if not follow:
                return
            stopped = stopped or await task.has_stopped()
            now = anyio.current_time()
            silent_since = min(silent_since, now) if stopped and not new_lines else math.inf
            if now - silent_since >= LOG_DELAY:
                return
            await anyio.sleep(FOLLOW_INTERVAL)


async def _find(aws: AWSClient, settings: Settings, task: str) -> _LoggedTask:
    name = task.rpartition("/")[2]
    cluster = _cluster_of_arn(task) or settings.cluster
    if not _ID.fullmatch(name) or len(name) < MIN_ID_PREFIX:
        msg = f"task {task!r}; expected an ARN, an id or at least {MIN_ID_PREFIX} characters of one"
        raise ConfigurationError(msg)
    found = await _find_in_ecs(aws, cluster, name) or await _find_in_logs(aws, settings, name)
    if found is None:
        msg = f"there is no task {name} in cluster {cluster}, and no logs of one"
        if arns := await find_orphans(aws, cluster, name):
            tasks = [arn.rpartition("/")[2] for arn in arns]
            msg = f"{name} is a run; its tasks: {list_some(tasks, _MAX_IDS_SHOWN)}"
        raise ResourceMissingError(msg)
    definition, ids = found
    if len(ids) > 1:
        msg = f"{len(ids)} tasks begin with {name}: {list_some(sorted(ids), _MAX_IDS_SHOWN)}"
        raise ConfigurationError(msg)
    return _LoggedTask(aws=aws, cluster=cluster, task_id=ids.pop(), definition=definition)


async def _find_in_ecs(aws: AWSClient, cluster: str, name: str) -> _Matches | None:
    ids = {name}
    if len(name) < ID_LENGTH:
        arns = await list_task_arns(aws, cluster)
        arns += await list_task_arns(aws, cluster, stopped=True)
        ids = {task for arn in arns if (task := arn.rpartition("/")[2]).startswith(name)}
    described = await describe_tasks(aws, cluster, sorted(ids)[:1])
    if not described:
        return None
    return await _describe_definition(aws, described[0]["taskDefinitionArn"]), ids


async def _find_in_logs(aws: AWSClient, settings: Settings, name: str) -> _Matches | None:
    try:
        definition = await _describe_definition(aws, settings.task_definition)
    except ResourceMissingError:
        return None
    ids = await find_logged_tasks(aws, definition, name)
    return (definition, ids) if ids else None


async def _describe_definition(aws: AWSClient, name: str) -> dict[str, Any]:
    response = await aws.call("ecs", "describe_task_definition", taskDefinition=name)
    definition: dict[str, Any] = response["taskDefinition"]
    return definition


def _cluster_of_arn(task: str) -> str:
    parts = task.split("/")
    return parts[1] if task.startswith("arn:") and len(parts) == 3 else ""
