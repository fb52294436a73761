"""Output of containers, read from CloudWatch Logs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.responses import get_structure
from cloudburst.errors import ResourceMissingError
from cloudburst.models.account_tasks import LogLine

# Maximum number of events in one response: "GetLogEvents" in the CloudWatch Logs API reference
# (2026-11).
MAX_EVENTS = 10_000
# Maximum number of streams in one response: "DescribeLogStreams" in the CloudWatch Logs API
# reference (2026-11).
MAX_STREAMS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerLog:
    """Log group and log stream of a container."""

    container: str
    group: str
    stream: str


def find_container_logs(definition: Mapping[str, Any], task_id: str) -> tuple[ContainerLog, ...]:
    """Return log group and stream of those containers of a task that log to CloudWatch.

    The name of a stream is ``prefix/container/task``: "awslogs-stream-prefix" in the ECS developer
    guide (2026-11).
    """
    logs: list[ContainerLog] = []
    for container in definition["containerDefinitions"]:
        configuration = get_structure(container, "logConfiguration")
        options = get_structure(configuration, "options")
        group, prefix = options.get("awslogs-group"), options.get("awslogs-stream-prefix")
        if configuration.get("logDriver") == "awslogs" and group and prefix:
            name = container["name"]
            stream = f"{prefix}/{name}/{task_id}"
            logs.append(ContainerLog(container=name, group=group, stream=stream))
    return tuple(logs)


async def find_logged_tasks(aws: AWSClient, definition: Mapping[str, Any], prefix: str) -> set[str]:
    """Return the ids that begin with ``prefix``, of tasks that have logs.

    At most `MAX_STREAMS` streams of each container are listed: enough to find out whether one task
    matches or several do.
    """
    found: set[str] = set()
    for log in find_container_logs(definition, prefix):
        try:
            response = await aws.call(
                "logs",
                "describe_log_streams",
                logGroupName=log.group,
                logStreamNamePrefix=log.stream,
                limit=MAX_STREAMS,
            )
        except ResourceMissingError:
            continue  # the log group does not exist
        streams: Sequence[Mapping[str, str]] = response["logStreams"]
        found |= {stream["logStreamName"].rpartition("/")[2] for stream in streams}
    return found


class LogReader:
    """Reader of the log lines of all containers of a task: existing lines, then new ones."""

    def __init__(self, aws: AWSClient, logs: Sequence[ContainerLog]) -> None:
        self._streams = [_StreamReader(aws, log) for log in logs]

    async def read_last(self, count: int) -> list[LogLine]:
        """Return the last ``count`` lines of all containers together, ordered by time.

        Afterwards, `read_more` continues with later lines.
        """
        lines = [line for stream in self._streams for line in await stream.read_last(count)]
        return sorted(lines, key=attrgetter("time"))[-count:] if count else []

    async def read_more(self) -> list[LogLine]:
        """Return the lines that have been written and not read yet, ordered by time."""
        lines = [line for stream in self._streams for line in await stream.read_more()]
        return sorted(lines, key=attrgetter("time"))


class _StreamReader:
    def __init__(self, aws: AWSClient, log: ContainerLog) -> None:
        self._aws = aws
        self._log = log
        self._token: str | None = None

    async def read_last(self, count: int) -> list[LogLine]:
        """Return the last ``count`` lines of the stream; `read_more` continues after them."""
        response = await self._get_events(startFromHead=False, limit=min(max(count, 1), MAX_EVENTS))
        if response is None:
            return []
        self._token, token = response["nextForwardToken"], None
        lines = self._parse_lines(response)
        # A page may have fewer lines than requested. On the first page, the token stays the same.
        while len(lines) < count and token != response["nextBackwardToken"]:
            token = response["nextBackwardToken"]
            missing = min(count - len(lines), MAX_EVENTS)
            response = await self._get_events(nextToken=token, limit=missing)
            if response is None:
                break
            lines = self._parse_lines(response) + lines
        return lines

    async def read_more(self) -> list[LogLine]:
        lines: list[LogLine] = []
        while True:
            position = {} if self._token is None else {"nextToken": self._token}
            response = await self._get_events(startFromHead=True, **position)
            if response is None:
                return lines
            lines += self._parse_lines(response)
            # An empty page is not the end. At the end, the response has the token of the request.
            previous, self._token = self._token, response["nextForwardToken"]
            if previous == self._token:
                return lines

    async def _get_events(self, **parameters: Any) -> dict[str, Any] | None:
        """Return a page of events; ``None`` if the container has not written anything yet."""
        log = self._log
        try:
            return await self._aws.call(
                "logs",
                "get_log_events",
                logGroupName=log.group,
                logStreamName=log.stream,
                **parameters,
            )
        except ResourceMissingError:
            return None

    def _parse_lines(self, response: Mapping[str, Any]) -> list[LogLine]:
        return [
            LogLine(
                time=dt.datetime.fromtimestamp(event["timestamp"] / 1000, dt.UTC),
                container=self._log.container,
                text=event["message"].rstrip("\n"),
            )
            for event in response["events"]
        ]
