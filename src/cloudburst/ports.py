"""What the engine needs from the outside world, and nothing more."""

from __future__ import annotations

import secrets as random_secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Protocol, TypeAlias

from cloudburst.models.entries import Entry
from cloudburst.models.options import RenderOptions
from cloudburst.models.pace import UNKNOWN, Pace
from cloudburst.models.policy import Timeouts
from cloudburst.models.scene import Scene
from cloudburst.models.task import FoundTask, LaunchRequest, Secrets, TaskId, TaskStatus
from cloudburst.models.tier import Tier

Progress: TypeAlias = Callable[[float], None]
"""Called with a share of the work between 0 and 1; never awaits, never raises."""


class Launcher(Protocol):
    """Starts and stops tasks. Every call may be repeated."""

    async def launch(self, request: LaunchRequest) -> TaskId:
        """Start a task, or name the one that this very request started before."""
        ...

    async def describe(self, task: TaskId, *, anew: bool = False) -> TaskStatus:
        """What the backend knows of the task now; ``anew``: after it has looked once more."""
        ...

    async def stop(self, task: TaskId, *, reason: str) -> None:
        """Return when the stop is accepted; a task that is gone already is no error."""
        ...

    async def find(self, run: str) -> Sequence[FoundTask]:
        """The tasks that were started for a run, by this process or one that is no more.

        Those that are alive and, for as long as the backend remembers them, those that have ended.
        From here on each of them may be described and stopped.
        """
        ...

    async def post_mortem(self, task: TaskId) -> str | None:
        """Why it failed, for a person, without secrets; ``None`` where nothing is known of it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A scene that has arrived at a worker."""

    scene: str
    token: str
    """How the worker knows it."""
    sent: int
    """Bytes that travelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A video that lies ready at a worker."""

    scene: str
    token: str
    """How the worker knows it."""
    size: int
    """Bytes."""
    sha256: str | None
    """Hash of the video, where the worker tells it."""
    seconds: float
    """Length of the video; 0 where the worker does not tell it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A video that was received, verified and lies under its final name."""

    path: Path
    size: int
    sha256: str
    seconds: float = 0.0
    """Length by its own index; 0 where that does not tell it."""


Arrived: TypeAlias = Callable[[Download], Awaitable[None]]
"""Called with a video that was received and verified, before it gets its final name."""


class Renderer(Protocol):
    """One worker, ready to be talked to. Cancelled calls leave nothing running there."""

    @property
    def abandoned(self) -> bool:
        """Whether it works on something that nobody waits for, and cannot be told to stop."""
        ...

    async def healthy(self) -> bool:
        """Whether the worker answers; never raises for one that does not yet."""
        ...

    async def clear(self) -> None:
        """Drop what another process has begun there: the worker was taken over from it."""
        ...

    async def upload(self, scene: Scene, options: RenderOptions) -> Upload:
        """Bring a scene's files to the worker."""
        ...

    async def generate(self, upload: Upload, *, progress: Progress) -> Output:
        """Make the video; return when it is ready."""
        ...

    async def download(
        self, output: Output, to: Path, *, arrived: Arrived | None = None
    ) -> Download:
        """Fetch the video to ``to``: written beside it, verified, then renamed."""
        ...


class Connect(Protocol):
    """Opens the line to a worker."""

    def __call__(self, address: str, *, secrets: Secrets) -> AbstractAsyncContextManager[Renderer]:
        """Connect to the worker at a base URL, with the secrets of its launch request."""
        ...


def new_key() -> Secrets:
    """A key that nobody else has, for a worker that is reached over plain HTTP."""
    return Secrets(key=random_secrets.token_urlsafe(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Where tasks run and how to talk to them."""

    name: str
    """``local``, ``fargate``…: the word that reports use."""
    launcher: Launcher
    connect: Connect
    capacity: int | None = None
    """Tasks that it can hold at once; ``None``: as many as the client's limit."""
    encoders: int = 1
    """Scenes that one of its tasks encodes at once."""
    new_secrets: Callable[[], Secrets] = new_key
    """Makes those of a new launch request; must not block."""
    kind: str = ""
    """What its figures are kept under: place, size and protocol, ``fargate STANDARD native``.
    Empty: they are not kept for other runs of this machine."""
    pace: Pace = UNKNOWN
    """What is assumed of its tasks until it was measured."""
    cancels: bool = False
    """Its workers can be told to stop an encode."""
    usd_per_second: Decimal = Decimal()
    """The price of one of its tasks, as far as it is known before one is started; 0: none."""
    most_usd_per_second: Decimal = Decimal()
    """The same of the dearest one that may be started, where there is no room for others; 0: there
    are no others."""
    slowness: float = 0.0
    """Seconds that a scene may need here for each second of its sound, and a minute besides, when
    that is more than ``Timeouts.scene``."""


class Journal(Protocol):
    """What a run writes down while it goes on, so that another process can go on with it."""

    def now(self) -> float:
        """The clock of its entries: seconds since the epoch."""
        ...

    async def write(self, *entries: Entry) -> None:
        """Return when they would outlive the loss of power."""
        ...

    async def keep(self, name: str, text: str) -> Path:
        """Write a file of this name to a place of the run's own, beside its journal."""
        ...


OpenBackend: TypeAlias = Callable[[Timeouts, Tier], AbstractAsyncContextManager[Backend]]
"""A backend that is opened, with the client's timeouts and tier, when the client is entered, and
closed when it is left."""
