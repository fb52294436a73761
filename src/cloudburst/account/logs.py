"""What a task has written, and what it writes."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import anyio
from anyio.abc import ObjectSendStream

from cloudburst.adapters.aws.logs import LogReader, container_logs, logged_tasks
from cloudburst.adapters.aws.session import AWS, open_aws
from cloudburst.adapters.aws.sweep import described, listed
from cloudburst.engine.groups import unwrapped
from cloudburst.errors import ConfigurationError, ResourceMissingError
from cloudburst.models.running import LogLine
from cloudburst.models.settings import Settings

__all__ = ["read_logs"]

SHORTEST = 4
"""Characters of an id that may name a task."""
ID_LENGTH = 32
FOLLOW = 1.0
"""Seconds between two looks for new lines; GetLogEvents may be asked 25 times a second in an
account: "CloudWatch Logs quotas" in its user guide (2026-11)."""
LAG = 6.0
"""Seconds after the end of a task in which lines may still come: awslogs sends what it has every
5 s (``batchPublishFrequency`` in the awslogs driver of moby)."""
AHEAD = 1000
"""Lines that are read before somebody wants them."""
_MOST = 10_000
_SHOWN = 5
_ID = re.compile(r"[0-9a-f-]+")


@asynccontextmanager
async def read_logs(
    settings: Settings, task: str, *, follow: bool = False, lines: int | None = None
) -> AsyncGenerator[AsyncIterator[LogLine]]:
    """The lines of all containers of a task, by time. It may have stopped long ago.

    Args:
        settings: Account, region and cluster; and the task definition of a task that ECS has
            forgotten, which it does an hour or so after its end.
        task: ARN, id, or the beginning of an id.
        follow: Go on with what the task writes, until it has stopped and nothing more comes.
        lines: Only the last lines of what is there, 10,000 at most.

    Raises:
        ResourceMissingError: There is no such task, or no such cluster.
        ConfigurationError: Several tasks begin so, or ``lines`` is out of range; or the task's
            containers do not write to CloudWatch.
    """
    if lines is not None and not 0 <= lines <= _MOST:
        msg = f"lines={lines}: 0 to {_MOST:,}"
        raise ConfigurationError(msg)
    async with open_aws(settings) as aws:
        found = await _find(aws, settings, task)
        logs = container_logs(found.definition, found.task_id)
        if not logs:
            msg = f"task {found.task_id}: its task definition sends no lines to CloudWatch"
            raise ConfigurationError(msg)
        reader = LogReader(aws, logs)
        send, receive = anyio.create_memory_object_stream[LogLine](AHEAD)
        with unwrapped(), receive:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_tell, reader, found, send, follow, lines)
                yield receive
                tasks.cancel_scope.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A task that there is or was."""

    aws: AWS
    cluster: str
    task_id: str
    definition: dict[str, Any]

    async def ended(self) -> bool:
        shown = await described(self.aws, self.cluster, [self.task_id])
        return all(task["lastStatus"] == "STOPPED" for task in shown)


async def _tell(
    reader: LogReader,
    found: _Found,
    send: ObjectSendStream[LogLine],
    follow: bool,
    lines: int | None,
) -> None:
    """All that is there; with ``follow``, on until nothing can come any more."""
    async with send:
        if lines is not None:
            for line in await reader.last(lines):
                await send.send(line)
        silent_since, ended = math.inf, not follow
        while lines is None or follow:
            came = await _pass_on(reader, send)
            if not follow:
                return
            ended = ended or await found.ended()
            now = anyio.current_time()
            silent_since = min(silent_since, now) if ended and not came else math.inf
            if now - silent_since >= LAG:
                return
            await anyio.sleep(FOLLOW)


async def _pass_on(reader: LogReader, send: ObjectSendStream[LogLine]) -> bool:
    """Whether there was anything new."""
    came = False
    async with aclosing(reader.more()) as more:
        async for line in more:
            await send.send(line)
            came = True
    return came


async def _find(aws: AWS, settings: Settings, task: str) -> _Found:
    """The task of that name, and what its containers do with their lines."""
    name = task.rpartition("/")[2]
    cluster = _cluster(task) or settings.cluster
    if not _ID.fullmatch(name) or len(name) < SHORTEST:
        msg = f"{task!r} is no task: an ARN, an id, or at least {SHORTEST} characters of one"
        raise ConfigurationError(msg)
    known = await _in_ecs(aws, cluster, name) or await _in_logs(aws, settings, name)
    if known is None:
        msg = f"no task {name} in cluster {cluster}, and no lines of one"
        raise ResourceMissingError(msg)
    definition, tasks = known
    if len(tasks) > 1:
        some = ", ".join(sorted(tasks)[:_SHOWN]) + (", …" if len(tasks) > _SHOWN else "")
        msg = f"{len(tasks)} tasks begin with {name}: {some}"
        raise ConfigurationError(msg)
    return _Found(aws=aws, cluster=cluster, task_id=tasks.pop(), definition=definition)


_Known: TypeAlias = tuple[dict[str, Any], set[str]]
"""The task definition of the first of them, and the ids that fit."""


async def _in_ecs(aws: AWS, cluster: str, name: str) -> _Known | None:
    """The tasks that ECS knows."""
    ids = {name}
    if len(name) < ID_LENGTH:
        arns = await listed(aws, cluster) + await listed(aws, cluster, stopped=True)
        ids = {task for arn in arns if (task := arn.rpartition("/")[2]).startswith(name)}
    shown = await described(aws, cluster, sorted(ids)[:1])
    return (await _definition(aws, shown[0]["taskDefinitionArn"]), ids) if shown else None


async def _in_logs(aws: AWS, settings: Settings, name: str) -> _Known | None:
    """The tasks that ECS has forgotten, if they were of the task definition of the settings."""
    try:
        definition = await _definition(aws, settings.task_definition)
    except ResourceMissingError:
        return None
    ids = await logged_tasks(aws, definition, name)
    return (definition, ids) if ids else None


async def _definition(aws: AWS, name: str) -> dict[str, Any]:
    answer = await aws.call("ecs", "describe_task_definition", taskDefinition=name)
    definition: dict[str, Any] = answer["taskDefinition"]
    return definition


def _cluster(task: str) -> str:
    """That of an ARN: ``arn:aws:ecs:region:account:task/cluster/id``."""
    parts = task.split("/")
    return parts[1] if task.startswith("arn:") and len(parts) == 3 else ""
