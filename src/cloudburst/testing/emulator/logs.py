"""CloudWatch Logs: groups, streams and events, in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloudburst.testing.emulator.config import EmulatorConfig
from cloudburst.testing.emulator.refusal import RefusedError, invalid

MOST_EVENTS = 10_000
"""In an answer: GetLogEvents and FilterLogEvents in the CloudWatch Logs API reference (2026-11)."""
MOST_GROUPS = 50
"""The same, DescribeLogGroups and DescribeLogStreams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogAddress:
    """Where the output of a container goes."""

    group: str
    stream: str
    creates: bool = False
    """Whether the group is made when it is not there."""


@dataclass(frozen=True, slots=True)
class Event:
    """A line."""

    number: int
    at: int
    """Milliseconds since the epoch."""
    message: str


@dataclass(slots=True)
class Stream:
    """The lines of one container."""

    created: int
    events: list[Event] = field(default_factory=list[Event])


@dataclass(slots=True)
class Group:
    """Streams that are kept equally long."""

    created: int
    retention: int | None = None
    tags: dict[str, str] = field(default_factory=dict[str, str])
    streams: dict[str, Stream] = field(default_factory=dict[str, Stream])


class Logs:
    """The log groups of the account."""

    def __init__(self, config: EmulatorConfig) -> None:
        self._prefix = f"arn:aws:logs:{config.region}:{config.account}:log-group:"
        self._groups: dict[str, Group] = {}
        self._written = 0
        self.operations = {
            "CreateLogGroup": self.create_group,
            "DeleteLogGroup": self._delete_group,
            "DescribeLogGroups": self._describe_groups,
            "PutRetentionPolicy": self.put_retention,
            "DeleteRetentionPolicy": self._delete_retention,
            "DescribeLogStreams": self._describe_streams,
            "GetLogEvents": self._get_events,
            "FilterLogEvents": self._filter_events,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsForResource": self._list_tags,
            "TagLogGroup": self._tag,
            "ListTagsLogGroup": self._list_tags,
        }

    def opens(self, log: LogAddress) -> bool:
        """Make the stream of a container; false when its group is not there."""
        if log.creates and log.group not in self._groups:
            self._groups[log.group] = Group(_now())
        group = self._groups.get(log.group)
        if group is not None:
            group.streams.setdefault(log.stream, Stream(_now()))
        return group is not None

    def write(self, log: LogAddress | None, lines: Sequence[str]) -> None:
        """Keep lines; of a group that was deleted meanwhile they are lost."""
        group = self._groups.get(log.group) if log else None
        if log is None or group is None:
            return
        stream = group.streams.setdefault(log.stream, Stream(_now()))
        for line in lines:
            stream.events.append(Event(self._written, _now(), line))
            self._written += 1

    def create_group(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """CreateLogGroup."""
        name = asked["logGroupName"]
        if name in self._groups:
            raise RefusedError(
                "ResourceAlreadyExistsException", "The specified log group already exists"
            )
        self._groups[name] = Group(_now(), tags=dict(asked.get("tags") or {}))
        return {}

    def _delete_group(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._group(asked)
        del self._groups[asked["logGroupName"]]
        return {}

    def put_retention(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """PutRetentionPolicy."""
        self._group(asked).retention = asked["retentionInDays"]
        return {}

    def _delete_retention(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._group(asked).retention = None
        return {}

    def _describe_groups(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        prefix = asked.get("logGroupNamePrefix") or ""
        names = sorted(name for name in self._groups if name.startswith(prefix))
        at, limit = int(asked.get("nextToken") or 0), asked.get("limit") or MOST_GROUPS
        page = [self._shown(name, self._groups[name]) for name in names[at : at + limit]]
        return {"logGroups": page, **_more(at + limit, len(names))}

    def _shown(self, name: str, group: Group) -> dict[str, Any]:
        size = sum(len(e.message) + 26 for s in group.streams.values() for e in s.events)
        shown = {
            "logGroupName": name,
            "creationTime": group.created,
            "metricFilterCount": 0,
            "arn": f"{self._prefix}{name}:*",
            "logGroupArn": f"{self._prefix}{name}",
            "storedBytes": size,
            "logGroupClass": "STANDARD",
        }
        return shown | ({"retentionInDays": group.retention} if group.retention else {})

    def _describe_streams(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        group, prefix = self._group(asked), asked.get("logStreamNamePrefix") or ""
        names = sorted(name for name in group.streams if name.startswith(prefix))
        if asked.get("orderBy") == "LastEventTime":
            names.sort(key=lambda name: [e.at for e in group.streams[name].events[-1:]])
        if asked.get("descending"):
            names.reverse()
        at, limit = int(asked.get("nextToken") or 0), asked.get("limit") or MOST_GROUPS
        streams = list[dict[str, Any]]()
        for name in names[at : at + limit]:
            stream = group.streams[name]
            shown: dict[str, Any] = {
                "logStreamName": name,
                "creationTime": stream.created,
                "arn": f"{self._prefix}{asked['logGroupName']}:log-stream:{name}",
                "storedBytes": 0,
            }
            if stream.events:
                last = stream.events[-1].at
                shown |= {
                    "firstEventTimestamp": stream.events[0].at,
                    "lastEventTimestamp": last,
                    "lastIngestionTime": last,
                }
            streams.append(shown)
        return {"logStreams": streams, **_more(at + limit, len(names))}

    def _get_events(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        stream = self._group(asked).streams.get(asked["logStreamName"])
        if stream is None:
            raise _missing("The specified log stream does not exist.")
        events = [event for event in stream.events if _in_time(event, asked)]
        limit = min(asked.get("limit") or MOST_EVENTS, MOST_EVENTS)
        token = asked.get("nextToken")
        if token:
            way, _, number = token.partition("/")
            if way not in {"f", "b"} or not number.isdecimal():
                raise invalid("The specified nextToken is invalid.")
            start = int(number) if way == "f" else max(0, int(number) - limit)
            end = start + limit if way == "f" else int(number)
        elif asked.get("startFromHead"):
            start, end = 0, limit
        else:
            start, end = max(0, len(events) - limit), len(events)
        start, end = min(start, len(events)), min(end, len(events))
        return {
            "events": [
                {"timestamp": event.at, "message": event.message, "ingestionTime": event.at}
                for event in events[start:end]
            ],
            "nextForwardToken": f"f/{end}",
            "nextBackwardToken": f"b/{start}",
        }

    def _filter_events(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        group = self._group(asked)
        names, prefix = asked.get("logStreamNames"), asked.get("logStreamNamePrefix") or ""
        if names and prefix:
            raise invalid("logStreamNames and logStreamNamePrefix cannot be given together.")
        for name in names or ():
            if name not in group.streams:
                raise _missing("The specified log stream does not exist.")
        pattern = (asked.get("filterPattern") or "").strip().strip('"')
        found = [
            (event, name)
            for name, stream in group.streams.items()
            if (name in names if names else name.startswith(prefix))
            for event in stream.events
            if _in_time(event, asked) and pattern in event.message
        ]
        found.sort(key=lambda pair: (pair[0].at, pair[0].number))
        after, limit = int(asked.get("nextToken") or 0), asked.get("limit") or MOST_EVENTS
        return {
            "events": [
                {
                    "logStreamName": name,
                    "timestamp": event.at,
                    "message": event.message,
                    "ingestionTime": event.at,
                    "eventId": f"{event.number:056d}",
                }
                for event, name in found[after : after + limit]
            ],
            "searchedLogStreams": [],
            **_more(after + limit, len(found)),
        }

    def _tag(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._group(asked).tags.update(asked["tags"])
        return {}

    def _untag(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        for key in asked["tagKeys"]:
            self._group(asked).tags.pop(key, None)
        return {}

    def _list_tags(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"tags": dict(self._group(asked).tags)}

    def _group(self, asked: Mapping[str, Any]) -> Group:
        name = asked.get("logGroupName") or asked.get("logGroupIdentifier")
        name = name or asked.get("resourceArn") or ""
        group = self._groups.get(name.removeprefix(self._prefix).removesuffix(":*"))
        if group is None:
            raise _missing("The specified log group does not exist.")
        return group


def _missing(message: str) -> RefusedError:
    return RefusedError("ResourceNotFoundException", message)


def _in_time(event: Event, asked: Mapping[str, Any]) -> bool:
    start, end = asked.get("startTime"), asked.get("endTime")
    return (start is None or event.at >= start) and (end is None or event.at < end)


def _more(at: int, total: int) -> dict[str, str]:
    return {"nextToken": str(at)} if at < total else {}


def _now() -> int:
    return int(time.time() * 1000)
