"""Address of a task's worker, and what listens there in place of the worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from cloudburst.emulator.addresses import BlackHole
from cloudburst.emulator.config import TaskFault
from cloudburst.emulator.proxy import WorkerProxy
from cloudburst.emulator.shared_state import SharedState


@dataclass(slots=True, kw_only=True)
class WorkerAddress:
    """Address at which the worker of a task listens."""

    shared: SharedState
    fault: TaskFault
    address: str = ""
    """IP address of the worker; empty before the worker is started."""
    proxy: WorkerProxy | None = None
    _hole: BlackHole | None = field(default=None)

    def open(
        self, outer: str, *, port_open: bool, run: Callable[[Callable[[], Awaitable[None]]], None]
    ) -> None:
        """Prepare the address of a task.

        Args:
            outer: Address of the task's network interface.
            port_open: True if the security groups allow connections to the worker.
            run: Function that runs a coroutine function until the task has ended.
        """
        config = self.shared.config
        self.address = outer
        if self.fault.black_hole or not port_open:
            self._hole = BlackHole(outer, config.port)
            self.address = self.shared.addresses.take()
        elif self.fault.cut_connections or config.proxy_connections:
            self.address = self.shared.addresses.take()
            self.proxy = WorkerProxy(outer, self.address, config.port, self.fault.cut_connections)
            run(self.proxy.serve)

    def close(self) -> None:
        """Close a listener that answers no connection."""
        if self._hole:
            self._hole.close()

    def release(self, *outer: str | None) -> None:
        """Release the addresses of the task after its network interface was deleted."""
        for address in filter(None, {*outer, self.address}):
            self.shared.addresses.release(address)
