"""What containers wrote, as CloudWatch Logs keeps it."""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.adapters.aws.session import AWS
from cloudburst.errors import ResourceMissingError
from cloudburst.models.running import LogLine

PAGE = 10_000
"""Events in an answer at most: "GetLogEvents" in the CloudWatch Logs API reference (2026-11)."""
STREAMS = 50
"""Streams in an answer at most: "DescribeLogStreams" there."""
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerLog:
    """Where a container's lines are."""

    container: str
    group: str
    stream: str


def container_logs(definition: Mapping[str, Any], task_id: str) -> tuple[ContainerLog, ...]:
    """Where the containers of a task write, by its task definition; those with awslogs only.

    The stream is ``prefix/container/task``: "awslogs-stream-prefix" in the ECS developer guide
    (2026-11).
    """
    logs: list[ContainerLog] = []
    for container in definition["containerDefinitions"]:
        log: Mapping[str, Any] = container.get("logConfiguration") or _NOTHING
        options: Mapping[str, str] = log.get("options") or _NOTHING
        group, prefix = options.get("awslogs-group"), options.get("awslogs-stream-prefix")
        if log.get("logDriver") == "awslogs" and group and prefix:
            name = container["name"]
            stream = f"{prefix}/{name}/{task_id}"
            logs.append(ContainerLog(container=name, group=group, stream=stream))
    return tuple(logs)


async def logged_tasks(aws: AWS, definition: Mapping[str, Any], prefix: str) -> set[str]:
    """The ids of tasks that begin so and have written something; a few are enough to be many."""
    found: set[str] = set()
    for log in container_logs(definition, prefix):
        try:
            answer = await aws.call(
                "logs",
                "describe_log_streams",
                logGroupName=log.group,
                logStreamNamePrefix=log.stream,
                limit=STREAMS,
            )
        except ResourceMissingError:
            continue  # no such group: nobody has written there
        found |= {shown["logStreamName"].rpartition("/")[2] for shown in answer["logStreams"]}
    return found


class LogReader:
    """Reads what the containers of one task have written, and what they write meanwhile."""

    def __init__(self, aws: AWS, logs: Sequence[ContainerLog]) -> None:
        self._streams = [_Stream(aws, log) for log in logs]

    async def last(self, count: int) -> list[LogLine]:
        """The last lines of all containers together; `more` goes on from there."""
        lines = [line for stream in self._streams for line in await stream.last(count)]
        return sorted(lines, key=_when)[-count:] if count else []

    async def more(self) -> AsyncGenerator[LogLine]:
        """All that is there and was not read yet, by time; close it when it is left early."""
        heads: list[tuple[dt.datetime, int]] = []
        for place, stream in enumerate(self._streams):
            if (at := await stream.head()) is not None:
                heads.append((at, place))
        heapq.heapify(heads)
        while heads:
            _, place = heapq.heappop(heads)
            stream = self._streams[place]
            yield stream.take()
            if (at := await stream.head()) is not None:
                heapq.heappush(heads, (at, place))


class _Stream:
    """One container's lines, a page at a time."""

    def __init__(self, aws: AWS, log: ContainerLog) -> None:
        self._aws = aws
        self._log = log
        self._token: str | None = None
        self._page: list[LogLine] = []
        """Backwards, so that the next one is the last."""

    async def last(self, count: int) -> list[LogLine]:
        """The last lines; reading goes on after them."""
        answer = await self._get(startFromHead=False, limit=min(max(count, 1), PAGE))
        if answer is None:
            return []
        self._token, token = answer["nextForwardToken"], None
        lines = self._lines(answer)
        # A page may have fewer than there are; the first one is where the token stays the same.
        while len(lines) < count and token != answer["nextBackwardToken"]:
            token = answer["nextBackwardToken"]
            answer = await self._get(nextToken=token, limit=min(count - len(lines), PAGE))
            if answer is None:
                break
            lines = self._lines(answer) + lines
        return lines

    async def head(self) -> dt.datetime | None:
        """When the next line was written; ``None`` when there is none yet."""
        while not self._page:
            place = {} if self._token is None else {"nextToken": self._token}
            answer = await self._get(startFromHead=True, **place)
            if answer is None:
                return None
            self._page = self._lines(answer)[::-1]
            # An empty page is not yet the end: that is when the token comes back as it went.
            old, self._token = self._token, answer["nextForwardToken"]
            if not self._page and old == self._token:
                return None
        return self._page[-1].at

    def take(self) -> LogLine:
        """The line that `head` told of."""
        return self._page.pop()

    async def _get(self, **place: Any) -> dict[str, Any] | None:
        """``None`` when the container has not written anything yet."""
        log = self._log
        try:
            return await self._aws.call(
                "logs",
                "get_log_events",
                logGroupName=log.group,
                logStreamName=log.stream,
                **place,
            )
        except ResourceMissingError:
            return None

    def _lines(self, answer: Mapping[str, Any]) -> list[LogLine]:
        return [
            LogLine(
                at=dt.datetime.fromtimestamp(event["timestamp"] / 1000, dt.UTC),
                container=self._log.container,
                text=event["message"].rstrip("\n"),
            )
            for event in answer["events"]
        ]


def _when(line: LogLine) -> dt.datetime:
    return line.at
