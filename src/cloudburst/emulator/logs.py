"""Emulated CloudWatch Logs API, with log groups, streams and events in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.errors import ApiError, invalid_parameter

# Maximum number of log events in a response: GetLogEvents in the CloudWatch Logs API reference
# (2026-11).
MAX_EVENTS_PER_PAGE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDestination:
    """Log group and log stream to which the output of a container is written."""

    group: str
    stream: str


@dataclass(frozen=True, slots=True)
class LogEvent:
    """Line of a log stream."""

    at: int
    """Time of the event, in milliseconds since the epoch."""
    message: str


@dataclass(slots=True)
class LogGroup:
    """Log group: log streams with common tags and a common retention period."""

    retention: int | None = None
    tags: dict[str, str] = field(default_factory=dict[str, str])
    streams: dict[str, list[LogEvent]] = field(default_factory=dict[str, list[LogEvent]])


class CloudWatchLogs:
    """Log groups of the emulated account, and the operations of CloudWatch Logs on them."""

    def __init__(self, config: EmulatorConfig) -> None:
        self._prefix = f"arn:aws:logs:{config.region}:{config.account}:log-group:"
        self._groups: dict[str, LogGroup] = {}
        self.operations = {
            "CreateLogGroup": self.create_group,
            "DeleteLogGroup": self._delete_group,
            "DescribeLogGroups": self._describe_groups,
            "PutRetentionPolicy": self.put_retention,
            "DeleteRetentionPolicy": self._delete_retention,
            "DescribeLogStreams": self._describe_streams,
            "GetLogEvents": self._get_events,
            "ListTagsForResource": self._list_tags,
        }

    def open_stream(self, log: LogDestination) -> bool:
        """Create the log stream of a container; return false if its log group does not exist."""
        group = self._groups.get(log.group)
        if group is not None:
            group.streams.setdefault(log.stream, [])
        return group is not None

    def write(self, log: LogDestination | None, lines: Sequence[str]) -> None:
        """Add lines to a log stream; discard the lines if the log group was deleted.

        Lines are also discarded if ``log`` is ``None``, for a container without logging.
        """
        group = self._groups.get(log.group) if log else None
        if log is None or group is None:
            return
        events = group.streams.setdefault(log.stream, [])
        events += [LogEvent(_now(), line) for line in lines]

    def create_group(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Create a log group and return the response of CreateLogGroup."""
        name = parameters["logGroupName"]
        if name in self._groups:
            raise ApiError(
                "ResourceAlreadyExistsException", "The specified log group already exists"
            )
        self._groups[name] = LogGroup(tags=dict(parameters.get("tags") or {}))
        return {}

    def _delete_group(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self._group(parameters)
        del self._groups[parameters["logGroupName"]]
        return {}

    def put_retention(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Set the retention period of a log group and return the response of PutRetentionPolicy."""
        self._group(parameters).retention = parameters["retentionInDays"]
        return {}

    def _delete_retention(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self._group(parameters).retention = None
        return {}

    def _describe_groups(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        prefix = parameters.get("logGroupNamePrefix") or ""
        names = sorted(name for name in self._groups if name.startswith(prefix))
        return {"logGroups": [self._shown(name, self._groups[name]) for name in names]}

    def _shown(self, name: str, group: LogGroup) -> dict[str, Any]:
        shown = {
            "logGroupName": name,
            "arn": f"{self._prefix}{name}:*",
            "logGroupArn": f"{self._prefix}{name}",
        }
        return shown | ({"retentionInDays": group.retention} if group.retention else {})

    def _describe_streams(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        group, prefix = self._group(parameters), parameters.get("logStreamNamePrefix") or ""
        return {
            "logStreams": [
                {
                    "logStreamName": name,
                    "arn": f"{self._prefix}{parameters['logGroupName']}:log-stream:{name}",
                }
                for name in sorted(group.streams)
                if name.startswith(prefix)
            ]
        }

    def _get_events(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        events = self._group(parameters).streams.get(parameters["logStreamName"])
        if events is None:
            raise _missing("The specified log stream does not exist.")
        limit = min(parameters.get("limit") or MAX_EVENTS_PER_PAGE, MAX_EVENTS_PER_PAGE)
        token = parameters.get("nextToken")
        if token:
            direction, _, number = token.partition("/")
            if direction not in {"f", "b"} or not number.isdecimal():
                raise invalid_parameter("The specified nextToken is invalid.")
            start = int(number) if direction == "f" else max(0, int(number) - limit)
            end = start + limit if direction == "f" else int(number)
        elif parameters.get("startFromHead"):
            start, end = 0, limit
        else:
            start, end = max(0, len(events) - limit), len(events)
        start, end = min(start, len(events)), min(end, len(events))
        return {
            "events": [
                {"timestamp": event.at, "message": event.message} for event in events[start:end]
            ],
            "nextForwardToken": f"f/{end}",
            "nextBackwardToken": f"b/{start}",
        }

    def _list_tags(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"tags": dict(self._group(parameters).tags)}

    def _group(self, parameters: Mapping[str, Any]) -> LogGroup:
        name = parameters.get("logGroupName") or parameters.get("logGroupIdentifier")
        name = name or parameters.get("resourceArn") or ""
        group = self._groups.get(name.removeprefix(self._prefix).removesuffix(":*"))
        if group is None:
            raise _missing("The specified log group does not exist.")
        return group


def _missing(message: str) -> ApiError:
    return ApiError("ResourceNotFoundException", message)


def _now() -> int:
    return int(time.time() * 1000)
