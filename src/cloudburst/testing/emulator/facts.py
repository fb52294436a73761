"""What a test can see of an emulated account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as it was at one moment. Times are seconds since the epoch."""

    id: str
    arn: str
    number: int
    """In the order of launches, from 0."""
    cluster: str
    last_status: str = "PROVISIONING"
    desired_status: str = "RUNNING"
    stop_code: str | None = None
    stopped_reason: str | None = None
    interface: str | None = None
    """Of the network."""
    address: str | None = None
    """Of that interface; the public address is the same one."""
    public: bool = True
    """Whether it has a public address."""
    spot: bool = False
    vcpu: float
    memory_mb: int
    created: float
    pull_started: float | None = None
    pull_stopped: float | None = None
    started: float | None = None
    stopping: float | None = None
    execution_stopped: float | None = None
    stopped: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Of the main container, overrides included."""
    overrides: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    started_by: str | None = None
    pids: Mapping[str, int] = field(default_factory=dict[str, int])
    """The living process of each container."""
    exit_codes: Mapping[str, int] = field(default_factory=dict[str, int])
    """Of each container that has ended."""
    main: str
    """Name of the main container."""
    container_reason: str | None = None
    healthy: bool | None = None
    """By the container health check; ``None`` where the task definition has none."""
    version: int = 1

    @property
    def pid(self) -> int | None:
        """The living process of the main container."""
        return self.pids.get(self.main)

    @property
    def exit_code(self) -> int | None:
        """Of the main container."""
        return self.exit_codes.get(self.main)

    @property
    def live(self) -> bool:
        """Whether nobody wants it stopped."""
        return self.desired_status != "STOPPED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call to the API."""

    at: float
    """Seconds since the epoch."""
    service: str
    """As IAM writes it: ``ecs``, ``ec2``, ``sts``…"""
    operation: str
    """``RunTask``…; of REST services the method and the path."""
    status: int
    """Of HTTP; 0 when no answer was sent."""
    note: str = ""
    """The code of a refusal, or what an injected fault did."""
    key: str = ""
    """The access key that signed it."""

    @property
    def action(self) -> str:
        """As a policy writes it: ``ecs:RunTask``."""
        return f"{self.service}:{self.operation}"
