"""Registry of all tasks of the emulated account."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cloudburst.emulator.config import TaskFault
from cloudburst.emulator.launch_spec import LaunchSpec
from cloudburst.emulator.shared_state import SharedState
from cloudburst.emulator.task_lifecycle import TaskLifecycle
from cloudburst.emulator.task_shape import ecs_task
from cloudburst.emulator.task_state import Task


class TaskRegistry:
    """Registry that launches and finds the tasks of the emulated account.

    Use it on one event loop only; `snapshots` may be read from any thread.
    """

    def __init__(self, shared: SharedState) -> None:
        self.config = config = shared.config
        self._prefix = f"arn:aws:ecs:{config.region}:{config.account}:task/"
        self.snapshots: dict[str, Task] = {}
        """Current states of the tasks by id, in the order of their launches."""
        self.max_live = 0
        self.on_change: list[Callable[[Task], None]] = []
        """Functions that are called with each new state of a task, from the emulator's thread."""
        self._lives: dict[str, TaskLifecycle] = {}
        self._by_interface: dict[str, str] = {}
        self._launched = 0
        self._chance = random.Random(self.config.seed)  # noqa: S311 - decides faults, not secrets
        self._shared = shared

    def launch(self, spec: LaunchSpec, *, tags: dict[str, str], started_by: str | None) -> Task:
        """Start a task and return its first state, PROVISIONING."""
        ident = secrets.token_hex(16)
        fault = self._drawn(self.config.task_faults.get(self._launched, TaskFault()))
        snapshot = Task(
            id=ident,
            arn=f"{self._prefix}{spec.cluster}/{ident}",
            number=self._launched,
            cluster=spec.cluster,
            public=spec.network.public and not fault.no_public_address,
            spot=spec.spot,
            vcpu=spec.cpu / 1024,
            memory_mb=spec.memory_mb,
            created=time.time(),
            environment=spec.environment(spec.main),
            overrides=spec.overrides,
            tags=tags,
            started_by=started_by,
            main=spec.main,
        )
        self._launched += 1
        pace = 1 + self._chance.uniform(-1, 1) * self.config.jitter
        life = TaskLifecycle(
            snapshot=snapshot,
            spec=spec,
            fault=fault,
            shared=self._shared,
            publish=self._publish,
            pace=pace,
        )
        self._lives[ident] = life
        self._publish(snapshot)
        life.begin()
        return snapshot

    def described(self, ident: str, *, tags: bool = False) -> dict[str, Any]:
        """Return the task with this id in the format of the ECS API."""
        return ecs_task(self.snapshots[ident], self._lives[ident].spec, self.config, tags=tags)

    def lifecycle(self, ident: str) -> TaskLifecycle:
        """Return the lifecycle of the task with this id."""
        return self._lives[ident]

    def listed(self) -> list[tuple[Task, str]]:
        """Return the tasks that ListTasks shows now, each with the desired status shown for it."""
        now = time.time()
        return [
            (task, self._listed_status(task, now))
            for task in self.snapshots.values()
            if self._is_visible(task, now, late=not task.number % 2)
        ]

    def find(self, cluster: str, reference: str) -> Task | None:
        """Return the task with this id or ARN; ``None`` if DescribeTasks does not show it now."""
        task = self.snapshots.get(reference.rpartition("/")[2])
        if task is None or task.cluster != cluster:
            return None
        if reference.startswith("arn:") and reference != task.arn:
            return None
        return task if self._is_visible(task, time.time(), late=bool(task.number % 2)) else None

    def by_interface(self, interface: str) -> Task | None:
        """Return the task of a network interface; ``None`` if the interface does not exist."""
        task = self.snapshots.get(self._by_interface.get(interface, ""))
        return task if task and self._has_interface(task) else None

    def with_interfaces(self) -> list[Task]:
        """Return all tasks whose network interface still exists."""
        tasks = [self.snapshots[ident] for ident in self._by_interface.values()]
        return [task for task in tasks if self._has_interface(task)]

    def running(self) -> list[Task]:
        """Return all tasks that are not STOPPED."""
        return [task for task in self.snapshots.values() if task.last_status != "STOPPED"]

    def stop_timers(self) -> None:
        """Cancel all future state changes of the tasks."""
        for life in self._lives.values():
            life.stop_timers()

    def _publish(self, snapshot: Task) -> None:
        self.snapshots[snapshot.id] = snapshot
        if snapshot.interface:
            self._by_interface[snapshot.interface] = snapshot.id
        if snapshot.version == 1:
            live = sum(task.live for task in self.snapshots.values())
            self.max_live = max(self.max_live, live)
        for listener in self.on_change:
            listener(snapshot)

    def _drawn(self, fault: TaskFault) -> TaskFault:
        config = self.config
        lost = self._chance.random() < config.lost_interfaces
        slower = 1 + self._chance.random() * config.cpu_spread
        return replace(fault, never_attached=fault.never_attached or lost, slow=fault.slow * slower)

    def _has_interface(self, task: Task) -> bool:
        return task.stopped is None or time.time() < task.stopped + self.config.interface_lingers

    def _is_visible(self, task: Task, now: float, *, late: bool) -> bool:
        config = self.config
        if now < task.created + config.new_task_invisible + (config.disagreement if late else 0):
            return False
        return task.stopped is None or now < task.stopped + config.stopped_visible

    def _listed_status(self, task: Task, now: float) -> str:
        late = not task.number % 2 and task.stopping is not None
        if late and now < (task.stopping or 0) + self.config.disagreement:
            return "RUNNING"
        return task.desired_status
