"""The life of one task, as "Task lifecycle" in the ECS developer guide draws it (2026-11)."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals
from typing import Any

from anyio import CancelScope
from anyio.abc import TaskGroup

from cloudburst.testing.emulator.addresses import Addresses, BlackHole
from cloudburst.testing.emulator.config import EmulatorConfig, TaskFault
from cloudburst.testing.emulator.containers import Containers
from cloudburst.testing.emulator.facts import Task
from cloudburst.testing.emulator.logs import Logs
from cloudburst.testing.emulator.orders import Orders
from cloudburst.testing.emulator.proxy import Proxy

INTERFACE_SHARE = 0.6
"""Of PROVISIONING, until the network interface is attached; PENDING comes after it."""
SLOW_PERIOD = 0.1
"""Seconds in which a slowed process runs once."""
LONGEST_NOTICE = 120.0
"""Seconds between the notice and the end of a Spot task: "Fargate Spot termination notices" in
the ECS developer guide (2026-11)."""

NO_IMAGE = (
    "CannotPullContainerError: pull image manifest has been retried 1 time(s): "
    "failed to resolve ref {image}: not found"
)
NO_REGISTRY = (
    "CannotPullContainerError: pull image manifest has been retried 5 time(s): "
    'failed to resolve ref {image}: failed to do request: Head "https://registry": i/o timeout'
)
NO_INTERFACE = "Timeout waiting for network interface provisioning to complete."
NO_LOG_GROUP = (
    "ResourceInitializationError: failed to validate logger args: create stream has been retried "
    "1 times: failed to create Cloudwatch log stream: ResourceNotFoundException: The specified "
    "log group does not exist."
)
"""The last four: "Amazon ECS stopped task error messages" in the developer guide (2026-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all tasks share."""

    config: EmulatorConfig
    containers: Containers
    addresses: Addresses
    logs: Logs
    background: TaskGroup
    publish: Callable[[Task], None]


@dataclass(slots=True, kw_only=True)
class Life:
    """Moves a task from state to state, with its processes. For one event loop."""

    facts: Task
    orders: Orders
    fault: TaskFault
    around: Surroundings
    _timers: set[asyncio.TimerHandle] = field(default_factory=set[asyncio.TimerHandle])
    _alive: set[str] = field(default_factory=set[str])
    _awaited: set[str] = field(default_factory=set[str])
    _pace: float = 1.0
    _worker: str = ""
    """Address at which the worker listens."""
    _hole: BlackHole | None = None
    _proxy: Proxy | None = None
    _background: CancelScope = field(default_factory=CancelScope)
    _thawed: bool = True

    def begin(self) -> None:
        """From PROVISIONING on, everything comes by itself."""
        config = self.around.config
        self._pace = 1 + random.uniform(-config.jitter, config.jitter)  # noqa: S311
        wait = config.provisioning * self._pace
        self._later(wait * INTERFACE_SHARE, self._attach)
        self._later(wait, self._pull)

    def stop(self, code: str, reason: str, *, grace: float | None = None) -> None:
        """Want it stopped; ``grace`` comes in place of the stop timeouts. Twice is once."""
        if not self.facts.live:
            return
        self._cancel_timers()
        if self.fault.slow > 1 and self._thawed:
            self._signal_all(SIGCONT)
        config = self.around.config
        self._change(
            desired_status="STOPPED", stop_code=code, stopped_reason=reason, stopping=time.time()
        )
        if not self._alive:
            self._executed()
        elif config.deactivating:
            self._change(last_status="DEACTIVATING")
            self._later(config.deactivating, self._terminate, grace)
        else:
            self._terminate(grace)

    def abandon(self) -> None:
        """Leave it as it is: its processes end with the emulator."""
        self._cancel_timers()
        if self._hole:
            self._hole.close()

    def interrupt(self, notice: float | None = None) -> None:
        """Spot wants it back: SIGTERM now, SIGKILL after the notice."""
        grace = None if notice is None else min(notice, LONGEST_NOTICE)
        self.stop("SpotInterruption", "Your Spot Task was interrupted.", grace=grace)

    def crash(self) -> None:
        """Kill the first process of the main container."""
        self.around.containers.send(self._name(self.orders.main), SIGKILL)

    def freeze(self, seconds: float) -> None:
        """Let its processes stand still, and go on."""
        self._signal_all(SIGSTOP)
        self._thawed = False
        asyncio.get_running_loop().call_later(seconds, self._thaw)

    async def cut(self) -> int:
        """Reset its connections; returns how many. Raises `OSError` where Linux forbids it."""
        if self._proxy:
            return self._proxy.cut()
        return await self.around.containers.cut(self._name(self.orders.main))

    def retag(self, tags: Mapping[str, str]) -> None:
        """Give it other tags."""
        self._change(tags=dict(tags))

    def _attach(self) -> None:
        if not self.fault.network_interface:
            self._change(
                interface=f"eni-{secrets.token_hex(9)[:17]}", address=self.around.addresses.take()
            )

    def _pull(self) -> None:
        if self.fault.network_interface:
            self._fail(NO_INTERFACE)
            return
        self._change(last_status="PENDING", pull_started=time.time())
        self._later(self.around.config.pending * self._pace, self._pulled)

    def _pulled(self) -> None:
        self._change(pull_stopped=time.time())
        if reason := self._fault_of_pull():
            self._fail(reason)
            return
        wait = self.around.config.activating * self._pace + self.fault.start_delay
        if wait:
            self._change(last_status="ACTIVATING")
            self._later(wait, self._start)
        else:
            self._start()

    def _fault_of_pull(self) -> str | None:
        image = self.orders.main_container.get("image", "")
        if self.fault.image_missing:
            return NO_IMAGE.format(image=image)
        return NO_REGISTRY.format(image=image) if self.fault.image_pull else None

    def _fail(self, reason: str) -> None:
        self._change(container_reason=reason)
        self.stop("TaskFailedToStart", reason)

    def _start(self) -> None:
        if self.fault.stopped_reason is not None:
            self._fail(self.fault.stopped_reason)
            return
        if not all(self.around.logs.opens(log) for log in self.orders.logs(self.facts.id)):
            self._fail(NO_LOG_GROUP)
            return
        self._worker = address = self._open_address()
        self._awaited = {container["name"] for container in self.orders.containers}
        self._alive = set(self._awaited)
        for container in self.orders.containers:
            name = container["name"]
            command, environment = self.orders.program(
                container, self.around.config, self.fault, address
            )
            self.around.containers.start(
                self._name(name),
                command,
                environment,
                _Container(life=self, name=name),
                ignores_sigterm=self.around.config.pid1 and not self.orders.has_init(container),
                frozen=self.fault.never_healthy and bool(command) and name == self.orders.main,
            )

    def _open_address(self) -> str:
        """Put what shall stand at the task's address there; returns where the worker shall be."""
        outer, port = self.facts.address, self.around.config.port
        assert outer is not None
        if self.fault.black_hole or not self.orders.reachable:
            self._hole = BlackHole(outer, port)
            return self.around.addresses.take()
        if self.fault.proxied or self.around.config.proxied:
            inner = self.around.addresses.take()
            self._proxy = Proxy(outer, inner, port, self.fault.cut_connections)
            self._run_behind(self._proxy.serve)
            return inner
        return outer

    def _run_behind(self, function: Callable[[], Any]) -> None:
        async def run() -> None:
            with self._background:
                await function()

        self.around.background.start_soon(run)

    def started(self, name: str, pid: int) -> None:
        """A container has its process; with the last one the task is RUNNING."""
        self._awaited.discard(name)
        self._change(pids={**self.facts.pids, name: pid})
        if not self._awaited and self.facts.live and self.facts.started is None:
            self._change(last_status="RUNNING", started=time.time())
            self._plan_faults()
            if check := self.orders.main_container.get("healthCheck"):
                self._run_behind(lambda: self._check_health(check))

    def wrote(self, name: str, lines: Sequence[str]) -> None:
        """A container has written lines."""
        self.around.logs.write(self.orders.log_of(name, self.facts.id), lines)

    def ended(self, name: str, code: int) -> None:
        """A container is gone; an essential one takes the others along."""
        self._alive.discard(name)
        pids = {other: pid for other, pid in self.facts.pids.items() if other != name}
        self._change(pids=pids, exit_codes={**self.facts.exit_codes, name: code})
        if self.facts.live and (self.orders.is_essential(name) or not self._alive):
            self.stop("EssentialContainerExited", "Essential container in task exited")
        elif not self.facts.live and not self._alive:
            self._executed()

    def _plan_faults(self) -> None:
        fault = self.fault
        if fault.crash_after is not None:
            self._later(fault.crash_after, self.crash)
        if fault.interrupt_after is not None:
            self._later(fault.interrupt_after, self.interrupt)
        if fault.freeze:
            self._later(fault.freeze[0], self.freeze, fault.freeze[1])
        if fault.slow > 1:
            self._hold(SLOW_PERIOD * (1 - 1 / fault.slow))

    def _hold(self, seconds: float) -> None:
        if self._thawed:
            self._signal_all(SIGSTOP)
            self._later(seconds, self._signal_all, SIGCONT)
        self._later(SLOW_PERIOD, self._hold, seconds)

    def _thaw(self) -> None:
        self._thawed = True
        self._signal_all(SIGCONT)

    async def _check_health(self, check: Mapping[str, Any]) -> None:
        """In place of the command of the check: whether somebody listens."""
        failures = 0
        while True:
            await asyncio.sleep(check.get("interval", 30))
            try:
                _, writer = await asyncio.open_connection(self._worker, self.around.config.port)
            except OSError:
                failures += 1
                if failures >= check.get("retries", 3) and self.facts.healthy is not False:
                    self._change(healthy=False)
            else:
                writer.close()
                failures = 0
                if not self.facts.healthy:
                    self._change(healthy=True)

    def _terminate(self, grace: float | None) -> None:
        self._change(last_status="STOPPING")
        for name in self._alive:
            wait = self.orders.stop_timeout(name, self.around.config) if grace is None else grace
            self.around.containers.send(self._name(name), SIGTERM)
            self._later(wait, self.around.containers.send, self._name(name), SIGKILL)

    def _executed(self) -> None:
        self._cancel_timers()
        self._background.cancel()
        if self._hole:
            self._hole.close()
        if self.facts.started or self.facts.pids or self.facts.exit_codes:
            self._change(execution_stopped=time.time())
        self._change(last_status="DEPROVISIONING")
        self._later(self.around.config.deprovisioning, self._stopped)

    def _stopped(self) -> None:
        for address in {self.facts.address, self._worker or None} - {None}:
            self.around.addresses.give_back(str(address))
        self._change(last_status="STOPPED", stopped=time.time(), tags={})

    def _signal_all(self, number: Signals) -> None:
        for name in self._alive:
            self.around.containers.send(self._name(name), number, group=True)

    def _name(self, container: str) -> str:
        return f"{self.facts.id}/{container}"

    def _later(self, seconds: float, function: Callable[..., None], *args: Any) -> None:
        def due() -> None:
            self._timers.discard(timer)
            function(*args)

        timer = asyncio.get_running_loop().call_later(seconds, due)
        self._timers.add(timer)

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _change(self, **changes: Any) -> None:
        self.facts = replace(self.facts, version=self.facts.version + 1, **changes)
        self.around.publish(self.facts)


@dataclass(slots=True, kw_only=True)
class _Container:
    """Tells a life of one of its containers."""

    life: Life
    name: str

    def started(self, pid: int) -> None:
        self.life.started(self.name, pid)

    def wrote(self, lines: Sequence[str]) -> None:
        self.life.wrote(self.name, lines)

    def ended(self, code: int) -> None:
        self.life.ended(self.name, code)
