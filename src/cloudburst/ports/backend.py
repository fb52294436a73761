"""Places where tasks run: their launchers and properties."""

from __future__ import annotations

import secrets as random_secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, Protocol, TypeAlias

from cloudburst.errors import SceneFault
from cloudburst.models.limits import Timeouts
from cloudburst.models.performance import UNKNOWN_PERFORMANCE, Performance
from cloudburst.models.run_progress import WorkerPlace
from cloudburst.models.scene import CheckedScene
from cloudburst.models.task import FoundTask, LaunchRequest, Secrets, TaskId, TaskStatus
from cloudburst.models.tier import Tier
from cloudburst.ports.renderer import Connect


class Launcher(Protocol):
    """Part of a backend that starts and stops tasks. Every call can safely be repeated."""

    async def launch(self, request: LaunchRequest) -> TaskId:
        """Start a task and return its identifier.

        A repeated request with the same token returns the task that the first request started.
        """
        ...

    async def describe(self, task: TaskId, *, refresh: bool = False) -> TaskStatus:
        """Return the status of a task.

        ``refresh`` asks the backend again instead of using its last answer.
        """
        ...

    async def stop(self, task: TaskId, *, reason: str) -> None:
        """Request the stop of a task, and return when the request is accepted.

        A task that has already stopped is not an error.
        """
        ...

    async def find(self, run: str) -> Sequence[FoundTask]:
        """Return the tasks that were started for a run, by this process or an earlier one.

        Stopped tasks are included for as long as the backend remembers them.
        """
        ...

    async def post_mortem(self, task: TaskId) -> str | None:
        """Return a text without secrets that explains why a task failed."""
        ...


def new_key() -> Secrets:
    """Return secrets with a random key but no certificate, for a worker on plain HTTP."""
    return Secrets(key=random_secrets.token_urlsafe(32))


class Silence(NamedTuple):
    """Explanation of a worker that runs and does not answer."""

    text: str
    """Cause or possible causes, and what to do."""
    certain: bool
    """True if no worker of the backend can answer until the user has done that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Place where tasks run, with the functions that start them and connect to their workers."""

    name: str
    """Name of the backend in reports and events: ``local``, ``fargate``…"""
    launcher: Launcher
    connect: Connect
    place: WorkerPlace = "fargate"
    """Place of the workers: ``machine``, ``fargate`` or ``endpoints``."""
    capacity: int | None = None
    """Maximum number of tasks that the backend can run at once; ``None``: only the client's limit
    counts."""
    encoder_slots: int = 1
    """Number of scenes that one task encodes at once."""
    shares_uplink: bool = False
    """True if files are sent to the workers over this machine's line, which all of them share."""
    new_secrets: Callable[[], Secrets] = new_key
    """Function that creates the secrets of a new launch request; it must not block."""
    kind: str = ""
    """Name under which measured times of the backend's workers are kept for later runs on this
    machine: place, size and protocol, as in ``fargate STANDARD native``; empty: not kept."""
    performance: Performance = UNKNOWN_PERFORMANCE
    """Times of start-up, encode, transfer and stop that are assumed until they are measured."""
    eager: bool = False
    """True if a worker is started for every waiting scene, up to ``Limits.workers``, even if it is
    not worth its price: for callers that have planned the number of workers."""
    cancels_encodes: bool = False
    """True if a worker can stop an encode on request."""
    queues_jobs: bool = False
    """True if a worker queues scenes that it is asked to encode while all its encoder slots are in
    use."""
    shares_encodes: bool = False
    """True if idle encoder slots of a worker take part in the encode of a long scene."""
    uses_s3: bool = True
    """True if a worker writes its videos to S3, and can join them to a film there."""
    usd_per_second: Decimal = Decimal()
    """Expected price of one task, in USD per second; 0 if nothing is billed."""
    max_usd_per_second: Decimal = Decimal()
    """Price of the most expensive task that may be started in place of the usual one if AWS lacks
    capacity, in USD per second; 0 if there are no such fallbacks."""
    lifetime: float | None = None
    """Seconds from the first successful health check of a worker until its task ends by itself;
    ``None``: the task does not end by itself."""
    explain_silence: Callable[[str], Awaitable[Silence]] | None = None
    """Function that returns why the worker at a base URL may not answer; ``None``: unknown."""
    find_unsupported: Callable[[CheckedScene], Sequence[SceneFault]] | None = None
    """Function that returns a fault for each option of a scene that the workers cannot render;
    ``None``: they can render everything but `CheckedScene.undrawable`."""
    encode_timeout_factor: float = 0.0
    """Encode timeout of workers that report no progress, in seconds per second of audio; one minute
    is added, and ``Timeouts.scene`` is used if it is longer. 0: the workers report progress."""


# Function that gets the client's timeouts and tier and returns a context manager of a backend.
# The backend is opened and closed with the client.
OpenBackend: TypeAlias = Callable[[Timeouts, Tier], AbstractAsyncContextManager[Backend]]
