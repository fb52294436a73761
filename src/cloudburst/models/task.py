"""A task as this package sees it: on Fargate a task, on this machine a process."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from cloudburst.models.tier import Tier

TaskId = NewType("TaskId", str)
"""The task's ARN, or what stands for it on this machine."""


class TaskState(StrEnum):
    """ECS has more; these are the ones we act on."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatus:
    """What the backend says about a task."""

    state: TaskState
    address: str | None = None
    """Base URL of the worker, as soon as it is known."""
    reason: str = ""
    """Why it stopped, with the last lines of its output where there are any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """What kind of task to start."""

    tier: Tier = Tier.STANDARD
    run: str = ""
    """Identifier of the run that asked first, for tags and names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """One exact request: repeated with the same token it starts nothing new."""

    spec: TaskSpec
    token: str
    key: str = field(repr=False)
    """The key that this worker alone will want: made with the request, never logged."""
