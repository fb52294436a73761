"""State that all tasks of an account share."""

from __future__ import annotations

from dataclasses import dataclass

from anyio.abc import TaskGroup

from cloudburst.emulator.addresses import AddressPool
from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.containers import Containers
from cloudburst.emulator.image_store import ImageStore
from cloudburst.emulator.logs import CloudWatchLogs
from cloudburst.emulator.roles import Roles


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedState:
    """Configuration and resources that the lifecycles of all tasks share."""

    config: EmulatorConfig
    containers: Containers
    addresses: AddressPool
    logs: CloudWatchLogs
    images: ImageStore | None
    roles: Roles
    background: TaskGroup
