"""Launcher that assigns the addresses of running workers, and pauses those that fail."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import anyio

from cloudburst.errors import CapacityError, ConfigurationError, LaunchError
from cloudburst.models.task import FoundTask, LaunchRequest, TaskId, TaskState, TaskStatus
from cloudburst.workers.http.connection import validate_address

# Seconds for which an address is not used after its first failure. Other addresses take its
# scenes; if the address were used again at once, scene after scene would fail there.
INITIAL_COOLDOWN = 10.0
# Factor by which the cooldown (`INITIAL_COOLDOWN`) grows with each further failure in a row, and
# its maximum in seconds. The program at the address may not be a worker at all, and each use
# costs a scene one attempt.
COOLDOWN_FACTOR, MAX_COOLDOWN = 4.0, 600.0
MAX_FAILURES_SHOWN = 3


@dataclass(eq=False, slots=True, kw_only=True)
class Endpoint:
    """Address of a worker, with its current task and its recent failures."""

    address: str
    task: TaskId | None = None  # task that uses the address now; None if the address is unused
    # Time until which the address is not used after a failure, on the clock of
    # `anyio.current_time`.
    cooldown_until: float = -math.inf
    failures_in_a_row: int = 0
    # Reason of the last failure, or why the worker is not ready yet; empty if there is none.
    failure: str = ""
    # True if another program answers at the address, the worker requires another key, or the
    # worker never became ready.
    unusable: bool = False
    # True if the worker answers but its last scene failed. The address can then be used before
    # `cooldown_until`, but only if no address is in use and all are in their cooldown.
    scenes_failed: bool = False
    # End of the last use of the address, on the clock of `anyio.current_time`.
    last_used: float = -math.inf


class EndpointLauncher:
    """Launcher that assigns addresses to tasks; nothing is started or stopped."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints
        self._tasks: dict[str, TaskId] = {}  # by the token of the request
        self._numbers = count(1)

    @property
    def has_single_address(self) -> bool:
        """True if there is only one address."""
        return len(self._endpoints) == 1

    async def launch(self, request: LaunchRequest) -> TaskId:
        """Assign an unused address to a task, preferably one that has not failed recently."""
        if (task := self._tasks.get(request.token)) is not None:
            return task
        now = anyio.current_time()
        idle = [endpoint for endpoint in self._endpoints if endpoint.task is None]
        free = [endpoint for endpoint in idle if endpoint.cooldown_until <= now]
        if not free and len(idle) == len(self._endpoints):
            free = [endpoint for endpoint in idle if endpoint.scenes_failed]
        if not free:
            raise self._no_free_address()
        chosen = min(free, key=lambda endpoint: (endpoint.cooldown_until, endpoint.last_used))
        chosen.failure = ""
        chosen.task = TaskId(f"{chosen.address}#{next(self._numbers)}")
        self._tasks[request.token] = chosen.task
        return chosen.task

    def _no_free_address(self) -> LaunchError:
        number = len(self._endpoints)
        idle = [endpoint for endpoint in self._endpoints if endpoint.task is None]
        failures = [f"{e.address}: {e.failure}" for e in idle if e.failure]
        if all(endpoint.task is None and endpoint.unusable for endpoint in self._endpoints):
            which = "the address" if number == 1 else f"any of the {number} addresses"
            kind, msg = LaunchError, f"there is no usable worker at {which}"
        else:
            kind, msg = CapacityError, f"all {number} addresses are in use, or have just failed"
        return kind("; ".join([msg, *failures[:MAX_FAILURES_SHOWN]]))

    async def describe(
        self,
        task: TaskId,
        *,
        refresh: bool = False,  # noqa: ARG002
    ) -> TaskStatus:
        """Return the status of a task, which counts as running as long as it has an address.

        The reason in the status says why the worker is not ready.
        """
        for endpoint in self._endpoints:
            if endpoint.task == task:
                return TaskStatus(
                    state=TaskState.RUNNING, address=endpoint.address, reason=endpoint.failure
                )
        return TaskStatus(state=TaskState.STOPPED, reason="its address was released")

    async def stop(self, task: TaskId, *, reason: str) -> None:  # noqa: ARG002
        """Release the address of a task. The worker at the address continues to run."""
        for endpoint in self._endpoints:
            if endpoint.task == task:
                endpoint.task = None
                endpoint.last_used = anyio.current_time()

    async def find(self, run: str) -> Sequence[FoundTask]:  # noqa: ARG002
        """Return an empty sequence, because addresses are assigned within this process only."""
        return ()

    async def post_mortem(self, task: TaskId) -> str | None:  # noqa: ARG002
        """Return ``None``: nothing is known about the program at an address."""
        return None

    def set_failure(self, address: str, failure: str) -> None:
        """Record why the worker at an address is not ready; empty if it is ready."""
        self._endpoint(address).failure = failure

    def record_success(self, address: str) -> None:
        """Record that the worker at an address has made a video."""
        endpoint = self._endpoint(address)
        endpoint.scenes_failed = endpoint.unusable = False
        endpoint.failures_in_a_row, endpoint.failure = 0, ""
        endpoint.cooldown_until = -math.inf

    def record_failure(
        self, address: str, failure: str, *, scenes_failed: bool = False, unusable: bool = False
    ) -> None:
        """Record why the worker at an address failed, and do not use the address for a while."""
        endpoint = self._endpoint(address)
        endpoint.scenes_failed, endpoint.unusable = scenes_failed, unusable
        cooldown = min(MAX_COOLDOWN, INITIAL_COOLDOWN * COOLDOWN_FACTOR**endpoint.failures_in_a_row)
        endpoint.failures_in_a_row += 1
        endpoint.failure, endpoint.cooldown_until = failure, anyio.current_time() + cooldown

    def _endpoint(self, address: str) -> Endpoint:
        return next(endpoint for endpoint in self._endpoints if endpoint.address == address)


def parse_addresses(addresses: Sequence[str]) -> tuple[Endpoint, ...]:
    """Return an endpoint for each address."""
    if isinstance(addresses, str) or not addresses:
        msg = f"{addresses!r}: expected base URLs of workers, at least one"
        raise ConfigurationError(msg)
    endpoints = [
        Endpoint(address=str(validate_address(address)).rstrip("/")) for address in addresses
    ]
    seen: set[str] = set()
    for endpoint in endpoints:
        if endpoint.address in seen:
            msg = f"{endpoint.address} is given twice: each address is one worker"
            raise ConfigurationError(msg)
        seen.add(endpoint.address)
    return tuple(endpoints)
