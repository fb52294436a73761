"""All tasks of the account."""

from __future__ import annotations

import time
from collections.abc import Callable

from anyio.abc import TaskGroup

from cloudburst.testing.emulator.addresses import Addresses
from cloudburst.testing.emulator.config import EmulatorConfig, TaskFault
from cloudburst.testing.emulator.containers import Containers
from cloudburst.testing.emulator.facts import Task
from cloudburst.testing.emulator.life import Life, Surroundings
from cloudburst.testing.emulator.logs import Logs
from cloudburst.testing.emulator.orders import Orders


class Fleet:
    """Launches tasks and finds them again. For one event loop; facts may be read from anywhere."""

    def __init__(
        self,
        config: EmulatorConfig,
        containers: Containers,
        addresses: Addresses,
        logs: Logs,
        background: TaskGroup,
    ) -> None:
        self.config = config
        self.facts: dict[str, Task] = {}
        """By task id, in the order of launches."""
        self.most_live = 0
        self.on_change: list[Callable[[Task], None]] = []
        """Called with each new state of a task, from the emulator's thread."""
        self._lives: dict[str, Life] = {}
        self._by_interface: dict[str, str] = {}
        self._launched = 0
        self._around = Surroundings(
            config=config,
            containers=containers,
            addresses=addresses,
            logs=logs,
            background=background,
            publish=self._publish,
        )

    def launch(
        self, orders: Orders, *, ident: str, arn: str, tags: dict[str, str], started_by: str | None
    ) -> Task:
        """Start a task; it is PROVISIONING."""
        fault = self.config.task_faults.get(self._launched, TaskFault())
        facts = Task(
            id=ident,
            arn=arn,
            number=self._launched,
            cluster=orders.cluster,
            public=orders.network.get("assignPublicIp") == "ENABLED"
            and not fault.no_public_address,
            spot=orders.spot,
            vcpu=orders.cpu / 1024,
            memory_mb=orders.memory_mb,
            created=time.time(),
            environment=orders.environment(orders.main),
            overrides=orders.overrides,
            tags=tags,
            started_by=started_by,
            main=orders.main,
        )
        self._launched += 1
        life = Life(facts=facts, orders=orders, fault=fault, around=self._around)
        self._lives[ident] = life
        self._publish(facts)
        life.begin()
        return facts

    def life(self, ident: str) -> Life:
        """The life of a task."""
        return self._lives[ident]

    def visible(self) -> list[Task]:
        """What DescribeTasks and ListTasks may know: not the very young, nor the long dead."""
        now, config = time.time(), self.config
        return [task for task in self.facts.values() if _is_visible(task, now, config)]

    def find(self, cluster: str, reference: str) -> Task | None:
        """A visible task, by id or ARN."""
        task = self.facts.get(reference.rpartition("/")[2])
        if task is None or task.cluster != cluster:
            return None
        if reference.startswith("arn:") and reference != task.arn:
            return None
        return task if _is_visible(task, time.time(), self.config) else None

    def by_interface(self, interface: str) -> Task | None:
        """The task that has this network interface; not once it has stopped."""
        task = self.facts.get(self._by_interface.get(interface, ""))
        return task if task and task.last_status != "STOPPED" else None

    def with_interfaces(self) -> list[Task]:
        """All that have a network interface."""
        return [self.facts[ident] for ident in self._by_interface.values()]

    def running(self, *, spot: bool | None = None) -> list[Task]:
        """All that are not STOPPED, on Spot or not."""
        return [
            task
            for task in self.facts.values()
            if task.last_status != "STOPPED" and spot in {None, task.spot}
        ]

    def abandon(self) -> None:
        """Let nothing more happen by itself."""
        for life in self._lives.values():
            life.abandon()

    def _publish(self, facts: Task) -> None:
        self.facts[facts.id] = facts
        if facts.interface:
            self._by_interface[facts.interface] = facts.id
        if facts.last_status == "STOPPED":
            self._by_interface.pop(facts.interface or "", None)
        if facts.version == 1:
            live = sum(task.live for task in self.facts.values())
            self.most_live = max(self.most_live, live)
        for listener in self.on_change:
            listener(facts)


def _is_visible(task: Task, now: float, config: EmulatorConfig) -> bool:
    if now < task.created + config.invisible:
        return False
    return task.stopped is None or now < task.stopped + config.stopped_visible
