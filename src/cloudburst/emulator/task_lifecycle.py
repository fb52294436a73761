"""Lifecycle of a task, as "Task lifecycle" in the ECS developer guide (2026-11) describes it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals
from typing import Any

from anyio import CancelScope

from cloudburst.emulator.config import TaskFault
from cloudburst.emulator.launch_spec import LaunchSpec
from cloudburst.emulator.shared_state import SharedState
from cloudburst.emulator.start_checks import (
    NO_INTERFACE,
    reason_after_pull,
    reason_at_start,
    reason_before_pull,
)
from cloudburst.emulator.task_images import TaskImages
from cloudburst.emulator.task_programs import TaskPrograms
from cloudburst.emulator.task_state import Task
from cloudburst.emulator.worker_address import WorkerAddress


class Timers:
    """Pending timers of one task. Use them on one event loop only."""

    def __init__(self) -> None:
        self._pending: set[asyncio.TimerHandle] = set()

    def later(self, seconds: float, function: Callable[..., None], *args: Any) -> None:
        """Schedule a function call in some seconds, unless the timers are cancelled before then."""

        def due() -> None:
            self._pending.discard(timer)
            function(*args)

        timer = asyncio.get_running_loop().call_later(seconds, due)
        self._pending.add(timer)

    def cancel(self) -> None:
        """Cancel all pending timers."""
        for timer in self._pending:
            timer.cancel()
        self._pending.clear()


# Fraction of the time in PROVISIONING after which the network interface is attached.
INTERFACE_SHARE = 0.6
# Length in seconds of a cycle in which a slowed process is stopped and then continues.
SLOW_PERIOD = 0.1
# Maximum time in seconds from the interruption notice to the end of a Spot task: "Fargate Spot
# termination notices" in the ECS developer guide (2026-11).
MAX_SPOT_NOTICE = 120.0

# Stop code and reason of an interrupted Spot task.
SPOT_STOP = ("SpotInterruption", "Your Spot Task was interrupted.")


@dataclass(slots=True, kw_only=True)
class TaskLifecycle:
    """State machine of a task and its processes. Use it on one event loop only."""

    snapshot: Task
    spec: LaunchSpec
    fault: TaskFault
    shared: SharedState
    publish: Callable[[Task], None]
    """Function that is called with each new state of the task."""
    pace: float = 1.0
    """Factor by which the configured times of the task's start are multiplied."""
    _timers: Timers = field(default_factory=Timers)
    _alive: set[str] = field(default_factory=set[str])
    _awaited: set[str] = field(default_factory=set[str])
    _interrupted: bool = False
    """True after an interruption by Spot has sent SIGTERM, even before the API reports the
    interruption."""
    _worker: WorkerAddress = field(init=False)
    _background: list[CancelScope] = field(default_factory=list[CancelScope])
    """Cancel scopes of functions that run until the last container has ended."""
    _images: TaskImages | None = None
    _thawed: bool = True

    def __post_init__(self) -> None:
        self._worker = WorkerAddress(shared=self.shared, fault=self.fault)

    def begin(self) -> None:
        """Start the lifecycle with PROVISIONING; the later states follow without further calls."""
        config = self.shared.config
        if self.fault.never_attached:
            self._timers.later(config.interface_timeout, self._fail, NO_INTERFACE)
            return
        wait = config.provisioning * self.pace
        self._timers.later(wait * INTERFACE_SHARE, self._attach)
        self._timers.later(wait, self._pull)

    def stop(
        self, code: str, reason: str, *, grace: float | None = None, wait: float = 0.0
    ) -> None:
        """Stop the task; a second call has no effect."""
        if self._interrupted:
            self._report_interruption()  # it is already stopping; report that now
        if not self.snapshot.live:
            return
        self._timers.cancel()
        if self.fault.never_healthy or (self.fault.slow > 1 and self._thawed):
            self._signal_all(SIGCONT)
        self._want_stopped(code, reason)
        if not self._alive:
            self._executed()
        elif wait:
            self._change(last_status="DEACTIVATING")
            self._timers.later(wait, self._terminate, grace)
        else:
            self._terminate(grace)

    def stop_timers(self) -> None:
        """Cancel all future state changes; the task's processes run until the emulator ends."""
        self._timers.cancel()
        self._worker.close()

    def interrupt(self, notice: float | None = None) -> None:
        """Interrupt the task as Fargate Spot does."""
        grace = None if notice is None else min(notice, MAX_SPOT_NOTICE)
        lag = self.shared.config.interruption_lag
        if lag <= 0 or not self._alive or not self.snapshot.live:
            self.stop(*SPOT_STOP, grace=grace, wait=-min(lag, 0))
        elif not self._interrupted:
            self._interrupted = True
            self._end_containers(grace)
            self._timers.later(lag, self._report_interruption)

    def _report_interruption(self) -> None:
        if self.snapshot.live:
            self._change(last_status="STOPPING")
            self._want_stopped(*SPOT_STOP)
            if not self._alive:
                self._executed()

    def _want_stopped(self, code: str, reason: str) -> None:
        self._change(
            desired_status="STOPPED", stop_code=code, stopped_reason=reason, stopping=time.time()
        )

    def crash(self) -> None:
        """Kill the first process of the main container."""
        self.shared.containers.send(self._name(self.spec.main), SIGKILL)

    def freeze(self, seconds: float) -> None:
        """Freeze the processes of the task for some seconds."""
        self._signal_all(SIGSTOP)
        self._thawed = False
        asyncio.get_running_loop().call_later(seconds, self._thaw)

    def cut(self) -> int:
        """Reset the connections of the task and return their number.

        Raises:
            ValueError: the connections do not pass through a proxy.
        """
        if self._worker.proxy is None:
            raise ValueError("proxy_connections: False; expected True to cut connections")
        return self._worker.proxy.cut()

    def _attach(self) -> None:
        if not self.fault.no_network_interface:
            address = self.shared.addresses.take()
            private = self.shared.addresses.take() if self.snapshot.public else address
            self._change(
                interface=f"eni-{secrets.token_hex(9)[:17]}",
                address=address,
                private_address=private,
            )

    def _pull(self) -> None:
        shared = self.shared
        reason = reason_before_pull(self.spec, self.fault, shared)
        if reason:
            self._fail(reason)
            return
        self._change(last_status="PENDING", pull_started=time.time())
        wait = shared.config.pending * self.pace
        if shared.images:
            self._images = TaskImages(task=self.snapshot.id, spec=self.spec, store=shared.images)
            self._run_behind(self._pull_images, self._images, time.monotonic() + wait)
        else:
            self._timers.later(wait, self._pulled)

    async def _pull_images(self, images: TaskImages, earliest: float) -> None:
        reason = reason_after_pull(self.spec, self.fault, images.task, self.shared)
        reason = reason or await images.pull()
        self._change(images=images.pulled)
        if self.snapshot.live:
            self._timers.later(max(0.0, earliest - time.monotonic()), self._pulled, reason)

    def _pulled(self, reason: str | None = None) -> None:
        self._change(pull_stopped=time.time())
        if self._images is None:
            reason = reason_after_pull(self.spec, self.fault, self.snapshot.id, self.shared)
        if reason:
            self._fail(reason)
            return
        if self.fault.start_delay:
            self._change(last_status="ACTIVATING")
            self._timers.later(self.fault.start_delay, self._start)
        else:
            self._start()

    def _fail(self, reason: str) -> None:
        self._change(container_reason=reason)
        self.stop("TaskFailedToStart", reason)

    def _start(self) -> None:
        reason = reason_at_start(self.spec, self.fault, self.snapshot.id, self.shared)
        if reason:
            self._fail(reason)
            return
        outer = self.snapshot.address
        assert outer is not None
        self._worker.open(outer, port_open=self.spec.network.port_open, run=self._run_behind)
        self._awaited = {container["name"] for container in self.spec.containers}
        self._alive = set(self._awaited)
        for container in self.spec.containers:
            name = str(container["name"])
            self._programs.start(
                container, self._name(name), self._worker.address, _Container(life=self, name=name)
            )

    @property
    def _programs(self) -> TaskPrograms:
        return TaskPrograms(
            spec=self.spec, fault=self.fault, shared=self.shared, images=self._images
        )

    def _run_behind(self, function: Callable[..., Any], *args: Any) -> None:
        scope = CancelScope()

        async def run() -> None:
            with scope:
                await function(*args)

        self._background.append(scope)
        self.shared.background.start_soon(run)

    def started(self, name: str, pid: int) -> None:
        """Record the start of a container; the task is RUNNING after the last container starts."""
        self._awaited.discard(name)
        self._change(pids={**self.snapshot.pids, name: pid})
        if not self._awaited and self.snapshot.live and self.snapshot.started is None:
            self._change(last_status="RUNNING", started=time.time())
            self._plan_faults()
            check = self._programs.health_check(
                self._worker.address, lambda healthy: self._change(healthy=healthy)
            )
            if check:
                self._run_behind(check.run)

    def wrote(self, name: str, lines: Sequence[str]) -> None:
        """Add a container's output to its log stream."""
        self.shared.logs.write(self.spec.log_of(name, self.snapshot.id), lines)

    def ended(self, name: str, code: int) -> None:
        """Record the end of a container; stop the task if the container was essential."""
        self._alive.discard(name)
        pids = {other: pid for other, pid in self.snapshot.pids.items() if other != name}
        self._change(pids=pids, exit_codes={**self.snapshot.exit_codes, name: code})
        if self._interrupted and self.snapshot.live:
            return  # a timer reports the interruption
        if self.snapshot.live and (self.spec.is_essential(name) or not self._alive):
            self.stop("EssentialContainerExited", "Essential container in task exited")
        elif not self.snapshot.live and not self._alive:
            self._executed()

    def _plan_faults(self) -> None:
        fault = self.fault
        if fault.never_healthy and (self.shared.config.worker or self._images):
            self._signal_all(SIGSTOP)  # the stub worker answers 503 instead
        if fault.crash_after is not None:
            self._timers.later(fault.crash_after, self.crash)
        if fault.interrupt_after is not None:
            self._timers.later(fault.interrupt_after, self.interrupt)
        if fault.freeze:
            self._timers.later(fault.freeze[0], self.freeze, fault.freeze[1])
        if fault.slow > 1:
            self._hold(SLOW_PERIOD * (1 - 1 / fault.slow))

    def _hold(self, seconds: float) -> None:
        if self._thawed:
            self._signal_all(SIGSTOP)
            self._timers.later(seconds, self._signal_all, SIGCONT)
        self._timers.later(SLOW_PERIOD, self._hold, seconds)

    def _thaw(self) -> None:
        self._thawed = True
        self._signal_all(SIGCONT)

    def _terminate(self, grace: float | None) -> None:
        self._change(last_status="STOPPING")
        self._end_containers(grace)

    def _end_containers(self, grace: float | None) -> None:
        for name in self._alive:
            wait = self.spec.stop_timeout(name, self.shared.config) if grace is None else grace
            self.shared.containers.send(self._name(name), SIGTERM)
            self._timers.later(wait, self.shared.containers.send, self._name(name), SIGKILL)

    def _executed(self) -> None:
        self._timers.cancel()
        for scope in self._background:
            scope.cancel()
        self._worker.close()
        if self.snapshot.started or self.snapshot.pids or self.snapshot.exit_codes:
            self._change(execution_stopped=time.time())
        self._change(last_status="DEPROVISIONING")
        self._timers.later(self.shared.config.deprovisioning, self._stopped)

    def _stopped(self) -> None:
        self._change(last_status="STOPPED", stopped=time.time(), tags={})
        if self._images:
            self.shared.background.start_soon(self._images.remove_files)
        lingers, task = self.shared.config.interface_lingers, self.snapshot
        self._timers.later(lingers, self._worker.release, task.address, task.private_address)

    def _signal_all(self, number: Signals) -> None:
        for name in self._alive:
            self.shared.containers.send(self._name(name), number, group=True)

    def _name(self, container: str) -> str:
        return f"{self.snapshot.id}/{container}"

    def _change(self, **changes: Any) -> None:
        self.snapshot = replace(self.snapshot, version=self.snapshot.version + 1, **changes)
        self.publish(self.snapshot)


@dataclass(slots=True, kw_only=True)
class _Container:
    life: TaskLifecycle
    name: str

    def started(self, pid: int) -> None:
        self.life.started(self.name, pid)

    def wrote(self, lines: Sequence[str]) -> None:
        self.life.wrote(self.name, lines)

    def ended(self, code: int) -> None:
        self.life.ended(self.name, code)
