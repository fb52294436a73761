"""State of a task of an emulated account, for use in tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePull:
    """Image that a task pulled."""

    digest: str
    """Digest of the manifest for the architecture of the task."""
    compressed_bytes: int
    """Size of the compressed layers, which AWS downloads for each task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """State of a task at one moment. Times are seconds since the epoch."""

    id: str
    arn: str
    number: int
    """Number of the task, from 0 in the order of launches."""
    cluster: str
    last_status: str = "PROVISIONING"
    desired_status: str = "RUNNING"
    stop_code: str | None = None
    stopped_reason: str | None = None
    interface: str | None = None
    """Id of the task's network interface; ``None`` before it is attached."""
    address: str | None = None
    """IP address at which the client reaches the task: the public one of its network interface, or
    the private one if the task has no public address; ``None`` before the interface is attached."""
    private_address: str | None = None
    """Private IP address of the interface. If the task has a public address, nothing listens at the
    private one, because the client is outside of the VPC."""
    public: bool = True
    """True if the task has a public address."""
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
    """Environment variables of the main container, including overrides."""
    overrides: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    started_by: str | None = None
    pids: Mapping[str, int] = field(default_factory=dict[str, int])
    """Process ids of the running containers, by name of the container."""
    exit_codes: Mapping[str, int] = field(default_factory=dict[str, int])
    """Exit codes of the containers that have ended, by name of the container."""
    main: str
    """Name of the main container."""
    images: Mapping[str, ImagePull] = field(default_factory=dict[str, ImagePull])
    """Images of the containers that were pulled from ``EmulatorConfig.registry``, by name of the
    container."""
    container_reason: str | None = None
    healthy: bool | None = None
    """Result of the container health check; ``None`` without a check or before its first result."""
    version: int = 1

    @property
    def pid(self) -> int | None:
        """Process id of the main container; ``None`` if it is not running."""
        return self.pids.get(self.main)

    @property
    def exit_code(self) -> int | None:
        """Exit code of the main container; ``None`` if it has not ended."""
        return self.exit_codes.get(self.main)

    @property
    def live(self) -> bool:
        """True if the desired status is not STOPPED."""
        return self.desired_status != "STOPPED"
